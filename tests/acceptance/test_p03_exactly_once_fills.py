"""P03: a fill counts once, in whatever order, spelling and number it is reported, and by whomever."""

import asyncio
import itertools
import os
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import URL

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import FillOutcome, FillResult
from gal_friday.dal.models import (
    DEFAULT_ACCOUNT_ID,
    Fill,
    Instrument,
    Order,
    Position,
    ReportSource,
    Side,
    Trade,
)
from gal_friday.dal.pooled_execution import PooledExecution
from gal_friday.database import Database
from gal_friday.money import ZERO, exact
from tests.books import unbalanced
from tests.concurrency import at_once
from tests.factories import a_strategy, an_instrument, an_order
from tests.fills import PERPETUAL, Trading
from tests.ledger import a_report, a_stored_order, columns, equity
from tests.network import AnswerEater, Fate
from tests.replays import opened
from tests.reporter import TIMES, Reporter
from tests.servers import PostgresServer

#: `make soak` asks for more.
SEQUENCES = int(os.environ.get("GAL_FRIDAY_TEST_FILL_SEQUENCES", "120"))
BLOCKS = 4
ROUNDS = 10


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
    told = Counter((fill["order"].id, fill["quantity_filled"], fill["fill_price"]) for fill in trading.fills)
    once = Counter((fill.order_id, fill.quantity_filled, fill.fill_price) for fill in stored)
    assert once == told, "each fill is stored once"
    results = Counter(outcome.result for outcome in outcomes)
    assert results[FillResult.REJECTED] == 0
    assert sum(results.values()) == len(reports)
    assert results[FillResult.APPLIED] <= len(trading.fills)


def a_perpetual() -> Instrument:
    return an_instrument(trading_pair=PERPETUAL, kind="PERPETUAL", contract_multiplier=Decimal(10))


@pytest.mark.parametrize("block", range(BLOCKS))
async def test_the_books_are_those_computed_from_scratch_for_any_sequence_of_reports(
    database: Database, block: int
) -> None:
    await database.instruments.add(a_perpetual())
    for seed in range(block, SEQUENCES, BLOCKS):
        try:
            await trade(database, seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


async def test_quantities_fees_and_what_was_paid_do_not_depend_on_the_order_of_arrival(
    database: Database,
) -> None:
    await database.instruments.add(a_perpetual())
    for seed in range(ROUNDS):
        told = Trading(seed)
        sums = [await sums_after(database, Trading(seed), random.Random(shuffle)) for shuffle in range(3)]
        assert sums[0] == sums[1] == sums[2], f"seed {seed}"
        assert sums[0]["fills"] == len(told.fills)


async def sums_after(database: Database, trading: Trading, order: random.Random) -> dict[str, Any]:
    """What the fills of *trading* come to when they are reported in this *order*."""
    async with database.transaction() as uow:
        await uow.accounts.open_account(trading.account_id)
        await uow.strategies.add_many(trading.strategies)
        await uow.orders.add_many(trading.orders)
        reports = trading.reports(nameless=0)
        order.shuffle(reports)
        await uow.execution.apply_fills(reports)
        assert await unbalanced(uow, trading.account_id) == []
        positions = await uow.positions.find_all(Position.account_id == trading.account_id)
        orders = await uow.orders.find_all(Order.account_id == trading.account_id)
        with exact():
            realized = sum((each.realized_pnl for each in positions), ZERO)
            held: dict[str, Decimal] = defaultdict(lambda: ZERO)
            for each in positions:
                held[each.trading_pair] += -each.quantity if each.side == "SHORT" else each.quantity
            # What was earned depends on which exit met which entry; what moved beside it does not.
            moved = {
                currency: amount - (realized if currency == "USD" else ZERO)
                for currency, amount in (await equity(uow, trading.account_id)).items()
            }
    facts = ("client_order_id", "status", "filled_quantity", "cost", "commission_by_asset")
    return {
        "fills": await database.fills.count(Fill.account_id == trading.account_id),
        "orders": sorted(columns(each, *facts) for each in orders),
        "held": held,
        "moved": moved,
    }


# --- the cases that have gone wrong elsewhere -----------------------------------------------------------


@pytest.mark.parametrize("side", Side)
async def test_of_eight_first_fills_at_once_one_makes_the_position(database: Database, side: Side) -> None:
    for _ in range(ROUNDS):
        strategy = await database.strategies.add(a_strategy())
        orders = [await a_stored_order(database, strategy, side=side) for _ in range(8)]
        await report_at_once(database, [a_report(order) for order in orders])
        (position,) = await database.positions.find_all(Position.strategy_id == strategy.strategy_id)
        assert columns(position, "quantity", "last_applied_seq") == (8, 8)
    await assert_balanced(database)


async def test_of_eight_fills_at_once_the_one_that_flips_ends_a_trade_and_begins_the_next(
    database: Database,
) -> None:
    for _ in range(ROUNDS):
        strategy = await database.strategies.add(a_strategy())
        await database.execution.apply_fill(a_report(await a_stored_order(database, strategy)))
        for side, units in ((Side.SELL, 2), (Side.BUY, 4), (Side.SELL, 5)):
            orders = [await a_stored_order(database, strategy, side=side) for _ in range(8)]
            reports = [a_report(order, quantity_filled=Decimal(units)) for order in orders]
            await report_at_once(database, reports)
        (position,) = await database.positions.find_all(Position.strategy_id == strategy.strategy_id)
        assert columns(position, "side", "quantity", "last_applied_seq") == ("SHORT", 23, 25)
        trades = await database.trades.find_all(Trade.position_id == position.id, order_by=Trade.id)
        assert [trade.status for trade in trades] == ["CLOSED", "CLOSED", "CLOSED", "OPEN"]
        assert [trade.quantity for trade in trades] == [1, 15, 17, 23]
    await assert_balanced(database)


async def test_three_fills_of_one_order_in_one_batch_are_three(database: Database) -> None:
    order = await a_stored_order(database, quantity=Decimal(3))
    batch = [a_report(order, fill_price=Decimal(100 + number)) for number in range(3)]
    taken = await asyncio.gather(*(database.execution.apply_fills(batch) for _ in range(4)))
    results = Counter(outcome.result for outcomes in taken for outcome in outcomes)
    assert results == {FillResult.APPLIED: 3, FillResult.DUPLICATE: 9}
    stored = await database.orders.one(order.id)
    assert columns(stored, "status", "filled_quantity", "cost") == ("FILLED", 3, 303)
    await assert_balanced(database)


async def test_a_fill_from_stream_poll_tasks_and_processes_at_once_counts_once(
    database: Database, database_url: URL
) -> None:
    order = await a_stored_order(database, exchange_order_id="OX-1")
    stream = a_report(
        order,
        order_id=None,
        client_order_id=order.client_order_id,
        fill_id="T1",
        trading_pair="XXBTZUSD",
        source=ReportSource.STREAM,
    )
    poll = a_report(
        order,
        order_id=None,
        exchange_order_id="OX-1",
        fill_id="T1",
        trading_pair="BTCUSD",
        source=ReportSource.POLL,
    )
    reporters = await at_once(lambda _: Reporter.start(database_url, order.id), 4)
    taken, told = await asyncio.gather(
        report_at_once(database, [stream, poll, *(a_report(order, fill_id="T1") for _ in range(4))]),
        asyncio.gather(*(reporter.report("T1") for reporter in reporters)),
    )
    results = Counter([*(outcome.result for outcome in taken), *itertools.chain(*told)])
    assert results == {"APPLIED": 1, "DUPLICATE": 6 + 4 * TIMES - 1}
    assert await database.fills.count() == 1
    stored = await database.orders.one(order.id)
    assert columns(stored, "filled_quantity", "row_version") == (1, 2)
    await assert_balanced(database)


async def test_a_fill_with_and_without_its_real_id_at_once_counts_once(database: Database) -> None:
    for _ in range(ROUNDS):
        order = await a_stored_order(database)
        await report_at_once(
            database,
            [
                a_report(order, exchange_order_id=order.id.hex, fill_id=None if number % 2 else "T1")
                for number in range(8)
            ],
        )
        (fill,) = await database.fills.of_order(order.id)
        assert len(await database.fill_aliases.of_fill(fill.id)) == 1
    await assert_balanced(database)


async def test_a_fill_whose_answer_was_lost_is_reported_again_and_counts_once(
    database: Database, database_url: URL
) -> None:
    order = await a_stored_order(database, quantity=Decimal(10))
    relay = AnswerEater(database_url, question=b"fill-", every=2)
    async with relay.url() as url, opened(url) as struck:
        reports = [a_report(order, fill_id=f"fill-{number}") for number in range(5)]
        outcomes = [await struck.execution.apply_fill(report) for report in reports]
    assert relay.eaten == 4
    assert [outcome.result for outcome in outcomes] == ["APPLIED"] + ["DUPLICATE"] * 4
    assert [outcome.applied_seq for outcome in outcomes] == [1, 2, 3, 4, 5]
    assert (await database.orders.one(order.id)).filled_quantity == 5
    await assert_balanced(database)


@pytest.mark.parametrize("commits_arrive", [True, False])
async def test_behind_pgbouncer_it_does_not_matter_either_whether_the_commit_arrived(
    database: Database, database_url: URL, commits_arrive: bool
) -> None:
    order = await a_stored_order(database, quantity=Decimal(10))
    relay = AnswerEater(
        database_url, every=2, question=b"COMMIT", fate=Fate.ANSWERED if commits_arrive else Fate.LOST
    )
    async with (
        relay.url() as url,
        DatabaseConnectionPool(DatabaseSettings(pgbouncer=True), url=url) as pool,
    ):
        execution = PooledExecution(pool)
        outcomes = [await execution.apply_fill(a_report(order)) for _ in range(5)]
    again = FillResult.DUPLICATE if commits_arrive else FillResult.APPLIED
    assert [outcome.result for outcome in outcomes] == [FillResult.APPLIED] + [again] * 4
    assert relay.eaten == 4
    assert (await database.orders.one(order.id)).filled_quantity == 5
    await assert_balanced(database)


async def test_no_unique_violation_reaches_anyone(
    database: Database, postgres_server: PostgresServer
) -> None:
    """Every way two reports can meet on a key: fill, alias, kept fill, position, equity, the order's id."""
    before = postgres_server.log.count("duplicate key")
    for number in range(ROUNDS):
        strategy = await database.strategies.add(a_strategy())
        known = [await a_stored_order(database, strategy) for _ in range(2)]
        late = an_order(strategy)
        fee = {"commission": Decimal(1), "commission_asset": f"COIN{number}"}
        reports = [
            a_report(order, fill_id=fill_id, exchange_order_id=order.id.hex, **fee)
            for order in (*known, late)
            for fill_id in ("T1", None, "T1", "T2")
        ]
        storing = asyncio.create_task(database.retrying(lambda uow, late=late: uow.orders.add(late)))  # type: ignore[misc]  # the default argument
        await report_at_once(database, reports)
        await storing
    assert postgres_server.log.count("duplicate key") == before
    assert await database.unmatched_fills.count() == 0
    await assert_balanced(database)


async def report_at_once(database: Database, reports: Sequence[Fill]) -> list[FillOutcome]:
    """What became of *reports*, each by a task of its own, every other one in a unit of work."""

    async def report(number: int) -> FillOutcome:
        if number % 2:
            return await database.execution.apply_fill(reports[number])
        return await database.retrying(lambda uow: uow.execution.apply_fill(reports[number]))

    return await at_once(report, len(reports))


async def assert_balanced(database: Database) -> None:
    async with database.transaction() as uow:
        assert await unbalanced(uow, DEFAULT_ACCOUNT_ID) == []
