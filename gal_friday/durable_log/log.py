"""DurableLog: records on disk that survive `kill -9`, in the order they came, until they are delivered."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from gal_friday.durable_log.contents import Contents
from gal_friday.durable_log.files import LogFiles
from gal_friday.durable_log.segments import Record
from gal_friday.errors import LogUnwritable

T = TypeVar("T")


class DurableLog:
    """An append-only log in a directory of its own, with one owner at a time.

    `append` returns once the records are on the medium; those who append at the same time share one sync.
    `read` gives them in order, `advance` says how far they are delivered, and segments wholly delivered are
    removed. A write that a crash broke off is cut off at the next opening: it was never acknowledged.
    Delivery is at least once: records between the last `advance` and a crash are read again.
    """

    def __init__(self, files: LogFiles, thread: ThreadPoolExecutor) -> None:
        self._files = files
        self._thread = thread
        self._waiting: list[tuple[Sequence[bytes], asyncio.Future[int]]] = []
        self._queued = 0
        self._writing: asyncio.Task[None] | None = None
        self._is_closed = False

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        max_bytes: int,
        segment_bytes: int = 4 * 1024 * 1024,
        drop_oldest: bool = False,
    ) -> Self:
        """The log in *directory*, made if missing.

        Beyond *max_bytes* in all, appending raises LogFull; with *drop_oldest* the oldest segments go
        instead, and `dropped` counts their records. A segment has up to *segment_bytes*, and at most a
        quarter of *max_bytes*, where one batch is not more.

        Raises LogInUse with the owner's pid, LogCorrupted, and LogUnwritable.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="durable-log")
        opening = partial(
            LogFiles,
            directory,
            max_bytes=max_bytes,
            segment_bytes=min(segment_bytes, max_bytes // 4),
            drop_oldest=drop_oldest,
        )
        files = thread.submit(opening)
        try:
            return cls(await asyncio.shield(asyncio.wrap_future(files)), thread)
        except BaseException:
            files.add_done_callback(_give_up)
            thread.shutdown(wait=False)
            raise

    async def append(self, payloads: Sequence[bytes]) -> int:
        """Add *payloads*, all or none; the number of the first, once all are on the medium.

        Raises LogFull and LogUnwritable; then none of them count. Who is cancelled meanwhile cannot know.
        """
        if self._is_closed:
            raise LogUnwritable("it is closed", directory=str(self.directory))
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((payloads, answer))
        self._queued += len(payloads)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await answer

    async def read(self, after: int | None = None, *, limit: int = 256) -> list[Record]:
        """At most *limit* records after the one numbered *after* (default: the last delivered), in order.

        Raises LogCorrupted where one is no longer as it was written, and LogUnwritable.
        """
        position = self._contents.delivered if after is None else after
        return await self._run(partial(self._files.read, position, limit))

    async def advance(self, sequence: int) -> None:
        """Everything up to the record numbered *sequence* is delivered. Raises LogFull and LogUnwritable."""
        await self._run(partial(self._files.advance, sequence))

    async def close(self, *, remove_if_empty: bool = False) -> None:
        """Finish writing and give the log up; with *remove_if_empty* its directory too, if nothing waits."""
        self._is_closed = True
        if self._writing is not None:
            await self._writing
        await self._run(partial(self._files.close, remove_if_empty=remove_if_empty))
        self._thread.shutdown()

    @property
    def directory(self) -> Path:
        """Where the log is."""
        return self._files.directory

    @property
    def delivered(self) -> int:
        """The number of the last record delivered."""
        return self._contents.delivered

    @property
    def pending(self) -> int:
        """How many records are yet to be delivered, those still being written among them."""
        return self._contents.pending + self._queued

    @property
    def bytes(self) -> int:
        """What the segments take on disk."""
        return self._contents.bytes

    @property
    def dropped(self) -> int:
        """How many records were dropped undelivered to make room."""
        return self._files.dropped

    @property
    def _contents(self) -> Contents:
        return self._files.contents

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            answers: Sequence[int | Exception]
            try:
                answers = await self._run(partial(self._files.append, [payloads for payloads, _ in group]))
            except Exception as error:  # noqa: BLE001 -- whoever waits for an answer gets it
                answers = [error] * len(group)
            self._queued -= sum(len(payloads) for payloads, _ in group)
            for (_, waiting), answer in zip(group, answers, strict=True):
                if waiting.done():  # whoever waited was cancelled
                    continue
                if isinstance(answer, int):
                    waiting.set_result(answer)
                else:
                    waiting.set_exception(copy(answer))
        self._writing = None


def _give_up(opened: Future[LogFiles]) -> None:
    """For a log that was opened after whoever wanted it had gone."""
    if opened.exception() is None:
        opened.result().close()
