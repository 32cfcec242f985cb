"""A network that loses the answer to COMMIT."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import URL


class AnswerEater:
    """A relay that breaks a connection once the server has answered every *every*th COMMIT."""

    def __init__(self, target: URL, *, every: int = 3) -> None:
        self._target = target
        self._every = every
        self._commits = 0
        self.eaten = 0

    @asynccontextmanager
    async def url(self) -> AsyncIterator[URL]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        async with server:
            yield self._target.set(port=server.sockets[0].getsockname()[1])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._target.port is not None
        far_reader, far_writer = await asyncio.open_connection(self._target.host, self._target.port)
        is_eating = asyncio.Event()

        async def there() -> None:
            while data := await reader.read(65_536):
                if b"COMMIT" in data:
                    self._commits += 1
                    if self._commits % self._every == 0:
                        is_eating.set()
                far_writer.write(data)
                await far_writer.drain()
            far_writer.close()

        async def back() -> None:
            while data := await far_reader.read(65_536):
                if is_eating.is_set():
                    self.eaten += 1
                    writer.transport.abort()
                    break
                writer.write(data)
                await writer.drain()
            writer.close()

        with contextlib.suppress(ConnectionError):
            await asyncio.gather(there(), back())
