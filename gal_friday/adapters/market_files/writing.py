"""Candles and trades written so that reading them again changes nothing: CSV, Parquet, Arrow.

Decimals are text in CSV and decimal128(38, 18) elsewhere; times are UTC to the microsecond.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from gal_friday.adapters.market_files.content import Format, Kind
from gal_friday.dal.models import Base
from gal_friday.errors import UnreadableFile
from gal_friday.extras import library

Write = Callable[[Sequence[Base]], None]


_COLUMNS: dict[Kind, dict[str, str]] = {
    Kind.CANDLES: {
        "exchange": "text",
        "trading_pair": "text",
        "timeframe": "text",
        "timestamp": "time",
        "open": "decimal",
        "high": "decimal",
        "low": "decimal",
        "close": "decimal",
        "volume": "decimal",
        "trades_count": "number",
        "vwap": "decimal",
        "is_final": "flag",
        "data_source": "text",
        "data_quality_score": "number",
    },
    Kind.TRADES: {
        "exchange": "text",
        "trading_pair": "text",
        "traded_at": "time",
        "trade_id": "text",
        "price": "decimal",
        "quantity": "decimal",
        "side": "text",
    },
}


@contextmanager
def written(path: Path, kind: Kind, form: Format) -> Iterator[Write]:
    """A function that adds rows to *path*, which is there once the block has ended without an exception.

    Raises ConfigurationError for Parquet and Arrow without the extra `frames`, UnreadableFile where *path*
    is there already or cannot be written.
    """
    if path.exists():
        raise UnreadableFile("is there already; nothing is overwritten", file=str(path))
    partial = path.with_name(path.name + ".part")
    open_one = {Format.CSV: _csv, Format.PARQUET: _parquet, Format.ARROW: _arrow}[form]
    try:
        with open_one(partial, _COLUMNS[kind]) as write:
            yield write
        partial.replace(path)
    except OSError as error:
        raise UnreadableFile(error.strerror or "cannot be written", file=str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _csv(path: Path, columns: dict[str, str]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)

        def write(rows: Sequence[Base]) -> None:
            writer.writerows([_text(getattr(row, name)) for name in columns] for row in rows)

        yield write


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            digits = f"{value:f}"
            return digits.rstrip("0").rstrip(".") if "." in digits else digits
        case datetime():
            return value.astimezone(UTC).isoformat()
    return str(value)


@contextmanager
def _parquet(path: Path, columns: dict[str, str]) -> Iterator[Write]:
    pa = library("pyarrow", "frames")
    schema = _schema(pa, columns)
    with library("pyarrow.parquet", "frames").ParquetWriter(path, schema, compression="zstd") as writer:
        yield lambda rows: writer.write_batch(_batch(pa, schema, rows))


@contextmanager
def _arrow(path: Path, columns: dict[str, str]) -> Iterator[Write]:
    pa = library("pyarrow", "frames")
    schema = _schema(pa, columns)
    with pa.ipc.new_file(str(path), schema) as writer:
        yield lambda rows: writer.write_batch(_batch(pa, schema, rows))


def _schema(pa: Any, columns: dict[str, str]) -> Any:
    types = {
        "text": pa.string(),
        "time": pa.timestamp("us", tz="UTC"),
        "decimal": pa.decimal128(38, 18),
        "number": pa.int32(),
        "flag": pa.bool_(),
    }
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])


def _batch(pa: Any, schema: Any, rows: Sequence[Base]) -> Any:
    columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in schema]
    return pa.record_batch(columns, schema=schema)
