"""The network between client and server, as it fails: cut, half-open, or broken at the answer to a commit."""

import asyncio
import contextlib
import random
from types import TracebackType
from typing import Self

COMMIT = b"COMMIT"


class _Link:
    """One connection, and what has become of it."""

    def __init__(self, writer: asyncio.StreamWriter, far_writer: asyncio.StreamWriter) -> None:
        self.writers = (writer, far_writer)
        self.is_silent = False
        self.answer_is_lost = False

    def break_off(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Wire:
    """A relay on the loopback to the server's port."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self._target = port
        self._dice = dice
        self._links: set[_Link] = set()
        self._is_cut = False
        self._answers_to_lose = 0
        self.answers_lost = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        self._break_all()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """Every connection breaks, and nobody gets through until `mend`."""
        self._is_cut = True
        self._break_all()

    def mend(self) -> None:
        self._is_cut = False

    def fall_silent(self) -> None:
        """The connections there are carry nothing any more, and nobody is told; new ones work."""
        for link in self._links:
            link.is_silent = True

    def reset_silent(self) -> None:
        """Both ends learn that their silent connections are gone."""
        for link in [link for link in self._links if link.is_silent]:
            link.break_off()

    def lose_answers(self, count: int) -> None:
        """The next *count* connections to commit break: some before the server has heard it, some after."""
        self._answers_to_lose = count

    def _break_all(self) -> None:
        for link in list(self._links):
            link.break_off()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, far_writer)
        self._links.add(link)
        try:
            await asyncio.gather(self._there(link, reader, far_writer), self._back(link, far_reader, writer))
        except ConnectionError:
            link.break_off()
        finally:
            self._links.discard(link)

    async def _there(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            if self._answers_to_lose and COMMIT in data:
                self._answers_to_lose -= 1
                self.answers_lost += 1
                if self._dice.random() < 0.5:
                    link.break_off()
                    return
                link.answer_is_lost = True
            await self._pass_on(link, data, sink)
        sink.close()

    async def _back(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            if link.answer_is_lost:
                link.break_off()
                return
            await self._pass_on(link, data, sink)
        sink.close()

    async def _pass_on(self, link: _Link, data: bytes, sink: asyncio.StreamWriter) -> None:
        if not link.is_silent:
            sink.write(data)
            with contextlib.suppress(ConnectionError):
                await sink.drain()
