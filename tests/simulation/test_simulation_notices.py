"""A simulation that finds nothing proves little: here something is broken on purpose, and it is found."""

import contextlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from tests.simulation.run import simulate

TICKS = 10

FILLS_ARE_NOT_RECOGNIZED = (
    """
    CREATE OR REPLACE FUNCTION fill_known_as(f fills, of_order uuid) RETURNS fills
    LANGUAGE sql AS 'SELECT NULL::fills'
    """,
    "ALTER TABLE fills DROP CONSTRAINT uq_fills_identity",
    "ALTER TABLE fills DROP CONSTRAINT uq_fills_order_id_fill_id",
)
ANYBODY_MAY_LEAD = (
    "CREATE OR REPLACE FUNCTION require_lease(account text) RETURNS void LANGUAGE sql AS 'SELECT'",
)
PROFIT_IS_ROUNDED = (
    """
    CREATE OR REPLACE FUNCTION cost_rounded(product numeric) RETURNS numeric
    LANGUAGE sql AS 'SELECT round(product, 2)'
    """,
)


@pytest.mark.parametrize(
    ("changes", "promise", "seed"),
    [
        pytest.param(FILLS_ARE_NOT_RECOGNIZED, "P03", 1, id="a fill counts each time it is heard of"),
        pytest.param(ANYBODY_MAY_LEAD, "P08", 3, id="who does not lead may intend"),
        pytest.param(PROFIT_IS_ROUNDED, "P10", 1, id="profit is rounded"),
    ],
)
async def test_a_broken_database_is_noticed(
    changes: tuple[str, ...], promise: str, seed: int, database_url: URL, owner_url: URL
) -> None:
    async with DatabaseConnectionPool(DatabaseSettings(), url=owner_url) as pool, pool.transaction() as uow:
        for change in changes:
            await uow.session.execute(text(change))
    outcome = await simulate(seed, database_url, owner_url, ticks=TICKS)
    assert any(violation.startswith(promise) for violation in outcome.violations), outcome.violations


class NeverMind(Exception):
    pass


async def test_a_transaction_that_is_lost_is_noticed(
    database_url: URL, owner_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fifth is said to be stored, and is not."""
    numbers = itertools.count(1)
    store = Database.retrying

    async def forget(
        database: Database, work: Callable[[UnitOfWork], Awaitable[Any]], *, actor: str | None = None
    ) -> Any:
        if next(numbers) % 5:
            return await store(database, work, actor=actor)
        with contextlib.suppress(NeverMind):
            async with database.transaction(actor=actor) as uow:
                done = await work(uow)
                raise NeverMind
        return done

    monkeypatch.setattr(Database, "retrying", forget)
    outcome = await simulate(1, database_url, owner_url, ticks=TICKS)
    assert any(violation.startswith("P01") for violation in outcome.violations), outcome.violations
