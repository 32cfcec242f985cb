"""P03: a fill counts once, in whatever order, spelling and number it is reported, and by whomever."""

import asyncio
import os
from collections import Counter

import pytest

from gal_friday.dal.execution import FillOutcome, FillResult
from gal_friday.dal.models import Fill, Order, Strategy
from gal_friday.database import Database
from tests.books import unbalanced
from tests.concurrency import at_once
from tests.factories import a_strategy, an_order
from tests.fills import Trading

#: `make soak` asks for more.
SEQUENCES = int(os.environ.get("GAL_FRIDAY_TEST_FILL_SEQUENCES", "200"))
BLOCKS = 4


async def take(database: Database, trading: Trading, reports: list[Fill], tasks: int) -> list[FillOutcome]:
    """*reports* taken by so many *tasks* at once, in batches, some of them in a unit of work."""
    batches = list(trading.batches(reports))
    outcomes: list[FillOutcome] = []

    async def deliver(number: int) -> None:
        for batch in batches[number::tasks]:
            if number % 3 == 2:
                taken = await database.retrying(lambda uow, batch=batch: uow.execution.apply_fills(batch))  # type: ignore[misc]  # the default argument
            else:
                taken = await database.execution.apply_fills(batch)
            outcomes.extend(taken)

    await at_once(deliver, tasks)
    return outcomes


async def trade(database: Database, seed: int) -> None:
    """One sequence: orders are stored before, among or after the reports of their fills."""
    trading = Trading(seed)
    async with database.transaction() as uow:
        await uow.accounts.open_account(trading.account_id)
        await uow.strategies.add_many(trading.strategies)
    reports = trading.reports()
    early, late = trading.orders[::2], trading.orders[1::2]
    async with database.transaction() as uow:
        await uow.orders.add_many(early)

    async def store_the_others() -> None:
        for order in late:
            await database.retrying(lambda uow, order=order: uow.orders.add(order))  # type: ignore[misc]  # the default argument

    outcomes, _ = await asyncio.gather(
        take(database, trading, reports, tasks=1 + seed % 4), store_the_others()
    )
    async with database.transaction() as uow:
        assert await unbalanced(uow, trading.account_id) == []
        stored = await uow.fills.find_all(Fill.account_id == trading.account_id)
        waiting = await uow.unmatched_fills.find_all()
    assert not [fill for fill in waiting if fill.account_id == trading.account_id]
    told = Counter((fill["order"].id, fill["fill_id"]) for fill in trading.fills)
    assert Counter((fill.order_id, fill.fill_id) for fill in stored) == told, "each fill is stored once"
    results = Counter(outcome.result for outcome in outcomes)
    assert results[FillResult.REJECTED] == 0
    assert sum(results.values()) == len(reports)
    assert results[FillResult.APPLIED] <= len(trading.fills)


@pytest.mark.parametrize("block", range(BLOCKS))
async def test_the_books_are_those_computed_from_scratch_for_any_sequence_of_reports(
    database: Database, block: int
) -> None:
    for seed in range(block, SEQUENCES, BLOCKS):
        try:
            await trade(database, seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


async def strategy_and_order(database: Database, **values: object) -> tuple[Strategy, Order]:
    async with database.transaction() as uow:
        strategy = await uow.strategies.add(a_strategy())
        return strategy, await uow.orders.add(an_order(strategy, **values))
