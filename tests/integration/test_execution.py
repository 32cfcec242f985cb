"""What a fill does to its order, position, trade and equity."""

from decimal import Decimal

import pytest
from sqlalchemy import select

from gal_friday.dal.models import (
    EventLog,
    OrderStatus,
    OrderType,
    PositionSide,
    Side,
    Strategy,
    TradeStatus,
    new_id,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from tests.books import unbalanced
from tests.factories import MINUTE, NOON, a_signal, a_strategy, an_instrument
from tests.ledger import (
    a_report,
    a_stored_order,
    applied,
    columns,
    equity,
    position_of,
    stored_fill,
    trades_of,
)


@pytest.fixture
async def strategy(uow: UnitOfWork) -> Strategy:
    return await uow.strategies.add(a_strategy())


async def test_a_first_fill_opens_a_position_and_a_trade(uow: UnitOfWork) -> None:
    order = await a_stored_order(uow)
    before = await equity(uow)
    outcome = await applied(
        uow, a_report(order, fill_price=Decimal("100.1"), commission=Decimal(2), commission_asset="USD")
    )

    assert (outcome.order_id, outcome.applied_seq, outcome.realized_pnl) == (order.id, 1, None)
    assert outcome.order_status is OrderStatus.PARTIALLY_FILLED
    position = await position_of(uow, order)
    assert columns(position, "side", "quantity", "entry_price") == ("LONG", 1, Decimal("100.1"))
    assert columns(position, "opened_at", "closed_at", "total_commission") == (NOON, None, 2)
    (trade,) = await trades_of(uow, position)
    assert (trade.id, trade.status, trade.side) == (outcome.trade_id, TradeStatus.OPEN, Side.BUY)
    assert columns(trade, "quantity", "entry_value", "realized_pnl") == (1, Decimal("100.1"), -2)
    assert columns(order, "filled_quantity", "cost", "commission_by_asset") == (
        1,
        Decimal("100.1"),
        {"USD": "2"},
    )
    assert (order.position_id, order.trade_id) == (position.id, trade.id)
    assert (await equity(uow))["USD"] == before["USD"] - 2
    assert await unbalanced(uow, order.account_id) == []


async def test_what_is_sold_makes_the_exact_difference_to_its_average_cost(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    buy = await a_stored_order(uow, strategy, quantity=Decimal(3))
    sell = await a_stored_order(uow, strategy, side=Side.SELL)
    before = await equity(uow)
    await applied(uow, a_report(buy, fill_price=Decimal(100)))
    await applied(uow, a_report(buy, quantity_filled=Decimal(2), fill_price=Decimal(103)))
    outcome = await applied(
        uow, a_report(sell, fill_price=Decimal(110), commission=Decimal("0.5"), commission_asset="USD")
    )

    assert outcome.realized_pnl == Decimal(8)  # 110 - (100 + 2 * 103) / 3
    assert outcome.order_status is OrderStatus.PARTIALLY_FILLED
    position = await position_of(uow, buy)
    assert columns(position, "quantity", "cost", "realized_pnl") == (2, 204, 8)
    (trade,) = await trades_of(uow, position)
    assert columns(trade, "status", "filled_quantity", "exit_value") == (TradeStatus.PARTIALLY_FILLED, 1, 110)
    assert (trade.realized_pnl, trade.exit_order_id) == (Decimal("7.5"), sell.id)
    assert (await equity(uow))["USD"] == before["USD"] + Decimal("7.5")
    assert (await stored_fill(uow, outcome)).realized_pnl == 8


async def test_the_fill_that_makes_it_flat_closes_position_and_trade(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    buy = await a_stored_order(uow, strategy)
    sell = await a_stored_order(
        uow, strategy, side=Side.SELL, extra={"exit_reason": "TRAILED", "exit_tag": "x"}
    )
    await applied(uow, a_report(buy))
    outcome = await applied(uow, a_report(sell, fill_price=Decimal(90), filled_at=NOON + MINUTE))

    position = await position_of(uow, buy)
    assert (position.closed_at, position.is_active) == (NOON + MINUTE, False)
    assert columns(position, "quantity", "cost", "entry_price") == (0, 0, 100)
    (trade,) = await trades_of(uow, position)
    assert (outcome.trade_id, trade.status, trade.exit_timestamp) == (trade.id, "CLOSED", NOON + MINUTE)
    assert columns(trade, "realized_pnl", "realized_pnl_pct") == (-10, -10)
    assert columns(trade, "exit_reason", "exit_tag", "average_exit_price") == ("TRAILED", "x", 90)


async def test_what_follows_a_closed_position_is_another_one(uow: UnitOfWork, strategy: Strategy) -> None:
    buy = await a_stored_order(uow, strategy)
    sell = await a_stored_order(uow, strategy, side=Side.SELL)
    first, _, second = [await applied(uow, a_report(order)) for order in (buy, sell, buy)]
    assert first.position_id != second.position_id
    assert second.applied_seq == 1
    assert await unbalanced(uow, buy.account_id) == []


async def test_a_flip_keeps_the_position_and_begins_another_trade(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    buy = await a_stored_order(uow, strategy)
    sell = await a_stored_order(uow, strategy, side=Side.SELL, quantity=Decimal(3))
    opening = await applied(uow, a_report(buy))
    flip = await applied(
        uow,
        a_report(
            sell,
            quantity_filled=Decimal(3),
            fill_price=Decimal(120),
            commission=Decimal(3),
            commission_asset="USD",
            filled_at=NOON + MINUTE,
        ),
    )

    assert columns(flip, "position_id", "realized_pnl") == (opening.position_id, 20)
    position = await position_of(uow, buy)
    assert columns(position, "side", "quantity", "cost") == (PositionSide.SHORT, 2, 240)
    assert (position.opened_at, position.closed_at) == (NOON + MINUTE, None)
    ended, begun = await trades_of(uow, position)
    assert columns(ended, "id", "status", "realized_pnl") == (flip.trade_id, "CLOSED", 19)
    assert columns(begun, "side", "status", "quantity", "realized_pnl") == ("SELL", "OPEN", 2, -2)
    assert await unbalanced(uow, buy.account_id) == []


async def test_a_short_position_earns_when_the_price_falls(uow: UnitOfWork, strategy: Strategy) -> None:
    sell = await a_stored_order(uow, strategy, side=Side.SELL)
    buy = await a_stored_order(uow, strategy)
    await applied(uow, a_report(sell))
    outcome = await applied(uow, a_report(buy, fill_price=Decimal("99.5")))
    assert outcome.realized_pnl == Decimal("0.5")
    assert await unbalanced(uow, buy.account_id) == []


@pytest.mark.parametrize("multiplier", [Decimal(100), Decimal("0.001")])
async def test_a_contracts_multiplier_scales_what_it_earns(
    uow: UnitOfWork, strategy: Strategy, multiplier: Decimal
) -> None:
    pair = f"{new_id().hex}/USD:USD"
    await uow.instruments.add(
        an_instrument(trading_pair=pair, kind="PERPETUAL", contract_multiplier=multiplier)
    )
    buy = await a_stored_order(uow, strategy, trading_pair=pair)
    sell = await a_stored_order(uow, strategy, trading_pair=pair, side=Side.SELL)
    await applied(uow, a_report(buy))
    outcome = await applied(uow, a_report(sell, fill_price=Decimal(103)))

    assert outcome.realized_pnl == 3 * multiplier
    assert (await stored_fill(uow, outcome)).contract_multiplier == multiplier
    position = await position_of(uow, buy)
    (trade,) = await trades_of(uow, position)
    assert position.realized_pnl == trade.realized_pnl == 3 * multiplier
    assert trade.realized_pnl_pct == 3
    assert await unbalanced(uow, buy.account_id) == []


async def test_a_fill_keeps_the_multiplier_it_was_applied_with(uow: UnitOfWork, strategy: Strategy) -> None:
    instrument = await uow.instruments.add(an_instrument(contract_multiplier=Decimal(10)))
    buy = await a_stored_order(uow, strategy)
    before = await applied(uow, a_report(buy))
    instrument.contract_multiplier = Decimal(5)
    after = await applied(uow, a_report(buy))
    fills = [await stored_fill(uow, outcome) for outcome in (before, after)]
    assert [fill.contract_multiplier for fill in fills] == [10, 5]


async def test_positions_are_apart_by_strategy_and_by_currency(uow: UnitOfWork, strategy: Strategy) -> None:
    orders = [
        await a_stored_order(uow, strategy),
        await a_stored_order(uow),
        await a_stored_order(uow, strategy, exchange="binance"),
        await a_stored_order(uow, strategy, trading_pair="BTC/EUR"),
    ]
    outcomes = [await applied(uow, a_report(order)) for order in orders]
    in_another_currency = await applied(uow, a_report(orders[0], quote_currency="USDT"))
    assert len({outcome.position_id for outcome in [*outcomes, in_another_currency]}) == 5
    assert await unbalanced(uow, orders[0].account_id) == []


async def test_a_trade_remembers_what_led_to_it(uow: UnitOfWork, strategy: Strategy) -> None:
    signal = await uow.signals.add(
        a_signal(strategy, proposed_sl_price=Decimal(90), proposed_tp_price=Decimal(130))
    )
    tags = {"entry_tag": "dip", "config_hash": "c" * 64}
    order = await a_stored_order(uow, strategy, signal_id=signal.id, order_type=OrderType.MARKET, extra=tags)
    await applied(uow, a_report(order))
    (trade,) = await trades_of(uow, await position_of(uow, order))
    assert (trade.signal_id, trade.entry_order_id, trade.strategy_id) == (
        signal.id,
        order.id,
        strategy.strategy_id,
    )
    assert columns(trade, "stop_loss_price", "take_profit_price") == (90, 130)
    assert (trade.entry_tag, trade.config_hash) == ("dip", "c" * 64)


async def test_each_fill_is_an_event_of_its_position_numbered_without_a_gap(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    buy = await a_stored_order(uow, strategy, quantity=Decimal(4))
    sell = await a_stored_order(uow, strategy, side=Side.SELL)
    reports = [a_report(buy), a_report(buy), a_report(sell, fill_price=Decimal("100.50")), a_report(buy)]
    outcomes = await uow.execution.apply_fills([*reports, *reports])
    stream = f"position-{outcomes[0].position_id}"
    statement = select(EventLog).where(EventLog.stream == stream).order_by(EventLog.position)
    events = (await uow.session.scalars(statement)).all()
    assert [event.stream_version for event in events] == [1, 2, 3, 4]
    event = events[2]
    assert (event.event_type, event.occurred_at) == ("FillApplied", NOON)
    assert event.payload == {
        "fill": str(outcomes[2].fill),
        "order": str(sell.id),
        "trade": str(outcomes[2].trade_id),
        "side": "SELL",
        "order_status": "PARTIALLY_FILLED",
        "quantity": "1",
        "price": "100.5",
        "realized_pnl": "0.5",
    }


async def test_a_batch_takes_effect_in_the_order_given(uow: UnitOfWork, strategy: Strategy) -> None:
    buy = await a_stored_order(uow, strategy)
    sell = await a_stored_order(uow, strategy, side=Side.SELL)
    prices = (Decimal(100), Decimal(110), Decimal(120))
    reports = [
        a_report(order, fill_price=price) for order, price in zip((buy, sell, buy), prices, strict=True)
    ]
    outcomes = await uow.execution.apply_fills(reports)
    assert [outcome.realized_pnl for outcome in outcomes] == [None, 10, None]
    assert [outcome.applied_seq for outcome in outcomes] == [1, 2, 1]
    assert await uow.execution.apply_fills([]) == []
