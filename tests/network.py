"""A network that can be made to fail: a TCP relay on the loopback between a client and a server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum
from types import TracebackType
from typing import Self

from sqlalchemy.engine import URL, make_url


class Relay:
    """Passes bytes both ways until it is told to swallow them."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._is_silent = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return self._target.set(port=port).render_as_string(hide_password=False)

    def fall_silent(self) -> None:
        """From now on nothing arrives, and nobody is told."""
        self._is_silent = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._target.port is not None
        far_reader, far_writer = await asyncio.open_connection(self._target.host, self._target.port)
        self._writers += [writer, far_writer]
        try:
            await asyncio.gather(self._pass_on(reader, far_writer), self._pass_on(far_reader, writer))
        except ConnectionError:  # one end is gone: so is the other
            for each in (writer, far_writer):
                each.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            if not self._is_silent:
                sink.write(data)
                await sink.drain()
        sink.close()


class Fate(Enum):
    """What becomes of a question whose asker loses the connection."""

    ANSWERED = "the server answers it, and is not heard"
    LOST = "the server never hears of it"
    UNANSWERED = "the server hears of it, and has not answered yet"
    LATE = "the server hears of it once it is delivered"


class AnswerEater:
    """A relay that breaks connections: at each *question* that *every* divides, *at_most* so many.

    Of the question becomes what its *fate* says. Where it *closes*, nobody gets through any more after the
    first.
    """

    def __init__(
        self,
        target: URL,
        *,
        every: int = 1,
        question: bytes = b"COMMIT;",
        fate: Fate = Fate.ANSWERED,
        at_most: int | None = None,
        closes: bool = False,
    ) -> None:
        self._target = target
        self._question = question
        self._every = every
        self._fate = fate
        self._asked = 0
        self._at_most = at_most
        self._closes = closes
        self._is_closed = False
        self._before_connection: Callable[[], Awaitable[None]] | None = None
        self._deliver = asyncio.Event()
        self.eaten = 0

    @asynccontextmanager
    async def url(self) -> AsyncIterator[URL]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        async with server:
            yield self._target.set(port=server.sockets[0].getsockname()[1])

    @asynccontextmanager
    async def before_next_connection(self, work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """A block in which *work* is done when someone connects, before he gets through, once."""
        self._before_connection = work
        yield
        assert self._before_connection is None, "nobody connected"

    def deliver(self) -> None:
        """Let the late ones arrive."""
        self._deliver.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_closed:
            writer.transport.abort()
            return
        before, self._before_connection = self._before_connection, None
        if before is not None:
            await before()
        assert self._target.port is not None
        far_reader, far_writer = await asyncio.open_connection(self._target.host, self._target.port)
        is_eating = asyncio.Event()
        try:
            await asyncio.gather(
                self._there(reader, far_writer, writer, is_eating),
                self._back(far_reader, writer, is_eating),
            )
        except ConnectionError:  # one end is gone: so is the other
            for each in (writer, far_writer):
                each.transport.abort()

    async def _there(
        self,
        reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        is_eating: asyncio.Event,
    ) -> None:
        while data := await reader.read(65_536):
            if self._is_to_be_eaten(data):
                is_eating.set()
                if self._fate is not Fate.ANSWERED:
                    self._eat(writer)
                if self._fate is Fate.LOST:
                    break
                if self._fate is Fate.LATE:
                    await self._deliver.wait()
            far_writer.write(data)
            await far_writer.drain()
        far_writer.close()

    async def _back(
        self, far_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_eating: asyncio.Event
    ) -> None:
        while data := await far_reader.read(65_536):
            if is_eating.is_set():
                if self._fate is Fate.ANSWERED:
                    self._eat(writer)
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    def _is_to_be_eaten(self, data: bytes) -> bool:
        if self._question not in data or self.eaten == self._at_most:
            return False
        self._asked += 1
        return self._asked % self._every == 0

    def _eat(self, writer: asyncio.StreamWriter) -> None:
        self.eaten += 1
        self._is_closed = self._closes
        writer.transport.abort()


class Gate:
    """A relay that can be shut and opened: while it is shut, connections break and new ones are refused."""

    def __init__(self, target: URL) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.is_shut = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.shut()
        await self._server.wait_closed()

    @property
    def url(self) -> URL:
        assert self._server is not None
        return self._target.set(host="127.0.0.1", port=self._server.sockets[0].getsockname()[1])

    def shut(self) -> None:
        self.is_shut = True
        for writer in self._writers:
            writer.transport.abort()

    def open(self) -> None:
        self.is_shut = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_shut:
            writer.transport.abort()
            return
        assert self._target.port is not None
        far_reader, far_writer = await asyncio.open_connection(self._target.host, self._target.port)
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
        except ConnectionError:
            for each in both:
                each.transport.abort()
        finally:
            self._writers -= both


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        sink.write(data)
        await sink.drain()
    sink.close()
