"""Parquet and Arrow files (freqtrade's feather is one), through pyarrow, a batch of rows at a time."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from gal_friday.adapters.market_files.content import Cells, Content, refuse
from gal_friday.adapters.market_files.table import columns_by_name
from gal_friday.errors import ConfigurationError

PARQUET_MAGIC = b"PAR1"
ARROW_MAGIC = b"ARROW1"
OLD_FEATHER_MAGIC = b"FEA1"
_ROWS_PER_BATCH = 8_192


def columnar_rows(path: Path, file: BinaryIO, magic: bytes) -> Content:
    """Candles or trades of a Parquet or Arrow file. Raises UnreadableFile, ConfigurationError."""
    try:
        pa, pq = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise ConfigurationError(
            "Parquet and Arrow files need pyarrow: pip install 'gal_friday[frames]'", file=str(path)
        ) from None
    name = "Parquet" if magic == PARQUET_MAGIC else "Arrow"
    try:
        if magic == PARQUET_MAGIC:
            parquet = pq.ParquetFile(file)
            schema, batches = parquet.schema_arrow, parquet.iter_batches(_ROWS_PER_BATCH)
        else:
            reader = pa.ipc.open_file(file)
            schema = reader.schema
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
    except (pa.ArrowException, OSError) as error:
        refuse(path, f"is not {name}: {error}")
    kind, columns = columns_by_name(path, schema.names, "schema")
    return Content(name, kind, columns, _rows(path, columns, batches, pa), "row")


def _rows(path: Path, columns: Sequence[str], batches: Iterator[Any], pa: Any) -> Iterator[tuple[int, Cells]]:
    number = 0
    while True:
        try:
            batch = next(batches, None)
            if batch is not None:
                batch.validate(full=True)  # offsets that lead elsewhere would be followed
        except (pa.ArrowException, OSError) as error:
            refuse(path, f"is damaged: {error}", at=f"row {number + 1}")
        if batch is None:
            return
        for start in range(0, batch.num_rows, _ROWS_PER_BATCH):
            part = batch.slice(start, _ROWS_PER_BATCH)
            values = [
                _python_values(column, pa) if name else [None] * part.num_rows
                for name, column in zip(columns, part.columns, strict=True)
            ]
            for cells in zip(*values, strict=True):
                number += 1
                yield number, cells


def _python_values(column: Any, pa: Any) -> list[Any]:
    """Times to the microsecond: Python knows no finer ones."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return list(column.to_pylist())
