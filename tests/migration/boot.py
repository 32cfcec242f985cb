"""A program that boots: `python -m tests.migration.boot URL [VERSIONS …]`; migrates when told "go"."""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from sqlalchemy.engine import make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.migration_manager import MigrationManager


async def boot(url: str, version_locations: list[Path]) -> dict[str, object]:
    manager = MigrationManager(make_url(url), DatabaseSettings(), version_locations=version_locations)
    report = await manager.run_migrations()
    await manager.check_compatibility()
    return asdict(report)


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    answer = asyncio.run(boot(sys.argv[1], [Path(argument) for argument in sys.argv[2:]]))
    sys.stdout.write(json.dumps(answer))
