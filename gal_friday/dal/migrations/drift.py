"""Where a database differs from the models."""

from collections.abc import Iterator
from typing import Any

from alembic.autogenerate import produce_migrations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.engine import Connection

from gal_friday.dal.migrations.environment import online_options
from gal_friday.dal.models import Base


def differences(connection: Connection) -> list[str]:
    """What autogenerate would change, one phrase each: `add_column orders notes`."""
    context = MigrationContext.configure(connection, opts=online_options(connection))
    upgrade_ops = produce_migrations(context, Base.metadata).upgrade_ops
    assert upgrade_ops is not None
    return [" ".join(_words(difference)) for difference in _flat(upgrade_ops.as_diffs())]


def _flat(differences: list[Any]) -> Iterator[tuple[Any, ...]]:
    # Changes of one column come as a list of their own.
    for difference in differences:
        yield from _flat(difference) if isinstance(difference, list) else (difference,)


def _words(difference: tuple[Any, ...]) -> Iterator[str]:
    for part in difference:
        table = getattr(part, "table", None)
        name = getattr(part, "name", part)
        if isinstance(name, str | bool):
            yield f"{table.name}.{name}" if table is not None else str(name)
