"""Every Flux text. None is put together from values: a query's parameters travel beside it, as a syntax tree.

https://docs.influxdata.com/flux/v0/
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from gal_friday.errors import InvalidValue

_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)

#: Points in long form, a row for each field of each. Parameters: `bucketName`, `startNs` and `stopNs` in
#: nanoseconds since 1970, and the predicate `matches`, a function of a row.
POINTS = """\
from(bucket: bucketName)
    |> range(start: time(v: startNs), stop: time(v: stopNs))
    |> filter(fn: matches)
    |> drop(columns: ["_start", "_stop"])
    |> map(fn: (r) => ({r with _time: int(v: r._time)}))
"""

#: The last row of each field of each series. Parameters: as of POINTS.
LAST = """\
from(bucket: bucketName)
    |> range(start: time(v: startNs), stop: time(v: stopNs))
    |> filter(fn: matches)
    |> last()
    |> drop(columns: ["_start", "_stop"])
    |> map(fn: (r) => ({r with _time: int(v: r._time)}))
"""

#: What is run when. In a task now() is the time the run was scheduled for, a whole hour or day, so that no
#: window is cut; candles that come later than *lookback* no longer count.
HOURS = """\
option task = {name: "gal_friday candles 1m to 1h", every: 1h, offset: 5m}

fine = "1m"
coarse = "1h"
width = 1h
lookback = -24h
"""
DAYS = """\
option task = {name: "gal_friday candles 1h to 1d", every: 1d, offset: 10m}

fine = "1h"
coarse = "1d"
width = 1d
lookback = -7d
"""

#: Candles of the timeframe *coarse* from those of *fine*; a repetition overwrites them with the same. vwap
#: is Σ vwap · volume / Σ volume of the candles that have one and a volume. Beside HOURS or DAYS it needs
#: the names of the buckets *source* and *target*.
CANDLES = """\
candles =
    from(bucket: source)
        |> range(start: lookback)
        |> filter(fn: (r) => r["_measurement"] == "market_data_ohlcv" and r["interval"] == fine)

summary = (field, fn) =>
    candles
        |> filter(fn: (r) => r["_field"] == field)
        |> aggregateWindow(every: width, fn: fn, timeSrc: "_start", createEmpty: false)
        |> set(key: "interval", value: coarse)
        |> to(bucket: target)

summary(field: "open", fn: first)
summary(field: "high", fn: max)
summary(field: "low", fn: min)
summary(field: "close", fn: last)
summary(field: "is_final", fn: last)
summary(field: "volume", fn: sum)
summary(field: "trades_count", fn: sum)

candles
    |> filter(fn: (r) => r["_field"] == "vwap" or r["_field"] == "volume")
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> filter(fn: (r) => exists r["vwap"] and r["volume"] > 0.0)
    |> window(every: width)
    |> reduce(
        fn: (r, accumulator) =>
            ({
                value: accumulator.value + r["vwap"] * r["volume"],
                volume: accumulator.volume + r["volume"],
            }),
        identity: {value: 0.0, volume: 0.0},
    )
    |> map(fn: (r) => ({r with _time: r["_start"], _field: "vwap", _value: r.value / r.volume}))
    |> drop(columns: ["value", "volume"])
    |> set(key: "interval", value: coarse)
    |> to(bucket: target)
"""


class Task(NamedTuple):
    """A task on the server, known by *name* and *description*, which names its buckets; it runs *flux*."""

    name: str
    description: str
    flux: str


def tasks(bucket: str, long_term_bucket: str) -> Sequence[Task]:
    """The tasks that keep hours and days of candles in *long_term_bucket*. Raises InvalidValue."""
    return [
        _task("gal_friday candles 1m to 1h", HOURS, bucket, long_term_bucket),
        _task("gal_friday candles 1h to 1d", DAYS, long_term_bucket, long_term_bucket),
    ]


def _task(name: str, schedule: str, source: str, target: str) -> Task:
    # InfluxDB's tasks take no parameters; these names have no character that would mean anything in a text.
    for bucket in (source, target):
        if not _BUCKET_NAME.fullmatch(bucket):
            raise InvalidValue("a task's bucket is named with letters, digits and _ . - only", bucket=bucket)
    names = f'source = "{source}"\ntarget = "{target}"\n'
    return Task(name, f"made by gal_friday: {source} to {target}", f"{schedule}{names}\n{CANDLES}")
