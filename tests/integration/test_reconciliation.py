"""What a reconciliation makes of each kind of difference."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gal_friday.dal.models import CashFlow, CashFlowKind, Order, OrderHistory, OrderStatus, ReportSource
from gal_friday.database import Database
from gal_friday.errors import InvalidValue, NotFound
from gal_friday.services.reconciliation import (
    DifferenceKind,
    Reconciler,
    ReconciliationReport,
    RepairKind,
)
from gal_friday.state.verification import verify
from tests.factories import EXCHANGE, MINUTE, NOON, a_strategy, an_instrument
from tests.ledger import a_report, a_stored_order, applied, equity
from tests.scripted_exchange import ScriptedExchange, expected_usd, milliseconds, their_order, their_trade

HOUR = 60 * MINUTE


async def reconciled(database: Database, exchange: ScriptedExchange, **options: Any) -> ReconciliationReport:
    reconciler = Reconciler(database, exchange, exchange=EXCHANGE, grace_seconds=0, **options)
    report = await reconciler.reconcile(since=NOON - HOUR)
    async with database.transaction(read_only=True, snapshot=True) as uow:
        assert (await verify(uow)).is_balanced
    return report


async def an_order_there(database: Database, **values: Any) -> Order:
    given = {"exchange_order_id": "OX-1", "status": OrderStatus.NEW, **values}
    return await a_stored_order(database, **given)


def kinds(differences: Any) -> list[DifferenceKind]:
    return [difference.kind for difference in differences]


async def test_an_order_listed_without_our_id_that_may_be_ours_is_not_adopted(database: Database) -> None:
    order = await a_stored_order(database)
    exchange = ScriptedExchange(open=[their_order(clientOrderId=None)], trades=[their_trade()])
    report = await reconciled(database, exchange)
    assert kinds(report.differences) == [
        DifferenceKind.FILL_WITHOUT_ORDER,
        DifferenceKind.ORDER_MAY_BE_OURS,
        DifferenceKind.ORDER_IN_DOUBT,
    ]
    assert {each.subject.client_order_id for each in report.differences[1:]} == {order.client_order_id}
    assert not report.repairs
    assert await database.unmatched_fills.count() == 1


async def test_one_that_cannot_be_ours_is_adopted_although_ours_is_in_doubt(database: Database) -> None:
    await a_stored_order(database)
    exchange = ScriptedExchange(open=[their_order(clientOrderId=None, amount=3.0)])
    report = await reconciled(database, exchange)
    assert report.repaired() == {RepairKind.ORDER_ADOPTED: 1}
    assert kinds(report.differences) == [DifferenceKind.ORDER_IN_DOUBT]


async def test_two_orders_with_our_id_contradict_each_other_and_neither_is_believed(
    database: Database,
) -> None:
    order = await a_stored_order(database)
    exchange = ScriptedExchange(open=[their_order(order), their_order(order, id="OX-2")])
    report = await reconciled(database, exchange)
    assert kinds(report.differences) == [DifferenceKind.ORDER_CONTRADICTS] * 2
    assert (await database.orders.one(order.id)).exchange_order_id is None


async def test_an_order_with_our_id_on_the_other_side_is_not_ours(database: Database) -> None:
    order = await a_stored_order(database)
    report = await reconciled(database, ScriptedExchange(open=[their_order(order, side="sell")]))
    (difference,) = report.differences
    assert (difference.kind, difference.theirs) == (
        DifferenceKind.ORDER_CONTRADICTS,
        "SELL BTC/USD OX-1",
    )


async def test_ids_others_give_need_not_be_unique(database: Database) -> None:
    """Kraken tells its userref as one, which is 0 for every order without."""
    exchange = ScriptedExchange(open=[their_order(id=f"OX-{n}", clientOrderId="0") for n in range(3)])
    assert (await reconciled(database, exchange)).repaired() == {RepairKind.ORDER_ADOPTED: 3}
    assert (await reconciled(database, exchange)).agrees


async def test_an_order_amended_there_is_amended_here(database: Database) -> None:
    order = await an_order_there(database)
    exchange = ScriptedExchange(open=[their_order(order, amount=1.5, price=49_000.5)])
    report = await reconciled(database, exchange)
    assert report.repaired() == {RepairKind.AMENDMENT: 1}
    assert report.agrees
    (repair,) = report.repairs
    assert repair.detail == "quantity 2 here, 1.5 there, limit_price 50000 here, 49000.5 there"
    stored = await database.orders.one(order.id)
    assert (stored.quantity, stored.limit_price) == (Decimal("1.5"), Decimal("49000.5"))
    assert not (await reconciled(database, exchange)).repairs


async def test_what_a_float_cannot_tell_apart_does_not_differ(database: Database) -> None:
    order = await an_order_there(database, quantity=Decimal("123456789.123456789123456789"))
    assert order.quantity is not None
    exchange = ScriptedExchange(open=[their_order(order, amount=float(order.quantity))])
    report = await reconciled(database, exchange)
    assert report.agrees
    assert not report.repairs


async def test_a_cancel_that_did_not_arrive_is_reported(database: Database) -> None:
    order = await an_order_there(database)
    await database.orders.transition(order.id, OrderStatus.PENDING_CANCEL)
    report = await reconciled(database, ScriptedExchange(open=[their_order(order)]))
    assert kinds(report.differences) == [DifferenceKind.CANCEL_IN_DOUBT]
    assert (await database.orders.one(order.id)).status is OrderStatus.PENDING_CANCEL


async def test_an_id_is_learned_of_an_order_whose_cancel_is_under_way(database: Database) -> None:
    order = await a_stored_order(database)
    await database.orders.transition(order.id, OrderStatus.PENDING_CANCEL)
    await reconciled(database, ScriptedExchange(open=[their_order(order)]))
    stored = await database.orders.one(order.id)
    assert (stored.exchange_order_id, stored.status) == ("OX-1", OrderStatus.PENDING_CANCEL)


async def test_an_order_that_ended_here_and_works_there_is_reported(database: Database) -> None:
    order = await an_order_there(database)
    await database.orders.transition(order.id, OrderStatus.CANCELED)
    (difference,) = (await reconciled(database, ScriptedExchange(open=[their_order(order)]))).differences
    assert (difference.kind, difference.ours, difference.theirs) == (
        *(DifferenceKind.STATUS, "CANCELED", "NEW"),
    )


async def test_an_order_completed_while_it_was_canceled_does_not_differ(database: Database) -> None:
    order = await an_order_there(database)
    exchange = ScriptedExchange(
        closed=[their_order(order, status="canceled", filled=2.0)],
        trades=[their_trade(order, amount=2.0, fee=None)],
        total={"USD": expected_usd("-100000"), "BTC": 2},
    )
    assert (await reconciled(database, exchange)).agrees
    assert (await database.orders.one(order.id)).status is OrderStatus.FILLED
    assert not (await reconciled(database, exchange)).repairs


async def test_more_filled_there_than_its_executions_show_is_reported_once_told(database: Database) -> None:
    order = await an_order_there(database)
    exchange = ScriptedExchange(closed=[their_order(order, status="canceled", filled=1.0)])
    first, second = [await reconciled(database, exchange) for _ in range(2)]
    assert first.repaired() == {RepairKind.STATUS: 1}
    assert not second.repairs
    for report in (first, second):
        (difference,) = report.differences
        assert (difference.kind, difference.amount) == (DifferenceKind.FILLS_MISSING, Decimal(1))
    assert (await database.orders.one(order.id)).status is OrderStatus.NEW


async def test_executions_of_long_before_are_asked_for_where_an_order_lacks_them(database: Database) -> None:
    order = await an_order_there(database)
    long_ago = milliseconds(NOON - timedelta(days=30))
    exchange = ScriptedExchange(
        open=[their_order(order, filled=1.0, timestamp=long_ago)],
        trades=[
            their_trade(order, timestamp=long_ago, fee=None),
            their_trade(order="OX-other", id="T-other", timestamp=long_ago),
        ],
        total={"USD": expected_usd("-50000"), "BTC": 1},
    )
    report = await reconciled(database, exchange)
    assert report.agrees
    assert report.repaired() == {RepairKind.FILL: 1}


async def test_an_execution_of_an_order_nobody_lists_is_looked_up(database: Database) -> None:
    exchange = ScriptedExchange(
        unlisted=[their_order(id="OX-5", status="closed", filled=1.0)],
        trades=[their_trade(order="OX-5"), their_trade(order="OX-6", id="T-2")],
    )
    report = await reconciled(database, exchange)
    assert report.repaired() == {RepairKind.ORDER_ADOPTED: 1, RepairKind.FILL: 1}
    without_order = report.of_kind(DifferenceKind.FILL_WITHOUT_ORDER)
    assert [each.subject.exchange_order_id for each in without_order] == ["OX-6"]


async def test_an_execution_told_otherwise_than_it_is_stored_is_reported(database: Database) -> None:
    order = await an_order_there(database)
    await applied(database, a_report(order, fill_id="T-1", fill_price=Decimal(49_000)))  # type: ignore[arg-type]  # a database applies as a unit of work does
    exchange = ScriptedExchange(open=[their_order(order, filled=1.0)], trades=[their_trade(order)])
    report = await reconciled(database, exchange)
    (difference,) = report.of_kind(DifferenceKind.FILL_DIFFERS)
    assert "fill_price" in (difference.ours or "")
    assert difference.theirs == "BUY 1 at 50000"


async def test_an_execution_that_contradicts_its_order_is_reported(database: Database) -> None:
    order = await an_order_there(database)
    exchange = ScriptedExchange(open=[their_order(order)], trades=[their_trade(order, side="sell")])
    (difference,) = (await reconciled(database, exchange)).of_kind(DifferenceKind.FILL_REJECTED)
    assert difference.ours == "its side is not its order's"


async def test_executions_without_id_count_as_often_as_they_are_listed(database: Database) -> None:
    order = await an_order_there(database)
    exchange = ScriptedExchange(
        closed=[their_order(order, status="closed", filled=2.0)],
        trades=[their_trade(order, id=None, fee=None) for _ in range(2)],
        total={"USD": expected_usd("-100000"), "BTC": 2},
    )
    assert (await reconciled(database, exchange)).agrees
    assert not (await reconciled(database, exchange)).repairs
    assert [fill.fill_id_synthetic for fill in await database.fills.of_order(order.id)] == [True, True]


async def test_each_currency_of_a_fee_is_charged_once(database: Database) -> None:
    order = await an_order_there(database)
    fees = [
        {"cost": 0.01, "currency": "BTC"},
        {"cost": 3.5, "currency": "USD"},
        {"cost": -0.002, "currency": "BNB"},
    ]
    exchange = ScriptedExchange(
        open=[their_order(order, filled=1.0)],
        trades=[their_trade(order, fees=fees)],
        total={"USD": expected_usd("-50000", "-3.5"), "BTC": 0.99, "BNB": 0.002},
    )
    for repairs in ({RepairKind.FILL: 1, RepairKind.FEE: 2}, {}):
        report = await reconciled(database, exchange)
        assert report.agrees
        assert report.repaired() == repairs
    flows = await database.cash_flows.find_all(CashFlow.kind == CashFlowKind.FEE, order_by=CashFlow.currency)
    assert [(flow.currency, flow.amount) for flow in flows] == [
        ("BNB", Decimal("0.002")),
        ("USD", Decimal("-3.5")),
    ]
    assert (await equity(database))["BNB"] == Decimal("0.002")


async def test_balances_are_compared_and_never_repaired(database: Database) -> None:
    report = await reconciled(database, ScriptedExchange(total={"USD": 4_999_999.5, "XRP": 7}))
    assert [(each.subject.currency, each.amount) for each in report.balance_differences] == [
        ("USD", Decimal("-0.5")),
        ("XRP", Decimal(7)),
    ]
    assert not report.agrees
    assert report.is_complete
    assert await equity(database) == {"USD": Decimal(5_000_000)}


async def test_a_difference_that_is_gone_at_a_second_look_is_not_reported(database: Database) -> None:
    exchange = ScriptedExchange(total={"USD": 1})

    async def arrived() -> None:
        exchange.total = {"USD": 5_000_000}

    async def first_look() -> None:
        exchange.before["fetch_open_orders"] = arrived

    exchange.before["fetch_balance"] = first_look
    assert (await reconciled(database, exchange)).agrees
    assert exchange.times_asked("fetch_balance") == 2


async def test_an_exchange_without_a_list_of_closed_orders_is_asked_for_each(database: Database) -> None:
    order = await an_order_there(database)
    doubtful = await a_stored_order(database)
    exchange = ScriptedExchange(unlisted=[their_order(order, status="canceled")])
    exchange.has = {"fetchClosedOrders": False}
    report = await reconciled(database, exchange)
    assert report.repaired() == {RepairKind.STATUS: 1}
    assert exchange.times_asked("fetch_closed_orders") == 0
    assert [each.subject.order_id for each in report.orders_in_doubt] == [doubtful.id]


async def test_an_exchange_that_wants_pairs_one_by_one_is_asked_so(database: Database) -> None:
    await database.instruments.add(an_instrument(trading_pair="ETH/USD", base_currency="ETH"))
    await an_order_there(database)
    exchange = ScriptedExchange()
    exchange.features = {"spot": {"fetchMyTrades": {"symbolRequired": True}}}
    await reconciled(database, exchange, trading_pairs=("XRP/USD",))
    asked = [symbol for method, symbol in exchange.asked if method == "fetch_my_trades"]
    assert {"BTC/USD", "ETH/USD", "XRP/USD"} == set(asked)
    exchange.failing = {"fetch_my_trades": ConnectionError()}
    assert (await reconciled(database, exchange)).failures == ("fetch_my_trades: ConnectionError",)


async def test_a_question_is_not_waited_for_longer_than_said(database: Database) -> None:
    exchange = ScriptedExchange(never_answers={"fetch_open_orders"})
    report = await reconciled(database, exchange, answer_timeout_seconds=0.05)
    assert report.failures == ("fetch_open_orders: TimeoutError",)


async def test_without_since_it_begins_a_day_before_the_last_fill(database: Database) -> None:
    reconciler = Reconciler(database, ScriptedExchange(), exchange=EXCHANGE)
    account = await database.accounts.one("default")
    day = timedelta(days=1)
    assert (await reconciler.reconcile()).since == account.created_at - day
    order = await an_order_there(database)
    await database.execution.apply_fill(a_report(order))
    assert (await reconciler.reconcile()).since == NOON - day


async def test_a_bad_record_of_many_is_left_out_and_told(database: Database) -> None:
    exchange = ScriptedExchange(
        open=[their_order(id=f"OX-{n}") for n in range(3)],
        trades=[their_trade(order="OX-1"), their_trade(order="OX-2", id="T-2", amount=1e19)],
    )
    exchange.open[0]["symbol"] = "x" * 80
    report = await reconciled(database, exchange)
    assert report.repaired() == {RepairKind.ORDER_ADOPTED: 2, RepairKind.FILL: 1}
    told_of_the_order, told_of_the_fill = report.not_understood
    assert told_of_the_order.startswith("order OX-0 at kraken: ")
    assert told_of_the_fill.startswith("fill T-2 of order OX-2 at kraken: ")


async def test_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(InvalidValue, match="naive"):
        await Reconciler(database, ScriptedExchange(), exchange=EXCHANGE).reconcile(
            since=NOON.replace(tzinfo=None)
        )


async def test_an_unknown_account_is_an_error(database: Database) -> None:
    with pytest.raises(NotFound):
        await Reconciler(database, ScriptedExchange(), exchange=EXCHANGE, account_id="nobody").reconcile()


async def test_the_report_is_plain_json_with_exact_amounts(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    order = await a_stored_order(database, strategy, exchange_order_id="OX-1", status=OrderStatus.NEW)
    exchange = ScriptedExchange(closed=[their_order(order, status="canceled", filled=0.0)], total={"USD": 1})
    report = (await reconciled(database, exchange)).as_json()
    assert report["since"] == (NOON - HOUR).isoformat()
    assert report["repairs"][0]["subject"]["order_id"] == str(order.id)
    assert report["differences"] == [
        {
            "kind": "BALANCE",
            "subject": {"currency": "USD"},
            "ours": "5000000",
            "theirs": "1",
            "amount": "-4999999",
        }
    ]
    assert (report["agrees"], report["is_complete"]) == (False, True)


async def test_everything_it_stores_is_on_record_as_reconciled(database: Database) -> None:
    order = await an_order_there(database)
    exchange = ScriptedExchange(open=[their_order(id="OX-2")], closed=[their_order(order, status="expired")])
    await reconciled(database, exchange)
    history = await database.order_history.find_all(OrderHistory.from_status.is_not(None))
    assert {each.source for each in history} == {ReportSource.RECONCILE}
    assert datetime.now(UTC) - history[-1].occurred_at < HOUR
