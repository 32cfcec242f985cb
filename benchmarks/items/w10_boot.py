"""W10: a program starts and asks whether the schema is at the head: in a process that runs, and as a process.

And the first start of all: an empty database gets its schema, beside the same DDL run as one script.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no type hints
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url

from benchmarks.harness.item import Item, Operation, Variant
from benchmarks.harness.workbench import Workbench
from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.migration_manager import MigrationManager

ROOT = Path(__file__).parents[2]
URL = "GAL_FRIDAY_DATABASE__URL"
EMPTY, PROCESS = "empty database", "as a process"

#: What a script by hand would be.
ASK = """
import asyncio, os, asyncpg

async def main():
    connection = await asyncpg.connect(os.environ["URL"])
    print(await connection.fetchval("SELECT version_num FROM alembic_version"))
    await connection.close()

asyncio.run(main())
"""
REVISION = "SELECT version_num FROM alembic_version"
DROP_EMPTY = "DROP DATABASE IF EXISTS bench_empty WITH (FORCE)"
CREATE_EMPTY = "CREATE DATABASE bench_empty"


async def prepare(bench: Workbench) -> Sequence[str]:
    """Databases to ask for their revision, or an empty one."""
    # The owner's, through the port everyone else goes through.
    url = make_url(bench.owner_url).set(port=make_url(bench.url).port)
    if bench.variant != EMPTY:
        return [url.render_as_string(hide_password=False)] * bench.size
    owner = await bench.owner()
    await owner.execute(DROP_EMPTY)
    await owner.execute(CREATE_EMPTY)
    await owner.close()
    return [url.set(database="bench_empty").render_as_string(hide_password=False)]


ITEM = Item(
    key="W10",
    title="boot: schema at the head, or made",
    unit="ms",
    prepare=prepare,
    size=10,
    quick_size=5,
    rounds=5,
    variants=(Variant("in process"), Variant(PROCESS, share=0.1), Variant(EMPTY, share=0)),
)


async def run(*command: str, **environment: str) -> None:
    """A Python program, to its end."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, problem = await program.communicate()
    if program.returncode:
        raise RuntimeError(problem.decode())


@ITEM.peer("asyncpg")
@asynccontextmanager
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[str]]:
    dump = await asyncio.create_subprocess_exec(
        bench.binaries / "pg_dump", "--schema-only", bench.owner_url, stdout=subprocess.PIPE
    )
    lines = (await dump.communicate())[0].decode().splitlines()
    script = "\n".join(line for line in lines if not line.startswith("\\"))

    async def ask(url: str) -> None:
        connection = await asyncpg.connect(url)
        assert await connection.fetchval(REVISION)
        await connection.close()

    async def ask_as_process(url: str) -> None:
        await run("-c", ASK, URL=url)

    async def make(url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(script)
        await connection.close()

    yield {EMPTY: make, PROCESS: ask_as_process}.get(bench.variant, ask)


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[str]]:
    async def migrate(url: str) -> None:
        parsed = make_url(url).set(drivername="postgresql+asyncpg")
        await MigrationManager(parsed, DatabaseSettings()).run_migrations()

    async def check_as_process(url: str) -> None:
        await run("-m", "gal_friday", "db", "check", "--at-head", **{URL: url})

    yield check_as_process if bench.variant == PROCESS else migrate


@ITEM.peer("alembic upgrade head")
@asynccontextmanager
async def alembic(bench: Workbench) -> AsyncIterator[Operation[str]]:
    config = Config()  # without the file, which would set up logging
    config.set_main_option("script_location", str(ROOT / "alembic_env"))

    async def upgrade(url: str) -> None:
        os.environ[URL] = url
        await asyncio.to_thread(command.upgrade, config, "head")

    async def upgrade_as_process(url: str) -> None:
        await run("-m", "alembic", "upgrade", "head", **{URL: url})

    kept = os.environ.get(URL)
    try:
        yield upgrade_as_process if bench.variant == PROCESS else upgrade
    finally:
        os.environ.pop(URL, None)
        if kept is not None:
            os.environ[URL] = kept
