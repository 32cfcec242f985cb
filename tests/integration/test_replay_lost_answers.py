"""A commit whose answer was lost is looked up, not guessed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import URL

from gal_friday.database import Database
from gal_friday.replay.runner import replay
from tests.replays import a_database_url, a_run, opened, state_of
from tests.servers import PostgresServer


class AnswerEater:
    """A relay that breaks every third connection once the server has answered its COMMIT."""

    def __init__(self, target: URL) -> None:
        self._target = target
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
                    if self._commits % 3 == 0:
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


async def test_lost_answers_to_commit_leave_no_trace(
    *, tmp_path: Path, database: Database, postgres_server: PostgresServer, template_database: str
) -> None:
    run = a_run(tmp_path)
    await replay(database, run)
    with a_database_url(postgres_server, template_database) as other_url:
        relay = AnswerEater(other_url)
        async with relay.url() as url, opened(url) as struck:
            await replay(struck, run)
        assert relay.eaten >= 5
        async with opened(other_url) as struck:
            assert (await state_of(database)).first_difference(await state_of(struck)) is None
