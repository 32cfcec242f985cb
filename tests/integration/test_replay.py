"""What a replay stores, and how it goes on."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import URL

from gal_friday.config import Settings
from gal_friday.dal.models import Fill, Order, OrderStatus, RiskVerdict, Side, Signal, Trade
from gal_friday.database import Database, open_database
from gal_friday.errors import AlreadyExists, NotFound
from gal_friday.money import ZERO, exact
from gal_friday.replay.run import Rules, Run
from gal_friday.replay.runner import replay
from gal_friday.replay.summary import summary_of
from tests.replays import a_database_url, a_run, opened, state_of
from tests.servers import PostgresServer
from tests.waiting import until


async def fills_of(database: Database, run: Run) -> Sequence[Fill]:
    return await database.fills.find_all(Fill.account_id == run.name, order_by=Fill.filled_at)


async def test_a_finished_run_is_left_as_it_is(database: Database, tmp_path: Path) -> None:
    run = a_run(tmp_path)
    await replay(database, run)
    before, reported = await state_of(database), list[int]()
    progress = await replay(database, run, report=reported.append)
    assert (progress.cursor, reported) == (600, [600])
    assert before.first_difference(await state_of(database)) is None


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_run_in_pieces_ends_as_one_in_one_piece(
    *, seed: int, tmp_path: Path, database: Database, postgres_server: PostgresServer, template_database: str
) -> None:
    run = a_run(tmp_path, seed=seed)
    with a_database_url(postgres_server, template_database) as other_url:
        async with opened(other_url) as other:
            await replay(other, run)
            for limit in range(25, 601, 75):
                assert (await replay(database, run, limit=limit)).cursor == limit
            assert (await replay(database, run)).cursor == 600
            assert (await state_of(database)).first_difference(await state_of(other)) is None


async def test_two_processes_at_the_same_run_share_the_work(
    *,
    tmp_path: Path,
    database: Database,
    database_url: URL,
    postgres_server: PostgresServer,
    template_database: str,
) -> None:
    run = a_run(tmp_path)
    with a_database_url(postgres_server, template_database) as other_url:
        async with opened(other_url) as other, opened(database_url) as rival:
            await replay(other, run)
            seen: tuple[list[int], list[int]] = ([], [])
            await asyncio.gather(
                replay(database, run, report=seen[0].append), replay(rival, run, report=seen[1].append)
            )
            assert min(len(cursors) for cursors in seen) > 5
            assert (await state_of(database)).first_difference(await state_of(other)) is None


async def test_equity_is_what_the_fills_made_of_the_capital(database: Database, tmp_path: Path) -> None:
    run = a_run(tmp_path, count=2_000)
    await replay(database, run)
    fills = await fills_of(database, run)
    portfolio = await database.portfolio_states.one((run.name, run.quote))
    with exact():
        paid = sum((fill.commission for fill in fills), ZERO)
        realized = sum((fill.realized_pnl or ZERO for fill in fills), ZERO)
        assert portfolio.closed_equity == portfolio.initial_capital + realized - paid
        held = sum(
            (fill.quantity_filled if fill.side is Side.BUY else -fill.quantity_filled for fill in fills),
            ZERO,
        )
    position = await database.positions.get_position_by_pair(run.trading_pair, account_id=run.name)
    assert held == (position.quantity if position else ZERO)


async def test_each_closed_trade_balances_with_its_fills(database: Database, tmp_path: Path) -> None:
    run = a_run(tmp_path, count=2_000)
    await replay(database, run)
    trades = await database.trades.find_all(Trade.account_id == run.name, Trade.exit_timestamp.is_not(None))
    fills = await fills_of(database, run)
    assert len(trades) > 10
    for trade in trades:
        own = [fill for fill in fills if fill.trade_id == trade.id]
        with exact():
            assert trade.total_commission == sum((fill.commission for fill in own), ZERO)
            realized = sum((fill.realized_pnl or ZERO for fill in own), ZERO)
            assert trade.realized_pnl is not None
            # A trade's average prices are rounded to 18 decimals, its fills' are not.
            assert abs(trade.realized_pnl - (realized - trade.total_commission)) < Decimal("1e-15")
    summary = await database.strategies.one(run.name)
    assert summary.total_trades == len(trades)
    assert summary.winning_trades == sum((trade.realized_pnl or ZERO) > 0 for trade in trades)


async def test_orders_are_filled_in_one_piece_or_two(database: Database, tmp_path: Path) -> None:
    run = a_run(tmp_path, count=2_000)
    await replay(database, run)
    orders = await database.orders.find_all(Order.account_id == run.name, Order.status == OrderStatus.FILLED)
    fills = await fills_of(database, run)
    pieces = {order.id: [fill for fill in fills if fill.order_id == order.id] for order in orders}
    assert {len(own) for own in pieces.values()} == {1, 2}
    for order in orders:
        with exact():
            assert order.quantity == sum((fill.quantity_filled for fill in pieces[order.id]), ZERO)
            assert order.cost == sum(
                (fill.quantity_filled * fill.fill_price for fill in pieces[order.id]), ZERO
            )


async def test_every_signal_is_decided_on_within_the_limits(database: Database, tmp_path: Path) -> None:
    rules = Rules(max_daily_loss=Decimal("0.01"), max_notional=Decimal("999.9"))
    run = a_run(tmp_path, count=2_000, rules=rules)
    await replay(database, run)
    async with database.transaction() as uow:
        signals = await uow.signals.find_all(Signal.account_id == run.name)
        decided = [(signal, await uow.risk_decisions.of_signal(signal.id)) for signal in signals]
        ordered = {signal.id: await uow.orders.get_orders_by_signal(signal.id) for signal in signals}
    verdicts = {decision.decision for _, (decision,) in decided}
    assert verdicts == {RiskVerdict.APPROVED, RiskVerdict.REJECTED, RiskVerdict.RESIZED}
    for signal, (decision,) in decided:
        if decision.decision is RiskVerdict.REJECTED:
            assert not ordered[signal.id]
            continue
        (order,) = ordered[signal.id]
        assert order.quantity is not None
        assert order.quantity == decision.approved_quantity
        if signal.side is Side.BUY:
            assert signal.proposed_entry_price is not None
            with exact():
                assert order.quantity * signal.proposed_entry_price <= rules.max_notional


async def test_another_file_or_other_rules_need_another_name(database: Database, tmp_path: Path) -> None:
    await replay(database, a_run(tmp_path, name="first", count=100))
    before = await state_of(database)
    for other in (
        a_run(tmp_path, name="first", count=100, seed=2),
        a_run(tmp_path, name="first", count=100, rules=Rules(fast=5)),
    ):
        with pytest.raises(AlreadyExists, match="another --run") as refused:
            await replay(database, other)
        assert refused.value.facts["differing"]
    assert before.first_difference(await state_of(database)) is None


async def test_runs_in_one_database_leave_each_other_alone(database: Database, tmp_path: Path) -> None:
    runs = [a_run(tmp_path, name=name) for name in ("one", "two")]
    for run in runs:
        await replay(database, run)
    async with database.transaction() as uow:
        one, two = [await summary_of(uow, run) for run in runs]
    assert one == two
    assert one.rows["market_data"] == 600
    assert one.rows["fills"] * 2 == await database.fills.count()
    with pytest.raises(NotFound):
        async with database.transaction() as uow:
            await summary_of(uow, a_run(tmp_path, name="never begun"))


async def test_restarts_of_the_server_leave_no_trace(
    tmp_path: Path, breakable_server: PostgresServer, database: Database
) -> None:
    run = a_run(tmp_path)
    await replay(database, run)
    breakable_server.create_database("replay")
    settings = Settings(database={"url": breakable_server.url("replay")})
    cursors = [0]
    async with open_database(settings) as struck:
        replaying = asyncio.create_task(replay(struck, run, report=cursors.append))
        for milestone in (100, 300, 500):

            async def is_past(milestone: int = milestone) -> bool:
                return cursors[-1] >= milestone

            await until(is_past, f"candle {milestone}", seconds=60)
            await asyncio.to_thread(breakable_server.restart, "immediate")
        assert (await replaying).cursor == 600
        assert (await state_of(database)).first_difference(await state_of(struck)) is None
