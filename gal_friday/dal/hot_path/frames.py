"""Rows as columns: from COPY's text straight into Arrow, without an object for any row or value."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnClause,
    ColumnElement,
    Double,
    Select,
    cast,
    func,
    literal_column,
)
from sqlalchemy.types import TypeEngine

from gal_friday.dal.hot_path.place import InSession
from gal_friday.dal.hot_path.statements import with_values
from gal_friday.dal.models.types import AnyWholeNumber, CalendarDate, ExactNumeric, Flag, UtcDateTime
from gal_friday.errors import InvalidFilter
from gal_friday.extras import library

FrameKind = Literal["arrow", "polars", "pandas", "numpy"]

#: Bytes from which on Arrow reads what has come, in another thread, while more comes.
BLOCK = 1 << 20

_MICROSECONDS: ColumnClause[int] = literal_column("1000000", BigInteger)


async def frame_of(
    place: InSession, query: Select[Any], columns: Mapping[str, Column[Any]], *, kind: FrameKind, exact: bool
) -> Any:
    """The rows of *query* with these *columns* of its model, by their names in the frame."""
    if kind not in _INTO:
        raise InvalidFilter("no such kind of frame", kind=kind, kinds=sorted(_INTO))
    arrow, csv = library("pyarrow", "frames"), library("pyarrow.csv", "frames")
    sent = (_sent(column, exact=exact).label(name) for name, column in columns.items())
    statement, values = with_values(query.with_only_columns(*sent, maintain_column_froms=True))
    schema = arrow.schema(
        [(name, _kept(arrow, column.type, kind=kind, exact=exact)) for name, column in columns.items()]
    )
    types = {name: _read(arrow, column.type, exact=exact) for name, column in columns.items()}

    def parsed(text: bytearray) -> Any:
        return _parsed(csv, arrow.py_buffer(text), types).cast(schema)

    full: list[asyncio.Future[Any]] = []
    piece = bytearray()

    async def take(rows: bytes) -> None:  # whole ones: the server sends each in a message of its own
        nonlocal piece
        piece += rows
        if len(piece) >= BLOCK:
            full.append(asyncio.get_running_loop().run_in_executor(None, parsed, piece))
            piece = bytearray()

    await place.copy_out(statement, values, take)
    tables = [*await asyncio.gather(*full), *([parsed(piece)] if piece else [])]
    return _INTO[kind](arrow.concat_tables(tables) if tables else schema.empty_table())


def _parsed(csv: Any, text: Any, types: Mapping[str, Any]) -> Any:
    return csv.read_csv(
        text,
        read_options=csv.ReadOptions(column_names=list(types), block_size=len(text) + 1),
        # A row of one column that is empty is an empty line.
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )


def _sent(column: Column[Any], *, exact: bool) -> ColumnElement[Any]:
    """*column* in the form that Arrow reads quickest."""
    if isinstance(column.type, UtcDateTime):
        return cast(func.extract("epoch", column) * _MICROSECONDS, BigInteger)
    if isinstance(column.type, ExactNumeric) and not exact:
        return cast(column, Double)
    return column


def _kept(arrow: Any, type_: TypeEngine[Any], *, kind: FrameKind, exact: bool) -> Any:
    """The type of a column in the frame."""
    if isinstance(type_, UtcDateTime):
        return arrow.timestamp("us", tz="UTC")
    if isinstance(type_, ExactNumeric) and exact and type_.precision > 38 and kind != "polars":
        return arrow.decimal256(type_.precision, type_.scale)
    return _read(arrow, type_, exact=exact)


def _read(arrow: Any, kind: TypeEngine[Any], *, exact: bool) -> Any:
    """The type of a column as it comes: the nearest that Arrow reads from CSV."""
    if isinstance(kind, ExactNumeric):
        if not exact:
            return arrow.float64()
        return arrow.decimal128(kind.precision, kind.scale) if kind.precision <= 38 else arrow.string()
    known = {
        UtcDateTime: arrow.int64,
        AnyWholeNumber: arrow.int64,
        CalendarDate: arrow.date32,
        Flag: arrow.bool_,
    }
    return next((made for ours, made in known.items() if isinstance(kind, ours)), arrow.string)()


def _into_polars(table: Any) -> Any:
    return library("polars", "frames").from_arrow(table)


def _into_pandas(table: Any) -> Any:
    library("pandas", "pandas")
    return table.to_pandas()


def _into_numpy(table: Any) -> Any:
    library("numpy", "pandas")
    return {name: table.column(name).to_numpy() for name in table.column_names}


_INTO: Mapping[str, Callable[[Any], Any]] = {
    "arrow": lambda table: table,
    "polars": _into_polars,
    "pandas": _into_pandas,
    "numpy": _into_numpy,
}
