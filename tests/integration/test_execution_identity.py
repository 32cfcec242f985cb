"""By what a fill is known again: ids of the exchange's, ids made by us, and both for one fill."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from gal_friday.dal.execution import FillOutcome, FillResult
from gal_friday.dal.models import Fill, Order, ReportSource, Side
from gal_friday.dal.unit_of_work import UnitOfWork
from tests.books import unbalanced
from tests.factories import MINUTE, NOON, a_strategy
from tests.ledger import a_report, a_stored_order, applied, columns, stored_fill


@pytest.fixture
async def order(uow: UnitOfWork) -> Order:
    return await a_stored_order(uow, quantity=Decimal(10), exchange_order_id="OX-1")


def without_id(order: Order, **values: object) -> Fill:
    return a_report(order, fill_id=None, **values)


async def ids(uow: UnitOfWork, order: Order) -> list[str]:
    return sorted(fill.fill_id for fill in await uow.fills.of_order(order.id))


async def aliases(uow: UnitOfWork, outcome: FillOutcome) -> list[str]:
    assert outcome.fill is not None
    return [alias.fill_id for alias in await uow.fill_aliases.of_fill(outcome.fill)]


def results(outcomes: Sequence[FillOutcome]) -> list[FillResult]:
    return [outcome.result for outcome in outcomes]


async def test_a_fill_counts_once_whatever_it_is_called_by(uow: UnitOfWork, order: Order) -> None:
    first = await applied(uow, a_report(order, fill_id="T1", commission=Decimal(1), commission_asset="USD"))
    version = order.row_version
    spellings: list[dict[str, Any]] = [
        {"trading_pair": "XXBTZUSD"},
        {"order_id": None, "exchange_order_id": "OX-1", "trading_pair": "btc-usd"},
        {"order_id": None, "client_order_id": order.client_order_id},
        {"source": ReportSource.RECONCILE, "received_at": NOON + MINUTE},
        {"commission": None},
    ]
    for spelling in spellings:
        again = await uow.execution.apply_fill(
            a_report(
                order,
                **{"fill_id": "T1", "commission": Decimal("1.0"), "commission_asset": "USD", **spelling},
            )
        )
        assert (again.result, again.reason) == (FillResult.DUPLICATE, None)
        assert (again.fill, again.position_id, again.trade_id) == (
            first.fill,
            first.position_id,
            first.trade_id,
        )
        assert (again.applied_seq, again.order_id) == (1, order.id)
    assert order.row_version == version
    assert await unbalanced(uow, order.account_id) == []


async def test_a_repeated_fill_tells_what_it_did_when_it_was_applied(uow: UnitOfWork, order: Order) -> None:
    await applied(uow, a_report(order))
    strategy = await uow.strategies.one(order.strategy_id)
    sell = await a_stored_order(uow, strategy, side=Side.SELL)
    report = a_report(sell, fill_price=Decimal(130))
    first = await applied(uow, report)
    again = await uow.execution.apply_fill(report)
    assert columns(again, "realized_pnl", "applied_seq", "trade_id") == (30, 2, first.trade_id)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"quantity_filled": Decimal(2)}, "quantity_filled"),
        ({"fill_price": Decimal("100.000000000000000001")}, "fill_price"),
        ({"commission": Decimal(2)}, "commission"),
        ({"side": Side.SELL, "fill_price": Decimal(1)}, "side, fill_price"),
    ],
)
async def test_a_known_id_with_another_content_is_told_and_not_applied(
    uow: UnitOfWork, order: Order, caplog: pytest.LogCaptureFixture, values: dict[str, object], told: str
) -> None:
    first = await applied(uow, a_report(order, fill_id="T1"))
    again = await uow.execution.apply_fill(a_report(order, fill_id="T1", **values))
    assert (again.result, again.fill) == (FillResult.DUPLICATE, first.fill)
    assert again.reason == f"the stored fill differs in {told}"
    assert [record.message for record in caplog.records] == ["fill not as it should be"]
    assert order.filled_quantity == 1


async def test_the_same_id_is_another_fill_on_another_order(uow: UnitOfWork, order: Order) -> None:
    strategy = await uow.strategies.one(order.strategy_id)
    other = await a_stored_order(uow, strategy, exchange_order_id="OX-2")
    for each in (order, other):
        await applied(uow, a_report(each, fill_id="T1"))
    assert await unbalanced(uow, order.account_id) == []


async def test_what_the_order_had_filled_names_a_fill_without_id(uow: UnitOfWork, order: Order) -> None:
    def second() -> Fill:
        return without_id(order, cumulative_quantity=Decimal("2.0"))

    # Alike in everything else; and the later one is heard of first.
    outcomes = [
        await uow.execution.apply_fill(report)
        for report in (second(), without_id(order, cumulative_quantity=Decimal(1)), second())
    ]
    assert results(outcomes) == ["APPLIED", "APPLIED", "DUPLICATE"]
    assert outcomes[2].fill == outcomes[0].fill
    assert await ids(uow, order) == ["cumulative-1", "cumulative-2"]
    fill = await stored_fill(uow, outcomes[0])
    assert columns(fill, "fill_id_synthetic", "cumulative_quantity") == (True, 2)


async def test_of_fills_alike_in_everything_each_in_a_batch_counts(uow: UnitOfWork, order: Order) -> None:
    batch = [without_id(order) for _ in range(3)]
    assert results(await uow.execution.apply_fills(batch)) == ["APPLIED"] * 3
    again = await uow.execution.apply_fills([without_id(order) for _ in range(4)])
    assert results(again) == ["DUPLICATE"] * 3 + ["APPLIED"]
    assert (await uow.execution.apply_fill(without_id(order))).result is FillResult.DUPLICATE
    assert order.filled_quantity == 4


async def test_one_report_given_twice_in_a_batch_counts_as_two_where_it_has_no_id(
    uow: UnitOfWork, order: Order
) -> None:
    report = without_id(order)
    assert results(await uow.execution.apply_fills([report, report])) == ["APPLIED", "APPLIED"]
    assert results(await uow.execution.apply_fills([report, report])) == ["DUPLICATE", "DUPLICATE"]
    named = a_report(order, fill_price=Decimal(101))
    assert results(await uow.execution.apply_fills([named, named])) == ["APPLIED", "DUPLICATE"]
    named.fill_id = "another"
    await applied(uow, named)


@pytest.mark.parametrize(
    "difference",
    [
        {"quantity_filled": Decimal(2)},
        {"fill_price": Decimal(101)},
        {"filled_at": NOON + MINUTE},
    ],
)
async def test_fills_without_id_that_differ_are_different(
    uow: UnitOfWork, order: Order, difference: dict[str, object]
) -> None:
    await applied(uow, without_id(order))
    await applied(uow, without_id(order, **difference))
    assert len(set(await ids(uow, order))) == 2


async def test_an_amount_spelled_otherwise_derives_the_same_id(uow: UnitOfWork, order: Order) -> None:
    await applied(uow, without_id(order))
    again = without_id(order, quantity_filled=Decimal("1.000"), fill_price=Decimal("1E+2"))
    assert (await uow.execution.apply_fill(again)).result is FillResult.DUPLICATE


@pytest.mark.parametrize("values", [{}, {"cumulative_quantity": Decimal(1)}])
async def test_the_real_id_of_a_fill_that_had_none_is_put_on_record(
    uow: UnitOfWork, order: Order, values: dict[str, object]
) -> None:
    first = await applied(uow, without_id(order, **values))
    raw = {"tid": 77}
    for _ in range(2):
        known = await uow.execution.apply_fill(
            a_report(order, fill_id="T77", source=ReportSource.POLL, raw=raw, filled_at=NOON + MINUTE)
        )
        assert (known.result, known.fill, known.reason) == (FillResult.DUPLICATE, first.fill, None)
    assert first.fill is not None
    (alias,) = await uow.fill_aliases.of_fill(first.fill)
    assert (alias.fill_id, alias.fill_id_synthetic, alias.source, alias.raw) == ("T77", False, "POLL", raw)
    assert alias.order_id == order.id
    assert order.filled_quantity == 1


@pytest.mark.parametrize("values", [{}, {"cumulative_quantity": Decimal(1)}])
async def test_a_fill_stored_with_its_real_id_is_known_without_it(
    uow: UnitOfWork, order: Order, values: dict[str, object]
) -> None:
    first = await applied(uow, a_report(order, fill_id="T77"))
    for _ in range(2):
        known = await uow.execution.apply_fill(without_id(order, **values))
        assert (known.result, known.fill) == (FillResult.DUPLICATE, first.fill)
    assert len(await aliases(uow, first)) == 1
    assert await ids(uow, order) == ["T77"]


@pytest.mark.parametrize("real_first", [True, False])
async def test_two_equal_fills_and_their_reports_without_id_are_two(
    uow: UnitOfWork, order: Order, real_first: bool
) -> None:
    real = [a_report(order, fill_id=f"T{number}") for number in (1, 2)]
    nameless = [without_id(order), without_id(order)]
    first, second = (real, nameless) if real_first else (nameless, real)
    stored = await uow.execution.apply_fills(first)
    known = await uow.execution.apply_fills(second)
    assert results(known) == ["DUPLICATE"] * 2
    assert [outcome.fill for outcome in known] == [outcome.fill for outcome in stored]
    assert [len(await aliases(uow, outcome)) for outcome in stored] == [1, 1]
    third = await uow.execution.apply_fill(a_report(order, fill_id="T3"))
    assert third.result is FillResult.APPLIED
    assert order.filled_quantity == 3


async def test_of_equal_fills_the_one_of_the_same_moment_is_meant(uow: UnitOfWork, order: Order) -> None:
    fee = {"commission": Decimal(2), "commission_asset": "USD"}
    early = await applied(uow, a_report(order, fill_id="T1"))
    late = await applied(uow, a_report(order, fill_id="T2", filled_at=NOON + MINUTE, **fee))
    known = await uow.execution.apply_fill(without_id(order, filled_at=NOON + MINUTE, **fee))
    assert (known.fill, known.reason) == (late.fill, None)
    known = await uow.execution.apply_fill(without_id(order))
    assert (known.fill, known.reason) == (early.fill, None)


async def test_equal_fills_are_told_apart_by_what_the_order_had_filled(uow: UnitOfWork, order: Order) -> None:
    first, second = [
        await applied(uow, a_report(order, fill_id=f"T{number}", cumulative_quantity=Decimal(number)))
        for number in (1, 2)
    ]
    for cumulative, meant in ((2, second), (1, first)):
        known = await uow.execution.apply_fill(without_id(order, cumulative_quantity=Decimal(cumulative)))
        assert (known.result, known.fill) == (FillResult.DUPLICATE, meant.fill)
    third = await uow.execution.apply_fill(without_id(order, cumulative_quantity=Decimal(3)))
    assert third.result is FillResult.APPLIED


async def test_real_ids_are_never_taken_for_one_another(uow: UnitOfWork, order: Order) -> None:
    outcomes = await uow.execution.apply_fills([a_report(order, fill_id=f"T{number}") for number in range(3)])
    assert results(outcomes) == ["APPLIED"] * 3
    assert await uow.fill_aliases.count() == 0


async def test_an_id_the_adapter_made_is_one_of_ours(uow: UnitOfWork, order: Order) -> None:
    made = await applied(uow, a_report(order, fill_id="poll-1", fill_id_synthetic=True))
    known = await uow.execution.apply_fill(a_report(order, fill_id="T1"))
    assert (known.result, known.fill) == (FillResult.DUPLICATE, made.fill)


# --- which order is meant -------------------------------------------------------------------------------


async def test_a_fill_teaches_the_order_its_exchange_id(uow: UnitOfWork) -> None:
    order = await a_stored_order(uow)
    outcome = await applied(uow, a_report(order, exchange_order_id="OX-9"))
    assert order.exchange_order_id == "OX-9"
    by_that_id = a_report(order, order_id=None, exchange_order_id="OX-9")
    assert (await applied(uow, by_that_id)).order_id == order.id
    assert (await stored_fill(uow, outcome)).exchange_order_id == "OX-9"


async def test_a_fill_is_filed_under_its_orders_own_ids(uow: UnitOfWork, order: Order) -> None:
    report = a_report(order, exchange_order_id="OX-0", trading_pair="XXBTZUSD", exchange="Kraken")
    fill = await stored_fill(uow, await applied(uow, report))
    assert (fill.exchange, fill.trading_pair, fill.exchange_order_id) == ("kraken", "BTC/USD", "OX-1")


async def test_our_own_id_decides_where_the_exchange_numbers_each_pair(uow: UnitOfWork, order: Order) -> None:
    strategy = await uow.strategies.one(order.strategy_id)
    namesake = await a_stored_order(uow, strategy, trading_pair="ETH/USD")
    report = a_report(
        namesake,
        order_id=None,
        client_order_id=namesake.client_order_id,
        exchange_order_id=order.exchange_order_id,
    )
    assert (await applied(uow, report)).order_id == namesake.id
    # Now both have it: the pair decides.
    for meant in (namesake, order):
        nameless = a_report(meant, order_id=None, exchange_order_id="OX-1")
        assert (await applied(uow, nameless)).order_id == meant.id
    ambiguous = a_report(order, order_id=None, exchange_order_id="OX-1", trading_pair="XXBTZUSD")
    assert (await uow.execution.apply_fill(ambiguous)).result is FillResult.UNMATCHED


@pytest.mark.parametrize("known_by", ["OX-5", None])
async def test_an_id_another_order_has_is_rejected(
    uow: UnitOfWork, order: Order, known_by: str | None
) -> None:
    strategy = await uow.strategies.one(order.strategy_id)
    other = await a_stored_order(uow, strategy, exchange_order_id=known_by)
    await applied(uow, a_report(order, fill_id="T1"))
    outcome = await uow.execution.apply_fill(a_report(other, exchange_order_id="OX-1", fill_id="T1"))
    assert (outcome.result, outcome.reason) == ("REJECTED", "another order has its exchange_order_id")
    assert (outcome.order_id, other.exchange_order_id) == (other.id, known_by)


async def test_an_order_without_exchange_id_is_not_taken_for_one_that_has_it_as_such(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    theirs = await a_stored_order(uow, strategy, exchange_order_id="1")
    ours = await a_stored_order(uow, strategy, client_order_id="1")
    for order in (theirs, ours):
        await applied(uow, without_id(order, cumulative_quantity=Decimal(1)))
    assert await unbalanced(uow, ours.account_id) == []


async def test_another_accounts_order_is_not_known(uow: UnitOfWork, order: Order) -> None:
    await uow.accounts.open_account("other")
    for name in ("order_id", "exchange_order_id", "client_order_id"):
        theirs = a_report(
            order,
            account_id="other",
            **{"order_id": None, name: order.id if name == "order_id" else getattr(order, name)},
        )
        assert (await uow.execution.apply_fill(theirs)).result is FillResult.UNMATCHED
    assert order.filled_quantity == 0
