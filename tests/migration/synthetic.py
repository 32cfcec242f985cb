"""Revisions made up for a test, on top of the package's own, and dumps to compare schemas with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from uuid import uuid4

from sqlalchemy.engine import URL, make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.migrations.revision_files import read_revisions
from gal_friday.dal.migrations.revisions import default_script_location
from tests.servers import PostgresServer

VERSIONS = default_script_location() / "versions"
#: The package's own revisions, oldest first.
OWN_REVISIONS = [revision.id for revision in read_revisions([VERSIONS])]
HEAD = OWN_REVISIONS[-1]

REVISION = '''\
"""{id}"""

import sqlalchemy as sa
from alembic import op

from gal_friday.dal.migrations import operations

revision = {id!r}
down_revision = {down!r}
oldest_code = {oldest_code!r}


def upgrade() -> None:
{upgrade}


def downgrade() -> None:
{downgrade}
'''


class SyntheticRevisions:
    """A directory of revisions, each following the one written before it, the first one *after*."""

    def __init__(self, directory: Path, *, after: str | None = HEAD) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.head = after
        self._base = after

    def add(self, revision: str, upgrade: str, downgrade: str = "pass", *, oldest_code: str = "0.1.0") -> str:
        """Write a revision with these bodies; returns its id."""
        content = REVISION.format(
            id=revision,
            down=self.head,
            oldest_code=oldest_code,
            upgrade=indent(upgrade, "    "),
            downgrade=indent(downgrade, "    "),
        )
        (self.directory / f"{revision}.py").write_text(content)
        self.head = revision
        return revision

    @property
    def version_locations(self) -> list[Path]:
        return [VERSIONS, self.directory] if self._base else [self.directory]

    def manager(self, url: URL, **settings: float) -> MigrationManager:
        return MigrationManager(
            url, DatabaseSettings.model_validate(settings), version_locations=self.version_locations
        )


@dataclass(frozen=True)
class Scratch:
    """A database of one test's own."""

    server: PostgresServer
    name: str

    @property
    def url(self) -> URL:
        return make_url(self.server.url(self.name)).set(drivername="postgresql+asyncpg")

    def manager(self, **settings: float) -> MigrationManager:
        """The package's own MigrationManager for it."""
        return MigrationManager(self.url, DatabaseSettings.model_validate(settings))

    def dump(self, *options: str) -> str:
        """Its schema, and its data unless told otherwise, as pg_dump writes them."""
        # Newer versions of pg_dump begin with a random key, against scripts hidden in dumps.
        key = ["--restrict-key=none"] if "--restrict-key" in self.server.run("pg_dump", "--help") else []
        return self.server.run("pg_dump", *key, *options, self.name)

    def psql(self, sql: str | Path) -> str:
        """Unaligned rows of *sql*, which may be a file: no argument is as long as a whole schema."""
        given = "-f" if isinstance(sql, Path) else "-c"
        return self.server.run(
            "psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", given, sql, self.name
        ).strip()


@contextmanager
def scratch_database(server: PostgresServer) -> Iterator[Scratch]:
    """An empty database; dropping it fails if someone is still connected."""
    name = f"test_{uuid4().hex}"
    server.create_database(name)
    yield Scratch(server, name)
    server.drop_database(name)
