"""What becomes of a fill that makes no sense."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import (
    OrderStatus,
    Side,
)
from gal_friday.dal.models.types import dumps
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import InvalidReference, InvalidValue
from tests.factories import NOON, an_instrument
from tests.ledger import (
    a_report,
    a_stored_order,
    applied,
    stored_fill,
)

TAKE = text("SELECT * FROM apply_fills(CAST(:reports AS jsonb), NULL, NULL)")


async def test_a_fill_on_the_other_side_of_its_order_is_rejected(uow: UnitOfWork) -> None:
    order = await a_stored_order(uow)
    outcome = await uow.execution.apply_fill(a_report(order, side=Side.SELL))
    assert (outcome.result, outcome.reason) == (FillResult.REJECTED, "its side is not its order's")
    assert (outcome.order_id, outcome.order_status, outcome.fill) == (order.id, OrderStatus.PENDING_NEW, None)
    assert await uow.fills.of_order(order.id) == []


async def test_a_fill_whose_currency_nothing_tells_is_rejected(uow: UnitOfWork) -> None:
    order = await a_stored_order(uow, trading_pair="BTCUSD")
    outcome = await uow.execution.apply_fill(a_report(order))
    assert outcome.result is FillResult.REJECTED
    assert "quote currency is not known" in str(outcome.reason)
    assert await uow.positions.count() == 0

    await applied(uow, a_report(order, quote_currency="USD"))
    await uow.instruments.add(an_instrument(trading_pair="BTCUSD"))
    outcome = await applied(uow, a_report(order))
    assert (await stored_fill(uow, outcome)).quote_currency == "USD"


@pytest.mark.parametrize(("pair", "currency"), [("BTC/EUR", "EUR"), ("BTC/USDT:USDT", "USDT")])
async def test_the_currency_is_read_off_the_pair(uow: UnitOfWork, pair: str, currency: str) -> None:
    order = await a_stored_order(uow, trading_pair=pair)
    fill = await stored_fill(uow, await applied(uow, a_report(order)))
    assert (fill.quote_currency, fill.commission_asset) == (currency, currency)


async def test_a_fill_that_names_no_order_is_rejected(uow: UnitOfWork) -> None:
    order = await a_stored_order(uow)
    outcome = await uow.execution.apply_fill(a_report(order, order_id=None))
    assert (outcome.result, outcome.reason) == (FillResult.REJECTED, "it names no order")


@pytest.mark.parametrize(
    "column", ["exchange", "trading_pair", "side", "quantity_filled", "fill_price", "filled_at"]
)
async def test_a_fill_without_what_is_needed_is_rejected(uow: UnitOfWork, column: str) -> None:
    order = await a_stored_order(uow)
    outcome = await uow.execution.apply_fill(a_report(order, **{column: None}))
    assert outcome.result is FillResult.REJECTED
    assert column in str(outcome.reason)


@pytest.mark.parametrize("quantity", [Decimal(0), Decimal(-1)])
async def test_a_fill_of_nothing_or_less_is_rejected(uow: UnitOfWork, quantity: Decimal) -> None:
    order = await a_stored_order(uow)
    outcome = await uow.execution.apply_fill(a_report(order, quantity_filled=quantity))
    assert (outcome.result, outcome.reason) == (FillResult.REJECTED, "quantity_filled is not positive")


@pytest.mark.parametrize("column", ["quantity_filled", "fill_price", "commission", "commission_quote"])
@pytest.mark.parametrize(
    "amount", [Decimal("NaN"), Decimal("Infinity"), Decimal("1e-37"), Decimal("1e30"), 1.5, "1"]
)
async def test_what_no_column_can_hold_is_refused_before_it_is_sent(
    uow: UnitOfWork, column: str, amount: Any
) -> None:
    order = await a_stored_order(uow)
    with pytest.raises(InvalidValue) as caught:
        await uow.execution.apply_fill(a_report(order, **{column: amount}))
    assert (caught.value.facts["table"], caught.value.facts["column"]) == ("fills", column)
    await applied(uow, a_report(order))


async def raw(uow: UnitOfWork, order_id: object, **values: Any) -> tuple[str, str | None]:
    """Result and reason of a report sent by hand."""
    report = {
        "account_id": "default",
        "order_id": str(order_id),
        "fill_id": "1",
        "exchange": "kraken",
        "trading_pair": "BTC/USD",
        "side": "BUY",
        "quantity_filled": "1",
        "fill_price": "100",
        "filled_at": NOON.isoformat(),
        **values,
    }
    row = (await uow.session.execute(TAKE, {"reports": dumps([report])})).one()
    return row.result, row.reason


NOT_A_NUMBER = "an amount is not a number"
TOO_LONG = "an amount has more than 18 decimals"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"quantity_filled": "NaN"}, NOT_A_NUMBER),
        ({"fill_price": "NaN"}, NOT_A_NUMBER),
        ({"commission": "NaN"}, NOT_A_NUMBER),
        ({"commission_quote": "NaN"}, NOT_A_NUMBER),
        ({"quantity_filled": "0.0000000000000000001"}, "quantity_filled is not positive"),
        ({"quantity_filled": "1.0000000000000000001"}, TOO_LONG),
        ({"fill_price": "1.0000000000000000001"}, TOO_LONG),
        ({"commission": "-0.0000000000000000001"}, TOO_LONG),
        ({"quantity_filled": "-1"}, "quantity_filled is not positive"),
        ({"side": "HOLD"}, "its side is not its order's"),
        ({"account_id": None}, "account_id, exchange, trading_pair, side, quantity_filled, fill_price"),
    ],
)
async def test_raw_sql_is_refused_in_words(uow: UnitOfWork, values: dict[str, Any], reason: str) -> None:
    order = await a_stored_order(uow)
    result, why = await raw(uow, order.id, **values)
    assert result == "REJECTED"
    assert str(why).startswith(reason)
    assert (await uow.fills.count(), await uow.unmatched_fills.count(), await uow.positions.count()) == (
        0,
        0,
        0,
    )
    assert await raw(uow, order.id, fill_price="100.000000000000000000000") == ("APPLIED", None)


@pytest.mark.parametrize(
    "values", [{"quantity_filled": "1e20"}, {"fill_price": "Infinity"}, {"side": 7, "filled_at": "noon"}]
)
async def test_raw_sql_that_no_column_can_hold_is_an_invalid_value(
    uow: UnitOfWork, values: dict[str, Any]
) -> None:
    order = await a_stored_order(uow)
    with pytest.raises(InvalidValue):
        async with uow.savepoint():
            await raw(uow, order.id, **values)
    assert await raw(uow, order.id) == ("APPLIED", None)


async def test_a_value_beyond_what_books_can_hold_is_an_invalid_value(uow: UnitOfWork) -> None:
    order = await a_stored_order(uow)
    huge = Decimal(10**15)
    with pytest.raises(InvalidValue):
        async with uow.savepoint():
            await uow.execution.apply_fill(a_report(order, quantity_filled=huge, fill_price=huge))
    await applied(uow, a_report(order))


async def test_a_fill_of_an_unknown_account_is_an_invalid_reference(uow: UnitOfWork) -> None:
    order = await a_stored_order(uow)
    with pytest.raises(InvalidReference):
        async with uow.savepoint():
            await uow.execution.apply_fill(a_report(order, account_id="nobody"))


async def test_a_rejected_fill_does_not_hold_up_the_others_of_its_batch(
    uow: UnitOfWork, caplog: pytest.LogCaptureFixture
) -> None:
    order = await a_stored_order(uow)
    outcomes = await uow.execution.apply_fills(
        [a_report(order), a_report(order, side=Side.SELL), a_report(order)]
    )
    assert [outcome.result for outcome in outcomes] == ["APPLIED", "REJECTED", "APPLIED"]
    (warning,) = [record for record in caplog.records if record.name == "gal_friday.dal.execution"]
    assert (warning.result, warning.order) == ("REJECTED", order.id)  # type: ignore[attr-defined]  # given as extra
    assert order.status is OrderStatus.FILLED
