"""Alembic's environment: the same whoever calls, `alembic`, `gal-friday db` or a program that boots."""

import asyncio
from logging.config import fileConfig

from alembic import context
from sqlalchemy.engine import URL

from gal_friday.config import Settings
from gal_friday.dal.migrations.connections import exclusive_connection, run_retrying
from gal_friday.dal.migrations.environment import run_offline, run_online
from gal_friday.embedded import EmbeddedServer


async def migrate(url: URL, settings: Settings) -> None:
    async with exclusive_connection(url, settings.database) as (connection, lock):
        await lock.while_held(
            run_retrying(connection, run_online, timeout_seconds=settings.database.migration_wait_seconds)
        )


def main() -> None:
    """Work on the connection handed in, else on the configured database, else on the embedded one."""
    if context.config.config_file_name:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    if context.is_offline_mode():
        run_offline()
        return
    if connection := context.config.attributes.get("connection"):
        run_online(connection)
        return
    settings = Settings.load()
    context.config.attributes["role_prefix"] = settings.database.role_prefix
    if url := settings.database.sqlalchemy_migration_url():
        asyncio.run(migrate(url, settings))
        return
    with EmbeddedServer(settings.embedded) as endpoint:
        asyncio.run(migrate(endpoint.url, settings))


main()
