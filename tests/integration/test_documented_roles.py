"""The roles of DATABASE_SETUP.md, as the page says: the owner migrates, the bot trades and can do no more."""

import os
import re
import subprocess
import sys
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
import pytest
from sqlalchemy import text

from gal_friday.config import Settings
from gal_friday.database import open_database
from gal_friday.errors import MigrationFailed, PermissionDenied
from tests.factories import a_strategy, an_order
from tests.servers import PostgresServer

PAGE = Path(__file__).parent.parent.parent / "DATABASE_SETUP.md"


def gal_friday(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gal_friday", *arguments]
    environment = os.environ | {"GAL_FRIDAY_DATABASE__URL": url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


async def execute(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statements)
    await connection.close()


async def test_the_bot_trades_and_owns_nothing(breakable_server: PostgresServer) -> None:
    server = breakable_server
    server.create_database("trading")
    (logins,) = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    administrator = server.url("trading")
    owner = server.url("trading", user="owner", password="one%20secret")
    bot = server.url("trading", user="bot", password="another%20secret")

    applied = gal_friday(administrator, "db", "roles", "apply")
    assert (applied.returncode, "differences put right." in applied.stdout) == (0, True), applied.stderr
    await execute(administrator, logins)
    with pytest.raises(MigrationFailed, match="permission denied"):
        async with open_database(Settings(database={"url": bot})):
            pass
    upgraded = gal_friday(owner, "db", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    checked = gal_friday(bot, "db", "roles", "check")
    assert (checked.returncode, checked.stdout) == (0, "The roles are as declared.\n"), checked.stderr

    async with open_database(Settings(database={"url": bot})) as db:
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

    await execute(administrator, "GRANT UPDATE ON fills TO bot; ALTER ROLE bot CREATEDB")
    checked = gal_friday(bot, "db", "roles", "check")
    assert checked.returncode == 1
    assert checked.stdout.splitlines() == [
        "The roles are not as declared:",
        "  bot must not have UPDATE on table fills",
        "  bot must not be CREATEDB",
    ]
    applied = gal_friday(administrator, "db", "roles", "apply")
    assert applied.returncode == 1
    assert applied.stdout.splitlines() == [
        "1 differences put right.",
        "To be changed by hand:",
        "  bot must not be CREATEDB",
    ]
    await execute(administrator, "REVOKE SELECT ON fills FROM gal_friday_trader")
    refused = gal_friday(bot, "db", "roles", "apply")
    assert refused.returncode == 1
    assert "The login role may not do this: it is neither superuser nor migrator" in refused.stderr


async def test_a_bot_that_knows_the_owners_login_migrates_with_it(breakable_server: PostgresServer) -> None:
    breakable_server.create_database("trading")
    administrator = breakable_server.url("trading")
    assert gal_friday(administrator, "db", "roles", "apply").returncode == 0
    (logins,) = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    await execute(administrator, logins)
    settings = Settings(
        database={
            "url": breakable_server.url("trading", user="bot", password="another%20secret"),
            "migration_url": breakable_server.url("trading", user="owner", password="one%20secret"),
        }
    )
    async with open_database(settings) as db:
        assert await db.accounts.count() == 1
        async with db.pool.session() as session:
            assert await session.scalar(text("SELECT session_user")) == "bot"
    assert gal_friday(administrator, "db", "roles", "check").returncode == 0
