"""The roles of DATABASE_SETUP.md: the owner migrates, the bot trades and can do no more."""

import re
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from gal_friday.config import Settings
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.database import open_database
from gal_friday.errors import PermissionDenied
from tests.factories import a_strategy, an_order
from tests.servers import PostgresServer

PAGE = Path(__file__).parent.parent.parent / "DATABASE_SETUP.md"


async def test_the_bot_trades_and_owns_nothing(breakable_server: PostgresServer) -> None:
    server = breakable_server
    server.create_database("trading")
    (statements,) = re.findall(
        r"^```sql\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    administrator = await asyncpg.connect(server.url("trading"))
    await administrator.execute(statements)
    await administrator.close()

    owner = Settings(database={"url": server.url("trading", user="owner", password="one%20secret")})
    owner_url = owner.database.sqlalchemy_url()
    assert owner_url is not None
    await MigrationManager(make_url(owner_url), owner.database).run_migrations()

    bot = Settings(
        database={
            "url": server.url("trading", user="bot", password="another%20secret"),
            "migrate_on_open": False,
        }
    )
    async with open_database(bot) as db:
        async with db.transaction() as uow:
            strategy = await uow.strategies.add(a_strategy())
            order = await uow.orders.add(an_order(strategy))
        assert await db.orders.get(order.id) is not None

        async def overreach(statement: str) -> None:
            async with db.transaction() as uow:
                await uow.session.execute(text(statement))

        for statement in ("DROP TABLE orders", "ALTER TABLE fills DROP COLUMN raw", "TRUNCATE orders"):
            with pytest.raises(PermissionDenied):
                await overreach(statement)
