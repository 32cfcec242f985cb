"""Files of candles and trades are imported once, however often that is done, and exported unchanged."""

import asyncio
import csv
import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import create_async_engine

from gal_friday.adapters.market_files.content import Format, Kind, OnError
from gal_friday.adapters.market_files.terms import Terms
from gal_friday.dal.models import Base, Candle, MarketTrade
from gal_friday.database import Database
from gal_friday.errors import UnreadableFile
from gal_friday.services import market_import
from gal_friday.services.market_export import Selection, export_file
from gal_friday.services.market_import import ImportReport, import_file
from tests.factories import MINUTE, NOON, a_candle, a_market_trade
from tests.market_files import NOON_SECONDS, RECORDED, MarketRecording, plain
from tests.replays import a_database_url, opened
from tests.servers import PostgresServer
from tests.state import ARE_WAITING
from tests.waiting import until

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEADER = "timestamp,open,high,low,close,volume\n"
KRAKEN = Terms("kraken", "BTC/USD", "1m")


async def imported(
    database: Database,
    path: Path,
    kind: Kind = Kind.CANDLES,
    terms: Terms = KRAKEN,
    on_error: OnError = OnError.REFUSE_FILE,
) -> ImportReport:
    report = ImportReport(path)
    await import_file(database, report, kind, terms, on_error=on_error)
    return report


def counts(report: ImportReport) -> tuple[int, int, int, int, int]:
    return report.read, report.new, report.updated, report.unchanged, report.refused


def checksum(rows: Iterable[tuple[object, ...]]) -> str:
    return hashlib.sha256("\n".join(sorted(map(str, rows))).encode()).hexdigest()


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def since_1970(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)


async def stored(database: Database, kind: Kind) -> Sequence[Any]:
    async with database.transaction() as uow:
        repository: Any = uow.market_data if kind is Kind.CANDLES else uow.market_trades
        rows: Sequence[Any] = await repository.find_all()
        return rows


def candle_facts(row: Candle) -> tuple[object, ...]:
    return (since_1970(row.timestamp), *map(plain, (row.open, row.high, row.low, row.close, row.volume)))


def trade_facts(row: MarketTrade) -> tuple[object, ...]:
    side = row.side.value if row.side else None
    return since_1970(row.traded_at), plain(row.price), plain(row.quantity), side


# --- each recording, counted by plain Python ------------------------------------------------------------


def microseconds(number: object, per_unit: int) -> int:
    return int(Decimal(str(number)) * per_unit)


def counted_candles(path: Path) -> list[tuple[object, ...]]:
    """Candles of a recording, read without the code under test."""
    document = json.loads(path.read_text(), parse_float=str)
    if "channel" in document:
        names = ("open", "high", "low", "close", "volume")
        return [
            (
                since_1970(datetime.fromisoformat(each["interval_begin"])),
                *(plain(each[name]) for name in names),
            )
            for each in document["data"]
        ]
    if isinstance(document, list):
        return [(row[0] * 1000, *map(plain, row[1:])) for row in document]
    (rows,) = [value for value in document["result"].values() if isinstance(value, list)]
    return [(row[0] * 1_000_000, *map(plain, (*row[1:5], row[6]))) for row in rows]


def counted_trades(path: Path) -> list[tuple[object, ...]]:
    """Time, price, quantity and side of each trade of a recording, read without the code under test."""
    if path.suffix == ".csv":
        lines = list(csv.reader(path.read_text().splitlines()))
        if lines[0][0] == "":
            return [
                (int(line[1]) * 1000, plain(line[5]), plain(line[6]), line[4].upper()) for line in lines[1:]
            ]
        return [(int(line[0]) * 1_000_000, plain(line[1]), plain(line[2]), None) for line in lines]
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    document = json.loads(text, parse_float=str)
    if isinstance(document, list):
        return [(row[0] * 1000, plain(row[4]), plain(row[5]), row[3].upper()) for row in document]
    if "channel" in document:
        return [
            (
                since_1970(datetime.fromisoformat(each["timestamp"])),
                plain(each["price"]),
                plain(each["qty"]),
                each["side"].upper(),
            )
            for each in document["data"]
        ]
    (rows,) = [value for value in document["result"].values() if isinstance(value, list)]
    sides = {"b": "BUY", "s": "SELL"}
    return [(microseconds(row[2], 10**6), plain(row[0]), plain(row[1]), sides[row[3]]) for row in rows]


@pytest.mark.parametrize("recording", RECORDED, ids=str)
async def test_a_recording_is_imported_once_and_as_it_is(
    recording: MarketRecording, database: Database, tmp_path: Path
) -> None:
    path, kind = recording.file(tmp_path), recording.kind
    terms = Terms(**recording.terms)  # type: ignore[arg-type]  # texts
    expected = (counted_candles if kind is Kind.CANDLES else counted_trades)(path)

    first = await imported(database, path, kind, terms)
    assert counts(first) == (len(expected), len(expected), 0, 0, 0)
    second = await imported(database, path, kind, terms)
    assert counts(second) == (len(expected), 0, 0, len(expected), 0)

    rows = await stored(database, kind)
    assert checksum(map(candle_facts if kind is Kind.CANDLES else trade_facts, rows)) == checksum(expected)


async def test_the_last_candle_of_krakens_answer_still_changes(database: Database, tmp_path: Path) -> None:
    path = RECORDED[0].file(tmp_path)
    await imported(database, path, terms=Terms())
    live = [row.timestamp for row in await stored(database, Kind.CANDLES) if not row.is_final]
    assert live == [max(row.timestamp for row in await stored(database, Kind.CANDLES))]


# --- what is there already ------------------------------------------------------------------------------


def candles_csv(directory: Path, *closes: int, name: str = "candles.csv") -> Path:
    path = directory / name
    lines = [
        f"{NOON_SECONDS + 60 * minute},{close},{close},{close},{close},1"
        for minute, close in enumerate(closes)
    ]
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


async def test_what_differs_is_updated_unless_what_is_there_is_better(
    database: Database, tmp_path: Path
) -> None:
    await imported(
        database, candles_csv(tmp_path, 1, 2, 3), terms=Terms("kraken", "BTC/USD", data_quality_score=50)
    )
    better = await imported(database, candles_csv(tmp_path, 1, 5, 3, 4), terms=Terms("kraken", "BTC/USD"))
    assert counts(better) == (4, 1, 3, 0, 0)
    worse = Terms("kraken", "BTC/USD", data_quality_score=99)
    assert counts(await imported(database, candles_csv(tmp_path, 9, 9, 9, 9, 9), terms=worse)) == (
        5,
        1,
        0,
        4,
        0,
    )
    assert [int(row.close) for row in await stored(database, Kind.CANDLES)] == [1, 5, 3, 4, 9]


# --- rows that are refused ------------------------------------------------------------------------------


def some_bad(directory: Path) -> Path:
    path = directory / "some-bad.csv"
    path.write_text(
        HEADER
        + f"{NOON_SECONDS},1,2,0.5,1,7\n"
        + f"{NOON_SECONDS + 60},1,0.5,2,1,7\n"  # high and low swapped
        + f"{NOON_SECONDS + 120},1,2,0.5,NaN,7\n"
        + f"{NOON_SECONDS + 120},1,2,0.5,1,7\n"
        + f"{NOON_SECONDS + 120},1,2,0.5,1.5,7\n"
        + f"{NOON_SECONDS + 60},1,2,0.5,1.5,7\n"
    )
    return path


async def test_good_rows_are_kept_and_bad_ones_named(database: Database, tmp_path: Path) -> None:
    path = some_bad(tmp_path)
    report = await imported(database, path, on_error=OnError.KEEP)
    assert counts(report) == (6, 2, 0, 0, 4)
    assert [(row.at, row.problem, row.value) for row in report.examples] == [
        ("line 3", "low is above another price of the candle", "2"),
        ("line 4", "close is not a finite number", "NaN"),
        ("line 6", "the time repeats", "2026-11-21T12:02:00+00:00"),
        ("line 7", "the time goes back", "2026-11-21T12:01:00+00:00"),
    ]
    assert str(report.examples[0]) == f"{path}, line 3: low is above another price of the candle ('2')"
    assert counts(await imported(database, path, on_error=OnError.KEEP)) == (6, 0, 0, 2, 4)


async def test_nothing_is_kept_of_a_file_with_a_bad_row(database: Database, tmp_path: Path) -> None:
    report = await imported(database, some_bad(tmp_path))
    assert counts(report) == (6, 0, 0, 0, 4)
    assert [row.at for row in report.examples] == ["line 3", "line 4", "line 6", "line 7"]
    assert await stored(database, Kind.CANDLES) == []


@pytest.mark.parametrize(("on_error", "kept"), [(OnError.KEEP, True), (OnError.REFUSE_FILE, False)])
async def test_a_gzip_that_is_cut_short_is_told_by_file_and_place(
    *, on_error: OnError, kept: bool, database: Database, tmp_path: Path
) -> None:
    lines = [f"{NOON_SECONDS + 60 * minute},1,2,0.5,1,{minute}.{minute**4}" for minute in range(5_000)]
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress((HEADER + "\n".join(lines)).encode())[:-100])
    report = await imported(database, path, on_error=on_error)
    assert [(row.file, row.problem) for row in report.examples] == [(path, "the gzip is cut short")]
    assert report.examples[0].at.startswith("line 4")
    rows = await stored(database, Kind.CANDLES)
    assert len(rows) == report.new == (report.read - 1 if kept else 0)
    assert report.read > 4_000


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        (HEADER, "holds no candles"),
        ("timestamp,price,quantity\n1,2,3\n", "holds trades, not candles"),
        ("timestamp,open,high,low,close\n", "misses columns"),
    ],
)
async def test_a_file_that_is_something_else_stores_nothing(
    content: str, problem: str, database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "file.csv"
    path.write_text(content)
    for on_error in OnError:
        with pytest.raises(UnreadableFile, match=problem) as refused:
            await imported(database, path, on_error=on_error)
        assert refused.value.facts["file"] == str(path)


# --- interrupted ----------------------------------------------------------------------------------------


async def test_an_import_that_was_interrupted_goes_on(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_import, "_ROWS_PER_COMMIT", 10)
    path = candles_csv(tmp_path, *range(1, 36))
    report = ImportReport(path)
    positions: list[int] = []

    def interrupt(position: int) -> None:
        positions.append(position)
        if len(positions) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await import_file(database, report, Kind.CANDLES, KRAKEN, progress=interrupt)
    assert counts(report) == (20, 20, 0, 0, 0)
    assert len(await stored(database, Kind.CANDLES)) == 20
    assert counts(await imported(database, path)) == (35, 15, 0, 20, 0)
    assert positions[-1] <= path.stat().st_size


# --- written and read again -----------------------------------------------------------------------------


async def some_of_each(database: Database) -> None:
    """Candles and trades of two series, with and without what may be missing, to the last digit."""
    tiny, huge = Decimal("0.000000000000000001"), Decimal("99999999999999999999.999999999999999999")
    async with database.transaction() as uow:
        await uow.market_data.store_candles(
            [
                a_candle(low=tiny, open=tiny, close=tiny, high=huge, volume=tiny, vwap=tiny, trades_count=7),
                a_candle(timestamp=NOON + MINUTE, is_final=False, data_source='a "source", quoted'),
                a_candle(exchange="binance", timeframe="1M", data_quality_score=3, volume=Decimal(0)),
                a_candle(timestamp=NOON + timedelta(microseconds=1), timeframe="1s"),
            ]
        )
        await uow.market_trades.upsert_many(
            [
                a_market_trade(trade_id="a,b", price=tiny, quantity=huge, side="BUY"),
                a_market_trade(trade_id="c", traded_at=NOON + timedelta(microseconds=1)),
            ]
        )


def every_column(rows: Iterable[Base]) -> set[tuple[object, ...]]:
    return {
        tuple(getattr(row, column.key) for column in row.__table__.columns if column.key != "created_at")
        for row in rows
    }


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("kind", Kind)
async def test_what_was_exported_is_imported_without_a_change(
    kind: Kind, form: Format, database: Database, tmp_path: Path
) -> None:
    await some_of_each(database)
    path = tmp_path / f"out.{form}"
    rows = await stored(database, kind)
    assert await export_file(database, path, kind, form, Selection()) == len(rows)
    assert counts(await imported(database, path, kind, Terms())) == (len(rows), 0, 0, len(rows), 0)
    assert names_in(tmp_path) == [path.name]


@pytest.mark.parametrize("form", Format)
async def test_what_was_exported_is_the_same_in_another_database(
    *,
    form: Format,
    database: Database,
    postgres_server: PostgresServer,
    template_database: str,
    tmp_path: Path,
) -> None:
    await some_of_each(database)
    with a_database_url(postgres_server, template_database) as url:
        async with opened(url) as other:
            for kind in Kind:
                path = tmp_path / kind
                rows = await stored(database, kind)
                await export_file(database, path, kind, form, Selection())
                assert counts(await imported(other, path, kind, Terms())) == (len(rows), len(rows), 0, 0, 0)
                assert every_column(await stored(other, kind)) == every_column(rows)


async def test_an_export_can_be_narrowed_down(database: Database, tmp_path: Path) -> None:
    await some_of_each(database)

    async def exported(kind: Kind, selection: Selection) -> int:
        path = tmp_path / "part.csv"
        count = await export_file(database, path, kind, Format.CSV, selection)
        assert len(path.read_text().splitlines()) == count + 1
        path.unlink()
        return count

    assert await exported(Kind.CANDLES, Selection("kraken")) == 3
    assert await exported(Kind.CANDLES, Selection(timeframe="1M")) == 1
    assert await exported(Kind.CANDLES, Selection("kraken", "BTC/USD", "1m", NOON, NOON + MINUTE)) == 1
    assert await exported(Kind.CANDLES, Selection(trading_pair="ETH/USD")) == 0
    assert await exported(Kind.TRADES, Selection("kraken", "BTC/USD", start=NOON, end=NOON + MINUTE)) == 2
    assert await exported(Kind.TRADES, Selection(end=NOON)) == 0


async def test_an_export_in_parts_is_whole(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gal_friday.services.market_export._ROWS_PER_BATCH", 2)
    await some_of_each(database)
    told: list[int] = []
    path = tmp_path / "candles.parquet"
    await export_file(database, path, Kind.CANDLES, Format.PARQUET, Selection(), progress=told.append)
    assert told == [2, 4]
    assert counts(await imported(database, path, terms=Terms())) == (4, 0, 0, 4, 0)


async def test_an_export_that_fails_leaves_no_file_and_overwrites_none(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gal_friday.services.market_export._ROWS_PER_BATCH", 1)
    await some_of_each(database)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await export_file(
            database, tmp_path / "a.arrow", Kind.CANDLES, Format.ARROW, Selection(), progress=interrupt
        )
    assert names_in(tmp_path) == []
    there = tmp_path / "there.csv"
    there.write_text("mine")
    with pytest.raises(UnreadableFile, match="is there already"):
        await export_file(database, there, Kind.CANDLES, Format.CSV, Selection())
    assert there.read_text() == "mine"
    with pytest.raises(UnreadableFile, match="No such file"):
        await export_file(database, tmp_path / "no" / "a.csv", Kind.CANDLES, Format.CSV, Selection())


async def test_a_cancellation_does_not_wait_for_ever_for_rows_that_are_held_up(
    tmp_path: Path,
    database: Database,
    owner_url: URL,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(market_import, "FINISHING_SECONDS", 0.1)
    path = tmp_path / "c.csv"
    path.write_text(HEADER + "".join(f"{NOON_SECONDS + 60 * n},1,1,1,1,1\n" for n in range(5)))
    owner = create_async_engine(owner_url.set(drivername="postgresql+asyncpg"))
    report = ImportReport(path)
    async with owner.connect() as connection:
        await connection.execute(text("LOCK TABLE market_data IN ACCESS EXCLUSIVE MODE"))
        importing = asyncio.create_task(import_file(database, report, Kind.CANDLES, KRAKEN))

        async def is_held_up() -> bool:
            return bool(await connection.scalar(ARE_WAITING))

        await until(is_held_up, "the import waits")
        importing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await importing
    await owner.dispose()
    told = [vars(record)["error"] for record in caplog.records if "rows in hand" in record.message]
    assert told == ["it took too long"], "it was the import that gave up, not the server"
    assert counts(report) == (0, 0, 0, 0, 0)
    assert await database.market_data.count() == 0
    assert database.pool.stats().checked_out == 0
