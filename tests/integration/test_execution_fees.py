"""What a fee takes, from whom, in which currency."""

from decimal import Decimal

import pytest

from gal_friday.dal.models import Fill, Order, Side, Strategy
from gal_friday.dal.unit_of_work import UnitOfWork
from tests.books import unbalanced
from tests.factories import a_strategy, an_instrument
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

PERPETUAL = "BTC/USD:USD"


@pytest.fixture
async def strategy(uow: UnitOfWork) -> Strategy:
    return await uow.strategies.add(a_strategy())


@pytest.fixture
async def order(uow: UnitOfWork, strategy: Strategy) -> Order:
    return await a_stored_order(uow, strategy)


def charged(order: Order, amount: str, asset: str | None, **values: object) -> Fill:
    return a_report(order, commission=Decimal(amount), commission_asset=asset, **values)


async def changes(uow: UnitOfWork, *fills: Fill) -> dict[str, Decimal]:
    """What applying *fills* changed of the account's equity, by currency."""
    before = await equity(uow)
    for fill in fills:
        await applied(uow, fill)
    assert await unbalanced(uow, "default") == []
    after = await equity(uow)
    return {
        currency: after[currency] - before.get(currency, Decimal(0))
        for currency in after
        if after[currency] != before.get(currency)
    }


async def test_a_fill_free_of_charge_costs_nothing(uow: UnitOfWork, order: Order) -> None:
    assert await changes(uow, a_report(order), charged(order, "0", "BNB")) == {}
    assert columns(order, "commission_by_asset", "commission_quote") == ({}, 0)
    first, second = await uow.fills.of_order(order.id)
    assert columns(first, "commission_asset", "commission_quote") == ("USD", 0)
    assert columns(second, "commission_asset", "commission_quote") == ("BNB", 0)


async def test_a_fee_in_quote_currency_is_taken_from_equity_and_trade(uow: UnitOfWork, order: Order) -> None:
    assert await changes(uow, charged(order, "0.26", "USD")) == {"USD": Decimal("-0.26")}
    position = await position_of(uow, order)
    (trade,) = await trades_of(uow, position)
    assert position.total_commission == trade.total_commission == Decimal("0.26")
    assert trade.realized_pnl == Decimal("-0.26")
    assert position.realized_pnl == 0
    assert columns(order, "commission_by_asset", "commission_quote") == ({"USD": "0.26"}, Decimal("0.26"))


async def test_a_fee_without_a_currency_is_in_quote_currency(uow: UnitOfWork, order: Order) -> None:
    assert await changes(uow, charged(order, "1", None)) == {"USD": -1}


async def test_a_rebate_is_earned(uow: UnitOfWork, order: Order) -> None:
    assert await changes(uow, charged(order, "-0.05", "USD")) == {"USD": Decimal("0.05")}
    (trade,) = await trades_of(uow, await position_of(uow, order))
    assert trade.realized_pnl == Decimal("0.05")
    assert order.commission_by_asset == {"USD": "-0.05"}


@pytest.mark.parametrize("is_listed", [True, False])
async def test_a_fee_in_base_units_of_a_spot_pair_leaves_the_position(
    uow: UnitOfWork, order: Order, is_listed: bool
) -> None:
    if is_listed:
        await uow.instruments.add(an_instrument())
    outcome = await applied(uow, charged(order, "0.01", "BTC"))
    fill = await stored_fill(uow, outcome)
    assert columns(fill, "net_quantity", "commission_quote") == (Decimal("0.99"), 1)
    position = await position_of(uow, order)
    assert columns(position, "quantity", "cost", "entry_price") == (Decimal("0.99"), 99, 100)
    assert columns(order, "filled_quantity", "commission_by_asset") == (1, {"BTC": "0.01"})
    assert await unbalanced(uow, order.account_id) == []


async def test_a_fee_in_base_units_is_paid_once(uow: UnitOfWork, order: Order) -> None:
    # 100 were paid for 0.99 units worth 99: the fee of 1 is in the equity, not in the cost as well.
    sell = await a_stored_order(uow, await uow.strategies.one(order.strategy_id), side=Side.SELL)
    bought = charged(order, "0.01", "BTC")
    sold = a_report(sell, quantity_filled=Decimal("0.99"))
    assert await changes(uow, bought, sold) == {"USD": -1}
    assert (await position_of(uow, order)).closed_at is not None


async def test_a_fee_in_base_units_of_a_sale_is_sold_too(uow: UnitOfWork, strategy: Strategy) -> None:
    sell = await a_stored_order(uow, strategy, side=Side.SELL)
    fill = await stored_fill(uow, await applied(uow, charged(sell, "0.01", "BTC")))
    assert columns(fill, "net_quantity", "commission_quote") == (Decimal("-1.01"), 1)
    assert (await position_of(uow, sell)).quantity == Decimal("1.01")


@pytest.mark.parametrize(("amount", "left"), [("1", "0"), ("1.5", "0.5")])
async def test_a_fee_that_eats_all_that_was_bought_leaves_no_trade_of_it(
    uow: UnitOfWork, order: Order, amount: str, left: str
) -> None:
    outcome = await applied(uow, charged(order, amount, "BTC"))
    position = await position_of(uow, order)
    assert columns(position, "quantity", "total_commission") == (Decimal(left), 100 * Decimal(amount))
    assert (position.closed_at is None) == (outcome.trade_id is not None) == (left != "0")
    assert await unbalanced(uow, order.account_id) == []


async def test_a_fee_that_eats_all_of_an_addition_changes_no_quantity(uow: UnitOfWork, order: Order) -> None:
    first = await applied(uow, a_report(order))
    outcome = await applied(uow, charged(order, "1", "BTC"))
    assert (outcome.applied_seq, outcome.trade_id) == (2, None)
    assert order.trade_id == first.trade_id
    position = await position_of(uow, order)
    assert columns(position, "quantity", "cost", "closed_at") == (1, 100, None)
    assert await unbalanced(uow, order.account_id) == []


async def test_a_fee_in_base_units_of_a_derivative_leaves_the_contracts_alone(
    uow: UnitOfWork, strategy: Strategy
) -> None:
    await uow.instruments.add(an_instrument(trading_pair=PERPETUAL, kind="PERPETUAL"))
    order = await a_stored_order(uow, strategy, trading_pair=PERPETUAL)
    assert await changes(uow, charged(order, "0.01", "BTC")) == {"USD": -1}
    (fill,) = await uow.fills.of_order(order.id)
    assert columns(fill, "net_quantity", "commission_quote") == (1, 1)


async def test_a_fee_in_a_third_currency_of_unknown_rate_is_flagged_and_taken_from_that_currency(
    uow: UnitOfWork, order: Order
) -> None:
    assert await changes(uow, charged(order, "0.002", "BNB")) == {"BNB": Decimal("-0.002")}
    (fill,) = await uow.fills.of_order(order.id)
    assert columns(fill, "commission", "commission_quote", "net_quantity") == (Decimal("0.002"), None, 1)
    assert columns(order, "commission_by_asset", "commission_quote") == ({"BNB": "0.002"}, 0)
    (trade,) = await trades_of(uow, await position_of(uow, order))
    assert columns(trade, "total_commission", "realized_pnl") == (0, 0)


async def test_a_fee_in_a_third_currency_of_known_rate_is_taken_in_quote_currency(
    uow: UnitOfWork, order: Order
) -> None:
    assert await changes(uow, charged(order, "0.002", "BNB", commission_quote=Decimal("1.2"))) == {
        "USD": Decimal("-1.2")
    }
    (trade,) = await trades_of(uow, await position_of(uow, order))
    assert trade.total_commission == Decimal("1.2")
    assert columns(order, "commission_by_asset", "commission_quote") == ({"BNB": "0.002"}, Decimal("1.2"))


async def test_fees_in_several_currencies_are_kept_apart(uow: UnitOfWork, order: Order) -> None:
    await uow.instruments.add(an_instrument())
    fills = [
        charged(order, "0.002", "BNB"),
        charged(order, "0.5", "USD"),
        charged(order, "0.003", "BNB"),
        charged(order, "-0.2", "USD"),
        charged(order, "0.005", "BNB", commission_quote=Decimal(3)),
    ]
    assert await changes(uow, *fills) == {"BNB": Decimal("-0.005"), "USD": Decimal("-3.3")}
    assert columns(order, "commission_by_asset", "commission_quote") == (
        {"BNB": "0.01", "USD": "0.3"},
        Decimal("3.3"),
    )


async def test_a_fee_and_a_gain_of_one_fill_are_booked_in_their_currencies(
    uow: UnitOfWork, order: Order, strategy: Strategy
) -> None:
    sell = await a_stored_order(uow, strategy, side=Side.SELL)
    await applied(uow, a_report(order))
    sold = charged(sell, "0.001", "BNB", fill_price=Decimal(107))
    assert await changes(uow, sold) == {"BNB": Decimal("-0.001"), "USD": 7}


async def test_the_fee_of_a_flip_is_shared_by_the_trade_it_ends_and_the_one_it_begins(
    uow: UnitOfWork, order: Order, strategy: Strategy
) -> None:
    sell = await a_stored_order(uow, strategy, side=Side.SELL, quantity=Decimal(3))
    await applied(uow, a_report(order))
    await applied(uow, charged(sell, "0.1", "USD", quantity_filled=Decimal(3)))
    ended, begun = await trades_of(uow, await position_of(uow, order))
    third = Decimal("0.033333333333333333")
    assert columns(ended, "total_commission", "realized_pnl") == (third, -third)
    assert columns(begun, "total_commission", "realized_pnl") == (
        Decimal("0.1") - third,
        third - Decimal("0.1"),
    )
