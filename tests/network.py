"""A network that can be made to fail: a TCP relay on the loopback between a client and a server."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from sqlalchemy.engine import make_url


class Relay:
    """Passes bytes both ways until it is told to swallow them, or to break a connection."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._is_silent = False
        self._fatal: bytes | None = None
        #: How often an answer was lost.
        self.cuts = 0

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

    def lose_the_answer_to(self, question: bytes) -> None:
        """Break the connection over which *question* is sent next, when the server has answered it."""
        self._fatal = question

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._target.port is not None
        far_reader, far_writer = await asyncio.open_connection(self._target.host, self._target.port)
        self._writers += [writer, far_writer]
        is_asked = asyncio.Event()
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(
                self._ask(reader, far_writer, is_asked), self._answer(far_reader, writer, is_asked)
            )

    async def _ask(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_asked: asyncio.Event
    ) -> None:
        while data := await source.read(65_536):
            if self._fatal is not None and self._fatal in data:
                self._fatal = None
                is_asked.set()
            await self._pass_on(data, sink)
        sink.close()

    async def _answer(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_asked: asyncio.Event
    ) -> None:
        while data := await source.read(65_536):
            if is_asked.is_set():
                self.cuts += 1
                sink.transport.abort()
                return
            await self._pass_on(data, sink)
        sink.close()

    async def _pass_on(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        if not self._is_silent:
            sink.write(data)
            await sink.drain()
