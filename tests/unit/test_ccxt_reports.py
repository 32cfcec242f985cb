"""ccxt's structures as ours."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from gal_friday.adapters.ccxt import balances, order_report, trade_report
from gal_friday.adapters.ccxt_values import exact_decimal, plain
from gal_friday.dal.models import LiquidityType, OrderStatus, OrderType, Side, TimeInForce
from gal_friday.errors import NotUnderstood
from tests.scripted_exchange import their_order, their_trade


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (57.638, "57.638"),
        (57.638000000000005, "57.638000000000005"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e-08, "0.00000001"),
        (1e16, "10000000000000000"),
        ("1E+4", "10000"),
        ("0.100", "0.1"),
        (Decimal("-0.0"), "0"),
        (7, "7"),
    ],
)
def test_a_number_is_read_by_its_shortest_exact_spelling(given: object, meant: str) -> None:
    assert str(exact_decimal(given)) == str(Decimal(meant)) or format(exact_decimal(given) or 0, "f") == meant


@pytest.mark.parametrize(
    "given", [True, "ten", float("nan"), float("inf"), "Infinity", 1e22, 5e-324, "1e-19", [], object()]
)
def test_what_is_no_number_a_money_column_can_hold_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"number|digits"):
        exact_decimal(given)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": "open", "filled": 0}, OrderStatus.NEW),
        ({"status": "open", "filled": 0.5}, OrderStatus.PARTIALLY_FILLED),
        ({"status": "open", "filled": None}, OrderStatus.NEW),
        ({"status": "canceling"}, OrderStatus.NEW),
        ({"status": "closed", "filled": 2.0}, OrderStatus.FILLED),
        ({"status": "closed", "filled": 1.9}, OrderStatus.FILLED),
        ({"status": "closed", "filled": None, "remaining": 0.0}, OrderStatus.FILLED),
        ({"status": "closed", "filled": None, "remaining": 2.0}, OrderStatus.CANCELED),
        ({"status": "closed", "filled": 0.0}, OrderStatus.CANCELED),
        ({"status": "canceled", "filled": 1.0}, OrderStatus.CANCELED),
        ({"status": "cancelled"}, OrderStatus.CANCELED),
        ({"status": "expired"}, OrderStatus.EXPIRED),
        ({"status": "rejected"}, OrderStatus.REJECTED),
        ({"status": None, "filled": 2.0}, OrderStatus.FILLED),
        ({"status": None, "filled": 2.0, "amount": None}, OrderStatus.FILLED),
    ],
)
def test_a_status_is_what_it_means_with_what_is_filled(fields: dict[str, Any], status: OrderStatus) -> None:
    assert order_report("kraken", their_order(**fields)).status is status


@pytest.mark.parametrize(
    "fields",
    [{}, {"remaining": 3.0}, {"remaining": -1.0}, {"remaining": 0.0, "amount": None}],
    ids=[
        "nothing remains to be told",
        "more remains than there was",
        "less than nothing",
        "of an unknown amount",
    ],
)
def test_how_much_of_a_closed_order_is_filled_is_never_guessed(fields: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood, match="filled"):
        order_report("kraken", their_order(status="closed", **{"filled": None, **fields}))


def test_what_remains_tells_what_is_filled() -> None:
    report = order_report("kraken", their_order(status="open", filled=None, remaining=1.5))
    assert (report.status, report.filled_quantity) == (OrderStatus.PARTIALLY_FILLED, Decimal("0.5"))


def test_an_order_without_status_is_open_where_it_was_listed_so() -> None:
    listed = order_report("kraken", their_order(status=None, filled=2.0), listed_as_open=True)
    assert listed.is_open


@pytest.mark.parametrize(
    ("fields", "order_type", "limit_price", "stop_price"),
    [
        ({"type": "limit"}, OrderType.LIMIT, "50000", None),
        ({"type": "market", "price": 49_999.5}, OrderType.MARKET, None, None),
        ({"type": None}, OrderType.LIMIT, "50000", None),
        ({"type": None, "price": None}, OrderType.MARKET, None, None),
        ({"type": "market", "price": None, "stopLossPrice": 10}, OrderType.STOP_LOSS, None, "10"),
        ({"type": "limit", "triggerPrice": 10}, OrderType.STOP_LIMIT, "50000", "10"),
        ({"type": "stop_market", "stopPrice": 10}, OrderType.STOP_LOSS, "50000", "10"),
        ({"type": "limit", "takeProfitPrice": 10}, OrderType.TAKE_PROFIT, "50000", "10"),
        ({"type": "trailing-stop", "price": None}, OrderType.TRAILING_STOP, None, None),
        ({"type": "liquidation market", "price": None}, OrderType.MARKET, None, None),
    ],
)
def test_a_type_is_what_it_does(
    fields: dict[str, Any], order_type: OrderType, limit_price: str | None, stop_price: str | None
) -> None:
    report = order_report("kraken", their_order(**fields))
    expected = (order_type, limit_price and Decimal(limit_price), stop_price and Decimal(stop_price))
    assert (report.order_type, report.limit_price, report.stop_price) == expected


def test_an_order_has_what_the_exchange_says_of_it() -> None:
    report = order_report(
        "kraken",
        their_order(
            id=4711,
            clientOrderId="ours",
            symbol="BTC/USD:USD",
            side="SELL",
            timeInForce="PO",
            postOnly=True,
            reduceOnly=True,
            amount=None,
            cost=100.5,
            lastTradeTimestamp=1700000000123,
        ),
    )
    assert (report.exchange_order_id, report.client_order_id, report.trading_pair, report.side) == (
        *("4711", "ours", "BTC/USD:USD", Side.SELL),
    )
    assert (report.time_in_force, report.post_only, report.reduce_only) == (TimeInForce.GTC, True, True)
    assert (report.quantity, report.quote_quantity) == (None, Decimal("100.5"))
    assert report.reported_at == datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)
    assert order_report("kraken", their_order(timeInForce="IOC")).time_in_force is TimeInForce.IOC


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"id": None}, "id", "'none'"),
        ({"id": "x" * 101}, "id", "xxx"),
        ({"id": "a\0b"}, "id", "x00"),
        ({"symbol": None}, "symbol", "none"),
        ({"side": "hold"}, "side", "hold"),
        ({"status": "odd"}, "status", "odd"),
        ({"status": None}, "status", "none"),
        ({"type": "wish"}, "type", "wish"),
        ({"amount": "two"}, "amount", "two"),
        ({"amount": -1}, "amount", "-1"),
        ({"timestamp": "noon"}, "timestamp", "noon"),
        ({"timestamp": 1e19}, "timestamp", "1e"),
    ],
)
def test_what_is_wrong_with_an_order_is_named(fields: dict[str, Any], field: str, value: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        order_report("kraken", their_order(**fields))
    assert raised.value.facts["exchange"] == "kraken"
    assert raised.value.facts["field"] == field
    assert value in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "fees"),
    [
        ({"fee": {"cost": 13.0, "currency": "USD"}}, {"USD": "13"}),
        ({"fee": {"cost": "-0.25", "currency": "USD"}}, {"USD": "-0.25"}),
        ({"fee": None, "fees": []}, {}),
        ({"fee": None, "fees": None}, {}),
        ({"fee": {"cost": None, "currency": "USD"}}, {}),
        ({"fee": {"cost": 0, "currency": None}}, {}),
        (
            {
                "fee": {"cost": 9, "currency": "EUR"},
                "fees": [
                    {"cost": 0.1, "currency": "USD"},
                    {"cost": 0.2, "currency": "USD"},
                    {"cost": 1e-08, "currency": "BNB"},
                    {"cost": None, "currency": "BTC"},
                    None,
                ],
            },
            {"USD": "0.3", "BNB": "0.00000001"},
        ),
    ],
)
def test_fees_are_summed_by_currency(fields: dict[str, Any], fees: dict[str, str]) -> None:
    assert trade_report("kraken", their_trade(**fields)).fees == {
        name: Decimal(amount) for name, amount in fees.items()
    }


def test_a_trade_has_what_the_exchange_says_of_it() -> None:
    report = trade_report("kraken", their_trade(id=None, takerOrMaker="taker", price="-37.63", info=None))
    assert (report.fill_id, report.liquidity_type, report.price, report.raw) == (
        *(None, LiquidityType.TAKER, Decimal("-37.63"), {}),
    )
    assert trade_report("kraken", their_trade(takerOrMaker=None)).liquidity_type is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"order": None}, "order"),
        ({"timestamp": None}, "timestamp"),
        ({"amount": 0}, "amount"),
        ({"amount": None}, "amount"),
        ({"price": None}, "price"),
        ({"price": float("nan")}, "price"),
        ({"fee": {"cost": 1, "currency": None}}, "fee.currency"),
        ({"fee": {"cost": "much", "currency": "USD"}}, "fee.cost"),
    ],
)
def test_what_is_wrong_with_a_trade_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        trade_report("kraken", their_trade(**fields))
    assert (raised.value.facts["id"], raised.value.facts["field"]) == ("T-1", field)


def test_balances_are_read_one_by_one() -> None:
    held, problems = balances(
        "kraken", {"total": {"USD": 1.5, "BTC": 0, "ETH": "0.10", "XRP": None, "A": "?"}}
    )
    assert held == {"USD": Decimal("1.5"), "ETH": Decimal("0.1")}
    assert [problem.facts["id"] for problem in problems] == ["XRP", "A"]
    assert balances("kraken", {"free": {}})[1][0].facts["field"] == "total"


def test_what_was_received_is_kept_as_json_can_hold_it() -> None:
    received = {"a": float("nan"), 1: (1, 2.5, None, True), "b": "x\0y\ud800", "c": {"d": Decimal("1.0")}}
    assert plain(received) == {"a": "nan", "1": [1, 2.5, None, True], "b": "x\\0y?", "c": {"d": "1.0"}}
