"""P10: the difference to the exchange is found, repaired where facts decide, and else reported."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import URL

from gal_friday.dal.models import Order, OrderHistory, OrderOrigin, OrderStatus, ReportSource, Side
from gal_friday.database import Database
from gal_friday.services.reconciliation import DifferenceKind, Reconciler, ReconciliationReport, RepairKind
from gal_friday.state.leases import hold_lease
from gal_friday.state.verification import verify
from tests.concurrency import at_once
from tests.factories import EXCHANGE, MINUTE, NOON
from tests.kraken import Kraken, is_recorded
from tests.ledger import a_report, a_stored_order, columns, equity
from tests.replays import opened
from tests.scripted_exchange import (
    NetworkError,
    ScriptedExchange,
    expected_usd,
    milliseconds,
    their_order,
    their_trade,
)

HOUR = 60 * MINUTE


def a_reconciler(database: Database, exchange: ScriptedExchange) -> Reconciler:
    return Reconciler(database, exchange, exchange=EXCHANGE, grace_seconds=0)


async def reconciled(
    database: Database, exchange: ScriptedExchange, *, dry_run: bool = False
) -> ReconciliationReport:
    """What there is to say of the hour before NOON and everything since; the books balance afterwards."""
    report = await a_reconciler(database, exchange).reconcile(since=NOON - HOUR, dry_run=dry_run)
    async with database.transaction(read_only=True, snapshot=True) as uow:
        assert (await verify(uow)).is_balanced
    return report


async def an_acknowledged_order(database: Database, number: int = 1, **values: Any) -> Order:
    return await a_stored_order(database, exchange_order_id=f"OX-{number}", status=OrderStatus.NEW, **values)


async def test_what_was_filled_while_nobody_listened_is_taken_once(database: Database) -> None:
    order = await an_acknowledged_order(database)
    exchange = ScriptedExchange(
        closed=[their_order(order, status="closed", filled=2.0)],
        trades=[their_trade(order), their_trade(order, id="T-2", price=50_100.5)],
        total={"USD": expected_usd("-50000", "-50100.5", "-26"), "BTC": 2.0},
    )
    report = await reconciled(database, exchange)
    assert report.repaired() == {RepairKind.FILL: 2, RepairKind.STATUS: 1}
    assert report.agrees
    stored = await database.orders.one(order.id)
    assert columns(stored, "status", "filled_quantity", "cost") == (
        OrderStatus.FILLED,
        Decimal(2),
        Decimal("100100.5"),
    )
    fills = await database.fills.of_order(order.id)
    assert [columns(fill, "source", "commission", "commission_asset") for fill in fills] == [
        (ReportSource.RECONCILE, Decimal(13), "USD")
    ] * 2
    assert [fill.raw for fill in fills] == [{"as": "received"}] * 2

    again = await reconciled(database, exchange)
    assert (again.repairs, again.differences) == ((), ())
    history = await database.order_history.find_all()
    await reconciled(database, exchange)
    assert len(await database.order_history.find_all()) == len(history)


@pytest.mark.parametrize(
    ("said", "stands"),
    [
        ("canceled", OrderStatus.CANCELED),
        ("expired", OrderStatus.EXPIRED),
        ("rejected", OrderStatus.REJECTED),
    ],
)
@pytest.mark.parametrize("where", ["closed", "unlisted"])
async def test_an_order_that_ended_there_ends_here(
    database: Database, said: str, stands: OrderStatus, where: str
) -> None:
    order = await an_acknowledged_order(database)
    ended = their_order(order, status=said, lastUpdateTimestamp=milliseconds(NOON + MINUTE))
    exchange = ScriptedExchange()
    getattr(exchange, where).append(ended)
    report = await reconciled(database, exchange)
    assert report.repaired() == {RepairKind.STATUS: 1}
    assert report.agrees
    stored = await database.orders.one(order.id)
    assert (stored.status, stored.reported_status) == (stands, stands)
    history = await database.order_history.find_all(OrderHistory.order_id == order.id)
    assert (history[-1].occurred_at, history[-1].source) == (NOON + MINUTE, ReportSource.RECONCILE)
    assert not (await reconciled(database, exchange)).repairs


async def test_an_order_nobody_there_knows_is_reported_and_left_alone(database: Database) -> None:
    order = await an_acknowledged_order(database)
    report = await reconciled(database, ScriptedExchange())
    (difference,) = report.differences
    assert difference.kind is DifferenceKind.ORDER_UNKNOWN_THERE
    assert difference.subject.order_id == order.id
    assert not report.repairs
    assert (await database.orders.one(order.id)).status is OrderStatus.NEW


async def test_an_order_in_doubt_is_found_by_the_id_it_was_sent_with(database: Database) -> None:
    order = await a_stored_order(database)
    exchange = ScriptedExchange(open=[their_order(order, filled=1.0)], trades=[their_trade()])
    exchange.total = {"USD": expected_usd("-50000", "-13"), "BTC": "1"}
    report = await reconciled(database, exchange)
    assert report.repaired() == {RepairKind.STATUS: 1, RepairKind.FILL: 1}
    assert report.agrees
    stored = await database.orders.one(order.id)
    assert (stored.exchange_order_id, stored.status) == ("OX-1", OrderStatus.PARTIALLY_FILLED)


async def test_an_order_in_doubt_that_nobody_there_knows_is_not_guessed_to_be_anything(
    database: Database,
) -> None:
    order = await a_stored_order(database)
    exchange = ScriptedExchange()
    report = await reconciled(database, exchange)
    (difference,) = report.orders_in_doubt
    assert difference.subject.client_order_id == order.client_order_id
    assert ("fetch_closed_orders", order.client_order_id) in exchange.asked
    assert (await database.orders.one(order.id)).status is OrderStatus.PENDING_NEW


async def test_an_order_that_may_be_on_its_way_is_not_in_doubt(database: Database) -> None:
    await a_stored_order(database)
    patient = Reconciler(database, ScriptedExchange(), exchange=EXCHANGE, grace_seconds=3600)
    assert (await patient.reconcile(since=NOON)).agrees


async def test_an_order_we_never_sent_is_adopted_with_its_fills(database: Database) -> None:
    exchange = ScriptedExchange(
        open=[their_order(id="OX-7", filled=0.5, clientOrderId="by hand")],
        closed=[their_order(id="OX-8", status="closed", side="sell", filled=2.0, type="market", price=None)],
        trades=[
            their_trade(order="OX-8", id="T-1", side="sell", amount=2.0),
            their_trade(order="OX-7", id="T-1", amount=0.5, fee=None),
        ],
        total={"USD": expected_usd("100000", "-13", "-25000"), "BTC": -1.5},
    )
    report = await reconciled(database, exchange)
    assert report.repaired() == {RepairKind.ORDER_ADOPTED: 2, RepairKind.FILL: 2}
    assert report.agrees
    open_order, closed_order = [
        await database.orders.get_by_exchange_order_id(name) for name in ("OX-7", "OX-8")
    ]
    assert open_order is not None
    assert closed_order is not None
    assert columns(open_order, "origin", "status", "side", "strategy_id", "client_order_id") == (
        *(OrderOrigin.EXTERNAL, OrderStatus.PARTIALLY_FILLED, Side.BUY, None, None),
    )
    assert open_order.extra == {"client_order_id": "by hand"}
    assert closed_order.status is OrderStatus.FILLED
    assert not (await reconciled(database, exchange)).repairs


@pytest.mark.parametrize(
    "silent", ["fetch_open_orders", "fetch_closed_orders", "fetch_my_trades", "fetch_order", "fetch_balance"]
)
async def test_nothing_is_concluded_from_a_question_without_an_answer(
    database: Database, silent: str
) -> None:
    order = await an_acknowledged_order(database)
    doubtful = await a_stored_order(database)
    url = "GET https://exchange/orders?key=topsecret&signature=1 timed out"
    exchange = ScriptedExchange(failing={silent: NetworkError(url)}, total={"USD": 1})
    exchange.unlisted = [their_order(order, status="closed", filled=2.0)]
    report = await reconciled(database, exchange)
    assert not report.is_complete
    assert any(failure.startswith(silent) and "NetworkError" in failure for failure in report.failures)
    assert "topsecret" not in str(report.as_json())
    told = {difference.kind for difference in report.differences}
    assert (await database.orders.one(doubtful.id)).status is OrderStatus.PENDING_NEW
    match silent:
        case "fetch_balance":
            assert DifferenceKind.BALANCE not in told
        case "fetch_my_trades":
            assert told.isdisjoint({DifferenceKind.FILLS_MISSING, DifferenceKind.BALANCE})
        case "fetch_order":
            assert (await database.orders.one(order.id)).status is OrderStatus.NEW
            assert DifferenceKind.ORDER_UNKNOWN_THERE not in told
        case _:
            assert DifferenceKind.ORDER_IN_DOUBT not in told


async def test_a_fill_that_arrives_by_stream_meanwhile_is_neither_doubled_nor_misreported(
    database: Database,
) -> None:
    order = await an_acknowledged_order(database)
    exchange = ScriptedExchange(open=[their_order(order)])

    async def filled_meanwhile() -> None:
        """After the orders and fills were read, and before the balances are."""
        await database.execution.apply_fill(a_report(order, fill_id="T-1", fill_price=Decimal(50_000)))
        exchange.open = [their_order(order, filled=1.0)]
        exchange.trades = [their_trade(order, fee=None)]
        exchange.total = {"USD": expected_usd("-50000"), "BTC": 1}

    exchange.before["fetch_balance"] = filled_meanwhile
    report = await reconciled(database, exchange)
    assert (report.repairs, report.differences) == ((), ())
    assert (await database.orders.one(order.id)).filled_quantity == 1


async def test_a_fill_the_stream_brings_just_before_we_take_it_counts_once(database: Database) -> None:
    order = await an_acknowledged_order(database)
    exchange = ScriptedExchange(
        open=[their_order(order, filled=1.0)],
        trades=[their_trade(order, fee=None)],
        total={"USD": expected_usd("-50000"), "BTC": 1},
    )

    async def stream() -> None:
        fill = a_report(order, fill_id="T-1", fill_price=Decimal(50_000), source=ReportSource.STREAM)
        await database.execution.apply_fill(fill)

    exchange.before["fetch_balance"] = stream
    assert (await reconciled(database, exchange)).agrees
    (fill,) = await database.fills.of_order(order.id)
    assert fill.source is ReportSource.STREAM


async def test_several_that_reconcile_at_once_store_everything_once(database: Database) -> None:
    orders = [await an_acknowledged_order(database, number) for number in range(1, 6)]
    exchange = ScriptedExchange(
        closed=[their_order(order, status="closed", filled=2.0) for order in orders]
        + [their_order(id="OX-9", status="canceled", filled=1.0)],
        trades=[
            their_trade(order, id=f"T-{order.exchange_order_id}", amount=2.0, fee=None) for order in orders
        ]
        + [their_trade(order="OX-9", id="T-9", fee=None)],
        total={"USD": expected_usd("-550000"), "BTC": 11},
    )
    reports = await at_once(lambda _: reconciled(database, exchange), 4)
    assert all(report.agrees for report in reports)
    assert sum(report.repaired().get(RepairKind.FILL, 0) for report in reports) == 6
    assert await equity(database) == {"USD": Decimal(5_000_000)}
    assert await database.fills.count() == 6


async def test_what_the_exchange_says_is_stored_whoever_leads_the_account(
    database: Database, database_url: URL
) -> None:
    order = await an_acknowledged_order(database)
    exchange = ScriptedExchange(
        open=[their_order(id="OX-7")],
        closed=[their_order(order, status="canceled", filled=1.0)],
        trades=[their_trade(order, fee=None)],
        total={"USD": expected_usd("-50000"), "BTC": 1},
    )
    async with opened(database_url) as leaders, hold_lease(leaders):
        assert (await reconciled(database, exchange)).agrees
    assert (await database.orders.one(order.id)).status is OrderStatus.CANCELED


async def test_a_dry_run_tells_what_would_be_stored_and_stores_nothing(database: Database) -> None:
    order = await an_acknowledged_order(database)
    exchange = ScriptedExchange(
        open=[their_order(id="OX-7")],
        closed=[their_order(order, status="closed", filled=2.0)],
        trades=[their_trade(order, amount=2.0)],
        total={"USD": "1"},
    )
    rehearsed = await reconciled(database, exchange, dry_run=True)
    assert (await database.orders.one(order.id)).status is OrderStatus.NEW
    assert await database.orders.get_by_exchange_order_id("OX-7") is None
    assert await database.fills.count() == 0
    done = await reconciled(database, exchange)
    assert rehearsed.dry_run
    assert rehearsed.repaired() == done.repaired() != {}
    assert [each.identity for each in rehearsed.differences] == [each.identity for each in done.differences]


async def test_one_record_that_makes_no_sense_hides_no_other(database: Database) -> None:
    order = await an_acknowledged_order(database)
    exchange = ScriptedExchange(
        open=[their_order(id=None), their_order(id="OX-5", side="hold")],
        closed=[their_order(order, status="closed", filled=2.0), their_order(id="OX-6", status="odd")],
        trades=[
            their_trade(order, amount=float("nan")),
            their_trade(order, amount=2.0, id="T-2"),
            their_trade(order, id="T-3", fee={"cost": 1.5, "currency": None}),
        ],
    )
    report = await reconciled(database, exchange)
    assert (await database.orders.one(order.id)).status is OrderStatus.FILLED
    assert not report.is_complete
    told = "\n".join(report.not_understood)
    assert len(report.not_understood) == 5
    assert "exchange='kraken', record='trade', id='T-1', field='amount', value='nan'" in told
    assert "record='order', id='OX-5', field='side', value=\"'hold'\"" in told


RECORDED_SINCE = datetime(2023, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "kraken_says", ["recorded" if is_recorded() else "generated-because-kraken-recordings-are-absent"]
)
async def test_kraken_as_ccxt_speaks_to_it(database: Database, kraken_says: str) -> None:
    """Two open orders whose fills are in the history, two closed ones whose fills are not."""
    kraken = Kraken.as_recorded() if kraken_says == "recorded" else Kraken.generated()
    async with kraken.serving() as exchange:
        reconciler = Reconciler(database, exchange, exchange="kraken")
        report = await reconciler.reconcile(since=RECORDED_SINCE)
        assert report.is_complete
        assert report.repaired() == {RepairKind.ORDER_ADOPTED: 4, RepairKind.FILL: 2}
        assert [
            (each.kind, each.subject.exchange_order_id or each.subject.currency, each.amount)
            for each in report.differences
        ] == [
            (DifferenceKind.FILLS_IN_EXCESS, "O26VBY-ISGAE-JP5TLU", Decimal("-0.5")),
            (DifferenceKind.FILLS_IN_EXCESS, "OYEQF4-FDE4C-NMUYUI", Decimal(-1)),
            (DifferenceKind.FILLS_MISSING, "O5KZFT-GH3AD-LP6TLU", Decimal("0.5")),
            (DifferenceKind.FILLS_MISSING, "OCLOSED-2-TESTID", Decimal(1)),
            (DifferenceKind.BALANCE, "ETH", Decimal(3)),
            (DifferenceKind.BALANCE, "USD", Decimal(-4_800_000)),
            (DifferenceKind.BALANCE, "USDT", Decimal("12977.7")),
        ]
        bought = await database.orders.get_by_exchange_order_id("O26VBY-ISGAE-JP5TLU")
        assert bought is not None
        assert columns(bought, "trading_pair", "status", "cost", "commission_by_asset") == (
            *("BTC/USDT", OrderStatus.FILLED, Decimal("14750.25"), {"USDT": "23.6"}),
        )
        again = await reconciler.reconcile(since=RECORDED_SINCE)
        assert not again.repairs
        assert [each.identity for each in again.differences] == [each.identity for each in report.differences]


async def test_pages_of_kraken_are_all_read(database: Database) -> None:
    kraken = Kraken.busy(orders=52, fills_each=2)
    async with kraken.serving() as exchange:
        report = await Reconciler(database, exchange, exchange="kraken").reconcile(since=RECORDED_SINCE)
    assert report.repaired() == {RepairKind.ORDER_ADOPTED: 52, RepairKind.FILL: 104}
    assert not [each for each in report.differences if each.kind is not DifferenceKind.BALANCE]
    assert kraken.asked.count("TradesHistory") >= 2 * 4


async def test_kraken_away_is_said(database: Database) -> None:
    kraken = Kraken(errors={"OpenOrders": "EService:Unavailable"})
    async with kraken.serving() as exchange:
        report = await Reconciler(database, exchange, exchange="kraken").reconcile(since=RECORDED_SINCE)
    (failure,) = report.failures
    assert failure.startswith("fetch_open_orders: ")
    assert "Unavailable" in failure
