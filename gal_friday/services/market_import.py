"""Files of candles and trades brought into the database, in batches that are committed one after the other.

A batch is stored by its keys, so an import that was interrupted is simply started again, and one that is
repeated changes nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from gal_friday.adapters.market_files.candles import read_candles
from gal_friday.adapters.market_files.content import Kind, OnError, Refused
from gal_friday.adapters.market_files.recognition import MarketFile, open_market_file
from gal_friday.adapters.market_files.terms import Terms
from gal_friday.adapters.market_files.trades import read_trades
from gal_friday.dal.base import UpsertCounts
from gal_friday.dal.models import Base
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import UnreadableFile

_ROWS_PER_COMMIT = 10_000
_NAMED = 1_000
#: How long a cancellation waits for the rows in hand.
FINISHING_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ImportReport:
    """What an import has done so far: each row that was read was new, updated, unchanged, or refused.

    A candle that is there in a better version counts as unchanged. *examples* are the first of those refused,
    *problem* what is wrong with the file as a whole.
    With `OnError.REFUSE_FILE` a file with a refused row leaves nothing in the database.
    """

    file: Path
    format: str = ""
    read: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    examples: list[Refused] = field(default_factory=list)
    problem: UnreadableFile | None = None

    def count(self, given: Sequence[Base | Refused], stored: UpsertCounts) -> None:
        """Count the rows *given*, of which those that are not refused were *stored*."""
        self.read += len(given)
        self.new += stored.inserted
        self.updated += stored.updated
        self.unchanged += stored.unchanged
        for row in given:
            if isinstance(row, Refused):
                self.refuse(row)

    def refuse(self, row: Refused) -> None:
        """Count a row as refused."""
        self.refused += 1
        if len(self.examples) < _NAMED:
            self.examples.append(row)


async def import_file(
    database: Database,
    report: ImportReport,
    kind: Kind,
    terms: Terms,
    *,
    on_error: OnError = OnError.REFUSE_FILE,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Bring the rows of `report.file` into *database*, and tell in *report* what became of each.

    With `OnError.REFUSE_FILE` the whole file is read before anything is stored. *progress* is told how many
    bytes of the file have been read, each time some rows are stored. Raises UnreadableFile where the file is
    not what it was taken for, or ends before its first row; and what storing raises. *report* tells what is
    committed: a cancellation waits for the rows that are being stored, for FINISHING_SECONDS. Held up for
    longer, or cancelled once more, they may be there without being counted.
    """
    if on_error is OnError.REFUSE_FILE:
        check = ImportReport(report.file)
        with open_market_file(report.file) as file:
            report.format = file.content.format
            for row in _rows(file, kind, terms):
                check.read += 1
                if isinstance(row, Refused):
                    check.refuse(row)
        if check.refused:
            report.read, report.refused, report.examples = check.read, check.refused, check.examples
            return
    with open_market_file(report.file) as file:
        report.format = file.content.format
        rows = _rows(file, kind, terms)
        while given := list(islice(rows, _ROWS_PER_COMMIT)):
            await _store(database, kind, given, report)
            if progress is not None:
                progress(file.opened.position())


async def _store(
    database: Database, kind: Kind, given: Sequence[Base | Refused], report: ImportReport
) -> None:
    """Store and count the rows *given*; a cancellation waits for that, but not long."""
    batch = [row for row in given if not isinstance(row, Refused)]
    storing = asyncio.create_task(_stored(database, kind, batch))
    try:
        counts = await asyncio.shield(storing)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({storing}, timeout=FINISHING_SECONDS)
        finally:
            storing.cancel()
        await asyncio.wait({storing})
        if not storing.cancelled() and storing.exception() is None:
            report.count(given, storing.result())
        else:
            error = "it took too long" if storing.cancelled() else str(storing.exception())
            log.warning("the rows in hand were not stored", extra={"error": error})
        raise
    report.count(given, counts)


async def _stored(database: Database, kind: Kind, batch: Sequence[Base]) -> UpsertCounts:
    async def store(uow: UnitOfWork) -> UpsertCounts:
        repository: Any = uow.market_data if kind is Kind.CANDLES else uow.market_trades
        counts: UpsertCounts = await (
            repository.store_candles(batch) if kind is Kind.CANDLES else repository.upsert_many(batch)
        )
        return counts

    return await database.retrying(store, actor="import")


def _rows(file: MarketFile, kind: Kind, terms: Terms) -> Iterator[Base | Refused]:
    """Rows of *file*; where it breaks off in the middle, that is the last of them."""
    read: Callable[[MarketFile, Terms], Iterator[Base | Refused]] = (
        read_candles if kind is Kind.CANDLES else read_trades
    )
    any_read = False
    try:
        for row in read(file, terms):
            any_read = True
            yield row
    except UnreadableFile as error:
        if not any_read:
            raise
        yield Refused(
            file.path, str(error.facts.get("at", "end")), error.explanation, str(error.facts.get("value", ""))
        )
        return
    if not any_read:
        raise UnreadableFile(f"holds no {kind}", file=str(file.path), format=file.content.format)
