"""Tables that grow by the million, filled by the server itself."""

import shutil

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from tests.plans.filling import fill, usual_counts
from tests.servers import PostgresServer

#: Those that grow fastest; the others keep their usual twenty thousand rows.
GROWING = ("orders", "fills", "market_data", "order_history", "trades", "positions", "signals")
#: Bytes a row takes on disk with its indexes and the log of writing it, rounded up.
BYTES_PER_ROW = 2_000


class Growth:
    """A database whose tables are filled up step by step."""

    def __init__(self, server: PostgresServer, url: URL, growing: tuple[str, ...]) -> None:
        self._server = server
        self._url = url
        self._growing = growing
        self._rows = 0

    def check_disk(self, rows: int) -> None:
        """Raise OSError where *rows* in each growing table would not fit."""
        needed = (rows - self._rows) * len(self._growing) * BYTES_PER_ROW
        free = shutil.disk_usage(self._server.directory).free
        if free < needed * 1.2:
            raise OSError(f"{rows:,} rows need some {needed >> 30} GiB, and {free >> 30} GiB are free")

    async def grow_to(self, rows: int) -> None:
        """Have *rows* in each growing table, vacuumed and analysed as the server would in time."""
        new = range(self._rows + 1, rows + 1)
        counts = dict.fromkeys(self._growing, new) if self._rows else usual_counts()
        if not self._rows:
            counts |= dict.fromkeys(self._growing, new)
        engine = create_async_engine(self._url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.run_sync(fill, counts)
            await connection.execute(text("VACUUM (ANALYZE)"))
            await connection.execute(text("CHECKPOINT"))
        await engine.dispose()
        self._rows = rows
