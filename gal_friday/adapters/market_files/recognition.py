"""Which format a file is of, by what is in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gal_friday.adapters.market_files import columnar, json_rows
from gal_friday.adapters.market_files.content import Content, refuse
from gal_friday.adapters.market_files.delimited import csv_rows
from gal_friday.adapters.market_files.freqtrade import json_list
from gal_friday.adapters.market_files.kraken import message
from gal_friday.adapters.market_files.opening import OpenedFile, opened, reading

_LONGEST_ANSWER = 1 << 26  # Kraken sends 1,000 rows at most; a longer document is something else


@dataclass(frozen=True, slots=True)
class MarketFile:
    """A file that is open and recognised."""

    opened: OpenedFile
    content: Content

    @property
    def path(self) -> Path:
        return self.opened.path


@contextmanager
def open_market_file(path: Path) -> Iterator[MarketFile]:
    """*path*, open and recognised by its content; its rows are read while the block lasts.

    Raises UnreadableFile naming the file for what it is not, and ConfigurationError for Parquet and Arrow
    without the extra `frames`.
    """
    with opened(path) as file:
        yield MarketFile(file, _content(file))


def _content(file: OpenedFile) -> Content:
    path = file.path
    with reading(path):
        magic = file.unpacked.read(len(columnar.ARROW_MAGIC))
        file.unpacked.seek(0)
    for known in (columnar.PARQUET_MAGIC, columnar.ARROW_MAGIC):
        if magic.startswith(known):
            return columnar.columnar_rows(path, file.unpacked, known)
    if magic.startswith(columnar.OLD_FEATHER_MAGIC):
        refuse(path, "is feather of version 1, which no pyarrow of today reads; write it anew as version 2")
    text = file.text()
    with reading(path):
        while (first := text.read(1)).isspace():
            pass
        if not first:
            refuse(path, "is empty")
        text.seek(0)
    if first == "[":
        return json_list(path, text)
    if first == "{":
        with reading(path):
            document = text.read(_LONGEST_ANSWER)
        return message(path, json_rows.document(path, document))
    return csv_rows(path, text)
