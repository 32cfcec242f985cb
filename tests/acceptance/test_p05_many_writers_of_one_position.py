"""P05: no update of a position is lost, however many write at once; `make soak` lets 64 write 500 times."""

import logging
import os
import time
from decimal import Decimal

import pytest
from sqlalchemy import URL

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import FillOutcome, FillResult
from gal_friday.dal.models import DEFAULT_ACCOUNT_ID, Side
from gal_friday.database import Database
from tests.books import unbalanced
from tests.concurrency import at_once
from tests.factories import a_strategy
from tests.ledger import a_report, a_stored_order, columns, equity

WRITERS = int(os.environ.get("GAL_FRIDAY_TEST_WRITERS", "16"))
UPDATES = int(os.environ.get("GAL_FRIDAY_TEST_UPDATES", "20"))
FEE = Decimal("0.01")

log = logging.getLogger(__name__)


async def test_the_sum_over_many_writers_of_one_position_is_exact(
    database: Database, database_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    strategy = await database.strategies.add(a_strategy())
    before = await equity(database)
    # Half a unit, so that whole ones may turn it over but never make it flat.
    half = a_report(await a_stored_order(database, strategy), quantity_filled=Decimal("0.5"))
    await database.execution.apply_fill(half)
    orders = [
        await a_stored_order(database, strategy, side=list(Side)[number % 2], quantity=Decimal(2 * UPDATES))
        for number in range(WRITERS)
    ]
    settings = DatabaseSettings(pool_size=WRITERS, max_overflow=0, retry_timeout_seconds=300)
    async with DatabaseConnectionPool(settings, url=database_url) as pool:
        many = Database(pool)

        async def write(number: int) -> list[FillOutcome]:
            order = orders[number]
            reports = [
                a_report(
                    order,
                    quantity_filled=Decimal(1 + number % 2),
                    fill_price=Decimal(100 + update % 7),
                    commission=FEE,
                    commission_asset="USD",
                )
                for update in range(UPDATES)
            ]
            if number % 4 < 2:
                return [await many.execution.apply_fill(report) for report in reports]
            return [
                await many.retrying(lambda uow, report=report: uow.execution.apply_fill(report))  # type: ignore[misc]  # the default argument
                for report in reports
            ]

        started = time.monotonic()
        outcomes = [outcome for written in await at_once(write, WRITERS) for outcome in written]
        seconds = time.monotonic() - started

    retries = sum(record.message == "retrying" for record in caplog.records)
    log.info("%d writers × %d updates: %.1f s, %d retries", WRITERS, UPDATES, seconds, retries)
    assert {outcome.result for outcome in outcomes} == {FillResult.APPLIED}
    # Numbers are given one after the other, in the order of commits.
    assert sorted(outcome.applied_seq or 0 for outcome in outcomes) == list(range(2, WRITERS * UPDATES + 2))
    (position,) = await database.positions.find_all()
    sold = WRITERS // 2 * UPDATES * 2
    bought = (WRITERS - WRITERS // 2) * UPDATES
    net = Decimal("0.5") + bought - sold
    signed = position.quantity if position.side == "LONG" else -position.quantity
    assert signed == net
    assert columns(position, "total_commission") == (WRITERS * UPDATES * FEE,)
    gained = sum((outcome.realized_pnl or Decimal(0) for outcome in outcomes), Decimal(0))
    after = await equity(database)
    assert after["USD"] - before["USD"] == gained - WRITERS * UPDATES * FEE
    async with database.transaction() as uow:
        assert await unbalanced(uow, DEFAULT_ACCOUNT_ID) == []
