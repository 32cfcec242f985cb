"""A directory that several processes share: in it a numbered slot for each, with a durable log."""

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gal_friday.durable_log.contents import look_into, owner_of, salvage
from gal_friday.durable_log.log import DurableLog
from gal_friday.errors import LogCorrupted, LogInUse

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Slots:
    """The logs a process has: its own, and those of processes that ended with records undelivered.

    `damaged` are those nobody may have before a person has looked; `made` are the directories they are in
    that were not there before.
    """

    own: DurableLog
    adopted: list[DurableLog] = field(default_factory=list)
    made: Sequence[Path] = ()
    damaged: list[LogCorrupted] = field(default_factory=list)

    @property
    def all(self) -> Sequence[DurableLog]:
        """Its own and the adopted ones."""
        return [self.own, *self.adopted]


def slot_directories(directory: Path) -> Sequence[Path]:
    """The slots in *directory*, by their numbers."""
    if not directory.is_dir():
        return []
    return sorted(
        (path for path in directory.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name)
    )


async def claim(directory: Path, *, max_bytes: int, drop_oldest: bool = False) -> Slots:
    """A slot of one's own in *directory*, and every other one whose process has ended.

    Raises LogUnwritable and LogFull.
    """
    made = [each for each in (directory, *directory.parents) if not each.exists()]
    slots: list[DurableLog] = []
    damaged: list[LogCorrupted] = []
    try:
        for path in slot_directories(directory):
            try:
                slots.append(await DurableLog.open(path, max_bytes=max_bytes, drop_oldest=drop_oldest))
            except LogInUse:
                continue
            except LogCorrupted as error:
                log.error("a slot is damaged", extra={"error": str(error)})  # noqa: TRY400 -- no bug
                damaged.append(error)
        if not slots:
            slots.append(await _new_slot(directory, max_bytes, drop_oldest=drop_oldest))
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
        log.warning("records were left undelivered", extra={"records": left, "directory": str(directory)})
    return Slots(own, adopted, made, damaged)


async def _new_slot(directory: Path, max_bytes: int, *, drop_oldest: bool) -> DurableLog:
    taken = {path.name for path in slot_directories(directory)}
    for number in itertools.count():
        if str(number) not in taken:
            with suppress(LogInUse):  # another process was faster
                return await DurableLog.open(
                    directory / str(number), max_bytes=max_bytes, drop_oldest=drop_oldest
                )
    raise AssertionError("unreachable: the numbers do not end")


async def give_up(directory: Path, slots: Slots) -> None:
    """Close *slots* of *directory*, and remove what is empty and was not there before."""
    for each in slots.all:
        await each.close(remove_if_empty=True)
    remove_empty(dict.fromkeys([directory, *slots.made]))


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
    records: int
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
