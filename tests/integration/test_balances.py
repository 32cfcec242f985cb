"""What the books expect an account to hold, beside what the exchange says."""

from decimal import Decimal
from typing import Any

from gal_friday.dal.models import (
    CashFlowKind,
    InstrumentKind,
    Side,
    Strategy,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from tests.factories import (
    PAIR,
    a_cash_flow,
    a_fill,
    a_position,
    a_strategy,
    an_instrument,
    an_order,
)
from tests.portfolios import BOT_B, CAPITAL, an_account, bot_b, figures, gain, portfolio


async def _filled(
    uow: UnitOfWork, strategy: Strategy, side: Side, quantity: str, price: str, **fill: Any
) -> None:
    pair = fill.pop("trading_pair", PAIR)
    order = await uow.orders.add(
        an_order(strategy, account_id=BOT_B, trading_pair=pair, side=side, quantity=Decimal(quantity))
    )
    values = {"commission": Decimal(0), "commission_asset": "USD", "account_id": BOT_B, **fill}
    await uow.fills.add(a_fill(order, quantity_filled=Decimal(quantity), fill_price=Decimal(price), **values))


async def test_balances_are_the_sum_over_strategies(uow: UnitOfWork) -> None:
    await an_account(uow)
    one, other = await uow.strategies.add_many([a_strategy(), a_strategy()])
    await uow.cash_flows.add(a_cash_flow(account_id=BOT_B, currency="BTC", amount=Decimal("0.5")))
    await _filled(uow, one, Side.BUY, "2", "100.5", commission=Decimal("0.25"))
    await _filled(uow, one, Side.SELL, "0.5", "110", commission=Decimal("0.001"), commission_asset="BNB")
    await _filled(uow, other, Side.BUY, "1", "100", commission=Decimal("0.01"), commission_asset="BTC")
    await _filled(uow, other, Side.BUY, "3", "10", trading_pair="XRP/USD", commission=Decimal("-0.1"))

    found = {
        each.currency: each
        for each in await bot_b.compare_balances(
            uow, {"USD": Decimal(724), "BTC": Decimal("2.99"), "XRP": Decimal(3), "DOGE": Decimal(1)}
        )
    }

    assert list(found) == ["BNB", "BTC", "DOGE", "USD", "XRP"]
    dollars = found["USD"]
    assert dollars.by_strategy == {
        None: 1_000,
        one.strategy_id: Decimal("-201.25") + 55,
        other.strategy_id: Decimal("-129.9"),
    }
    assert dollars.expected == Decimal("723.85")
    assert figures(dollars.actual, dollars.difference) == (724, Decimal("0.15"))
    assert found["BTC"].by_strategy == {
        None: Decimal("0.5"),
        one.strategy_id: Decimal("1.5"),
        other.strategy_id: Decimal("0.99"),
    }
    assert [found[name].difference for name in ("BTC", "XRP", "BNB", "DOGE")] == [
        0,
        0,
        Decimal("0.001"),
        1,
    ]


async def test_a_derivative_moves_only_what_it_realised(uow: UnitOfWork) -> None:
    await an_account(uow)
    strategy = await uow.strategies.add(a_strategy())
    perpetual = {"kind": InstrumentKind.PERPETUAL, "contract_multiplier": Decimal(10)}
    await uow.instruments.add_many(
        [
            an_instrument(trading_pair="BTC/USD:USD", settle_currency="USD", **perpetual),
            an_instrument(trading_pair="ETH/EUR:USD", settle_currency="USD", **perpetual),
        ]
    )
    position = await uow.positions.add(a_position(strategy, account_id=BOT_B, trading_pair="BTC/USD:USD"))
    spot = await uow.positions.add(a_position(strategy, account_id=BOT_B))
    adjustment = {"account_id": BOT_B, "kind": CashFlowKind.ADJUSTMENT, "reason": "venue order"}
    await uow.cash_flows.add_many(
        [
            a_cash_flow(
                account_id=BOT_B, kind=CashFlowKind.FUNDING, amount=Decimal(-2), position_id=position.id
            ),
            a_cash_flow(**adjustment, amount=Decimal(3), position_id=position.id, applied_seq=3),
            a_cash_flow(**adjustment, amount=Decimal(4), position_id=spot.id, applied_seq=3),
            a_cash_flow(**adjustment, amount=Decimal(5)),
        ]
    )
    multiplied = {"contract_multiplier": Decimal(10)}
    await _filled(uow, strategy, Side.BUY, "1", "100", trading_pair="BTC/USD:USD", **multiplied)
    await _filled(
        uow,
        strategy,
        Side.SELL,
        "1",
        "107",
        trading_pair="BTC/USD:USD",
        realized_pnl=Decimal(70),
        commission=Decimal(1),
        **multiplied,
    )
    await _filled(
        uow,
        strategy,
        Side.SELL,
        "1",
        "7",
        trading_pair="ETH/EUR:USD",
        realized_pnl=Decimal(9),
        quote_currency="EUR",
        **multiplied,
    )

    (dollars,) = await bot_b.compare_balances(uow, {})

    assert figures(dollars.currency, dollars.expected) == ("USD", 1_000 + 5 - 2 + 3 + 70 - 1)
    assert dollars.by_strategy == {None: 1_005, strategy.strategy_id: 70}


async def test_nothing_is_told_of_other_accounts(uow: UnitOfWork) -> None:
    await an_account(uow)
    await gain(uow, 5)
    (dollars,) = await portfolio.compare_balances(uow, {"USD": CAPITAL})
    assert dollars.difference == 0
