"""Where the journal lies: a directory for each database, in it a numbered slot for each process."""

import hashlib
import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL

from gal_friday.dal.journal.refused import RefusedFacts
from gal_friday.dal.journal.stats import JournalStats
from gal_friday.durable_log.contents import look_into, owner_of, salvage
from gal_friday.durable_log.files import unwritable
from gal_friday.durable_log.log import DurableLog
from gal_friday.errors import LogCorrupted, LogInUse

EMBEDDED = "embedded"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Slots:
    """The logs a process has: its own, and those of processes that ended with facts undelivered.

    `damaged` are those nobody may have before a person has looked; `made` are the directories they are in
    that were not there before.
    """

    own: DurableLog
    adopted: list[DurableLog] = field(default_factory=list)
    made: Sequence[Path] = ()
    damaged: list[LogCorrupted] = field(default_factory=list)


def directory_name(url: URL | None) -> str:
    """What the facts of the database at *url* lie in; None is the embedded server's.

    Facts are for one database. It is known by host, port and name: not by its contents, which a copy has too.
    """
    if url is None:
        return EMBEDDED
    host, port = url.query.get("host") or url.host or "localhost", url.query.get("port") or url.port or 5432
    digest = hashlib.sha256(f"{host}\n{port}\n{url.database}".encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9.@-]+", "_", f"{url.database}@{host}-{port}")[:80] + f"-{digest}"


def slot_directories(directory: Path) -> Sequence[Path]:
    """The slots in *directory*, by their numbers."""
    if not directory.is_dir():
        return []
    return sorted(
        (path for path in directory.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name)
    )


async def claim(directory: Path, *, max_bytes: int) -> Slots:
    """A slot of one's own in *directory*, and every other one whose process has ended.

    Raises LogUnwritable and LogFull.
    """
    made = [each for each in (directory, *directory.parents) if not each.exists()]
    slots: list[DurableLog] = []
    damaged: list[LogCorrupted] = []
    try:
        for path in slot_directories(directory):
            try:
                slots.append(await DurableLog.open(path, max_bytes=max_bytes))
            except LogInUse:
                continue
            except LogCorrupted as error:
                log.error("a slot of the journal is damaged", extra={"error": str(error)})  # noqa: TRY400 -- no bug
                damaged.append(error)
        if not slots:
            slots.append(await _new_slot(directory, max_bytes))
    except BaseException:
        for each in slots:
            await each.close()
        raise
    own, *others = slots
    adopted = []
    for other in others:
        if other.pending:
            adopted.append(other)
        else:
            await other.close(remove_if_empty=True)
    if left := sum(each.pending for each in slots):
        log.warning("facts were left in the journal", extra={"facts": left, "directory": str(directory)})
    return Slots(own, adopted, made, damaged)


async def _new_slot(directory: Path, max_bytes: int) -> DurableLog:
    taken = {path.name for path in slot_directories(directory)}
    for number in itertools.count():
        if str(number) not in taken:
            with suppress(LogInUse):  # another process was faster
                return await DurableLog.open(directory / str(number), max_bytes=max_bytes)
    raise AssertionError("unreachable: the numbers do not end")


def remove_empty(directories: Iterable[Path]) -> None:
    """Remove *directories*, those within others first, as far as nothing lies there."""
    with suppress(OSError):
        for each in directories:
            each.rmdir()


@dataclass(frozen=True, slots=True)
class SlotState:
    """What is in a slot: `owner` is its process (0 where unknown), None once that has ended."""

    directory: Path
    owner: int | None
    facts: int
    bytes: int
    damage: str | None


def slot_states(directory: Path) -> Iterator[SlotState]:
    """The state of each slot in *directory*, whoever owns it."""
    for slot in slot_directories(directory):
        try:
            contents = look_into(slot)
        except LogCorrupted as error:
            yield SlotState(slot, owner_of(slot), sum(1 for _ in salvage(slot)), 0, str(error))
        except FileNotFoundError:  # its owner delivers, or has removed it
            yield SlotState(slot, owner_of(slot), 0, 0, None)
        else:
            yield SlotState(slot, owner_of(slot), contents.pending, contents.bytes, None)


def standing(directory: Path) -> JournalStats:
    """What lies in the journal at *directory*, of any process; takes no lock, changes nothing.

    Only `pending`, `bytes`, `refused` and `damaged` say something: the others are of one process. Blocks.
    Raises LogUnwritable where it cannot be read.
    """
    stats = JournalStats()
    try:
        stats.refused = len(RefusedFacts(directory).lines())
        for slot in slot_directories(directory):
            try:
                contents = look_into(slot)
            except LogCorrupted as error:
                stats.damaged += (str(error.facts["file"]),)
            except FileNotFoundError:  # its owner delivers, or has removed it
                continue
            else:
                stats.pending += contents.pending
                stats.bytes += contents.bytes
    except OSError as error:
        raise unwritable(error, directory) from error
    return stats
