"""What a time-series store answers, as arrow tables, polars and pandas frames, and NumPy arrays.

    frame = frames.to_polars(await db.time_series.query_data("features", start=start, end=end))

Columns are `time` (nanoseconds, UTC), the tags by name, then the fields by name. A tag or a field that a
point does not have is null there. The libraries come with the extra `frames`; pandas and NumPy with `pandas`.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from gal_friday.errors import InvalidValue
from gal_friday.extras import library
from gal_friday.timeseries.measurements import Ohlcv, Tick
from gal_friday.timeseries.points import Measured

TIME = "time"
#: What these types know exactly, beside the floats of their fields.
_EXACT: Mapping[type, Sequence[str]] = {
    Ohlcv: ("open", "high", "low", "close", "volume", "vwap"),
    Tick: ("price", "quantity"),
}


def to_arrow(data: Iterable[Measured], *, exact: bool = False) -> Any:
    """*data* as a pyarrow.Table; with *exact* prices and volumes of candles and ticks are decimals (38, 18).

    Raises InvalidValue where a name is both a tag and a field, or a field is of two types, and
    ConfigurationError where pyarrow is not installed.
    """
    return _table(list(data), exact=exact, categories=True)


def to_polars(data: Iterable[Measured], *, exact: bool = False) -> Any:
    """*data* as a polars.DataFrame, tags as categories; otherwise as `to_arrow`."""
    return library("polars", "frames").from_arrow(to_arrow(data, exact=exact))


def to_pandas(data: Iterable[Measured], *, exact: bool = False) -> Any:
    """*data* as a pandas.DataFrame, tags as categories; otherwise as `to_arrow`.

    As pandas goes, an integer column with nulls is one of floats, a boolean one with nulls one of objects.
    """
    library("pandas", "pandas")
    return to_arrow(data, exact=exact).to_pandas()


def to_numpy(data: Iterable[Measured]) -> dict[str, Any]:
    """*data* as a numpy.ndarray for each column, times as datetime64[ns] in UTC, text as objects.

    A float or an integer that is missing is NaN. Raises as `to_arrow` does.
    """
    library("numpy", "pandas")
    table = _table(list(data), exact=False, categories=False)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _table(points: Sequence[Measured], *, exact: bool, categories: bool) -> Any:
    pa = library("pyarrow", "frames")
    tags = [point.tags() for point in points]
    values = [_values(point, exact=exact) for point in points]
    tag_names: set[str] = set().union(*tags)
    field_names: set[str] = set().union(*values)
    if twice := tag_names & field_names:
        raise InvalidValue("a tag and a field have one name", name=min(twice))
    columns = {TIME: pa.array([point.timestamp_ns for point in points], pa.timestamp("ns", tz="UTC"))}
    for name in sorted(tag_names):
        column = pa.array([each.get(name) for each in tags], pa.string())
        columns[name] = column.dictionary_encode() if categories else column
    types = {
        float: pa.float64(),
        int: pa.int64(),
        bool: pa.bool_(),
        str: pa.string(),
        Decimal: pa.decimal128(38, 18),
    }
    for name in sorted(field_names):
        given = [each.get(name) for each in values]
        columns[name] = pa.array(given, types[_one_type(name, given)])
    return pa.table(columns)


def _values(point: Measured, *, exact: bool) -> Mapping[str, Any]:
    if not exact or type(point) not in _EXACT:
        return point.fields()
    exactly = {name: getattr(point, name) for name in _EXACT[type(point)]}
    return {**point.fields(), **{name: value for name, value in exactly.items() if value is not None}}


def _one_type(name: str, column: Sequence[Any]) -> type:
    types = {type(value) for value in column if value is not None}
    if len(types) > 1:
        raise InvalidValue("a field of two types", field=name, types=sorted(each.__name__ for each in types))
    return types.pop()
