"""Recovery: what is restored, what is checked, and when nothing may be traded."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.journal import FactJournal
from gal_friday.dal.journal.facts import Fact, StatusReport
from gal_friday.dal.models import Order, OrderOrigin, OrderStatus, OrderType, Side, Strategy
from gal_friday.database import Database
from gal_friday.errors import InvalidValue, LeaseLost, NotFound, RecoveryRefused, TradingHalted
from gal_friday.services import ExecutionHandler
from gal_friday.services.order_gateway import OrderKey
from gal_friday.state.leases import hold_lease
from gal_friday.state.recovery import recover
from tests.factories import NOON, a_fill, a_portfolio_position, a_signal_log, a_strategy, an_order


@dataclass
class Drained:
    pending: int = 0
    refused: int = 0
    damaged: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"pending": self.pending, "refused": self.refused}


@dataclass
class Asked:
    """An exchange's answers, as a reconciliation reports them."""

    failures: list[str] = field(default_factory=list)
    not_understood: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return not (self.failures or self.not_understood)

    def as_json(self) -> dict[str, Any]:
        return {"failures": self.failures}


class Journal:
    def __init__(self, outcome: Drained) -> None:
        self.outcome = outcome
        self.drained = 0

    async def drain(self) -> Drained:
        self.drained += 1
        return self.outcome

    async def retry_refused(self) -> int:
        return 0


def asking(outcome: Asked) -> Callable[[], Awaitable[Asked]]:
    async def reconcile() -> Asked:
        return outcome

    return reconcile


@pytest.fixture
async def strategy(database: Database) -> Strategy:
    return await database.strategies.add(a_strategy())


@pytest.fixture
async def entry(database: Database, strategy: Strategy) -> Order:
    """An order of 3 of which 2 are filled: an open position, and a working order."""
    order = await database.orders.add(an_order(strategy, exchange_order_id="X1", quantity=Decimal(3)))
    await database.execution.apply_fill(a_fill(order, quantity_filled=Decimal(2)))
    return await database.orders.one(order.id)


SPURIOUS_EURO = """
    INSERT INTO portfolio_state (account_id, currency, initial_capital, closed_equity)
    VALUES ('default', 'EUR', 0, 1)
"""


async def spoil(owner_url: URL, statement: str) -> None:
    """What nobody may do, done."""
    async with (
        DatabaseConnectionPool(DatabaseSettings(), url=owner_url) as pool,
        pool.transaction() as uow,
    ):
        await uow.session.execute(text(statement))


async def test_an_account_in_order_may_trade_and_has_it_on_record(database: Database, entry: Order) -> None:
    recovery = await recover(database)
    assert recovery.may_trade
    state = recovery.require()
    assert [position.quantity for position in state.positions] == [Decimal(2)]
    assert [order.id for order in state.orders] == [entry.id]
    stored = await database.recoveries.latest()
    assert stored is not None
    assert stored.id == recovery.certificate.id
    assert (stored.counts["positions"], stored.counts["orders"]) == (1, 1)
    assert [each["name"] for each in stored.invariants] == ["positions", "orders", "equity"]
    assert all(each["holds"] for each in stored.invariants)
    assert (stored.epoch, stored.instance_id, stored.overrides) == (0, None, [])


async def test_the_same_state_has_the_same_checksums(database: Database, entry: Order) -> None:
    first, second = await recover(database), await recover(database)
    assert first.certificate.checksums == second.certificate.checksums
    await database.signal_log.record(a_signal_log())
    await database.execution.apply_fill(a_fill(entry, quantity_filled=Decimal(1)))
    third = await recover(database)
    changed = {
        name
        for name, checksum in third.certificate.checksums.items()
        if checksum != first.certificate.checksums[name]
    }
    assert changed == {"signal_log", "positions", "orders", "portfolio_state"}
    assert third.state.orders == []


async def test_who_lost_the_lease_meanwhile_certifies_nothing(database: Database, owner_url: URL) -> None:
    async with hold_lease(database, ttl_seconds=600) as lease:
        await spoil(owner_url, "UPDATE instance_metadata SET lease_expires_at = now() - interval '1 s'")
        with pytest.raises(LeaseLost):
            await recover(database, lease=lease)
    assert await database.recoveries.latest() is None


async def test_a_certificate_names_the_lease_it_was_made_under(database: Database) -> None:
    async with hold_lease(database) as lease:
        certificate = (await recover(database, lease=lease)).certificate
        assert (certificate.epoch, certificate.instance_id) == (lease.epoch, lease.instance_id)
        lease.lost.set()
        with pytest.raises(LeaseLost):
            await recover(database, lease=lease)


@pytest.mark.usefixtures("entry")
@pytest.mark.parametrize(
    ("broken", "statement"),
    [
        ("positions", "UPDATE positions SET quantity = quantity + 1"),
        ("positions", "UPDATE positions SET last_applied_seq = 0"),
        ("orders", "UPDATE orders SET filled_quantity = filled_quantity + 1"),
        ("equity", "UPDATE portfolio_state SET closed_equity = closed_equity + 1"),
        ("equity", SPURIOUS_EURO),
    ],
)
async def test_what_does_not_follow_from_the_facts_halts_the_account(
    database: Database, owner_url: URL, strategy: Strategy, broken: str, statement: str
) -> None:
    await spoil(owner_url, statement)
    recovery = await recover(database)
    assert not recovery.may_trade
    with pytest.raises(RecoveryRefused) as caught:
        recovery.require()
    assert caught.value.facts["invariants"] == [broken]
    (failed,) = (each for each in recovery.certificate.invariants if not each["holds"])
    assert (failed["name"], failed["number"]) == (broken, 1)
    with pytest.raises(TradingHalted, match=broken):
        await database.orders.add(an_order(strategy))


@pytest.mark.usefixtures("entry")
async def test_once_nothing_is_wanting_the_account_goes_on(
    database: Database, owner_url: URL, strategy: Strategy
) -> None:
    await spoil(owner_url, "UPDATE positions SET quantity = quantity + 1")
    assert not (await recover(database)).may_trade
    await spoil(owner_url, "UPDATE positions SET quantity = quantity - 1")
    assert (await recover(database)).may_trade
    await database.orders.add(an_order(strategy))


@pytest.mark.usefixtures("entry")
async def test_a_persons_halt_is_neither_lifted_nor_reworded(database: Database, owner_url: URL) -> None:
    async with database.transaction() as uow:
        await uow.halts.halt(reason="holidays", by="alice")
    assert (await recover(database)).may_trade
    await spoil(owner_url, "UPDATE positions SET quantity = quantity + 1")
    assert not (await recover(database)).may_trade
    account = await database.accounts.one("default")
    assert (account.halt_reason, account.halted_by) == ("holidays", "alice")


@pytest.mark.usefixtures("entry")
async def test_the_operator_overrides_by_name_for_as_long_as_the_findings_are_the_same(
    database: Database, owner_url: URL, strategy: Strategy
) -> None:
    await spoil(owner_url, "UPDATE positions SET quantity = quantity + 1")
    overridden = await recover(database, override=["positions"], override_reason="known; being mended")
    assert overridden.may_trade
    assert overridden.certificate.overrides == [{"name": "positions", "reason": "known; being mended"}]
    await database.orders.add(an_order(strategy, limit_price=Decimal(1)))
    assert (await recover(database)).may_trade
    assert (await recover(database)).certificate.overrides[0]["reason"] == "known; being mended"
    await spoil(owner_url, "UPDATE positions SET quantity = quantity + 1")
    assert not (await recover(database)).may_trade


async def test_an_override_names_an_invariant_and_a_reason(database: Database) -> None:
    with pytest.raises(InvalidValue, match="reason"):
        await recover(database, override=["equity"])
    with pytest.raises(InvalidValue, match="no such invariant"):
        await recover(database, override=["everything"], override_reason="hurry")
    with pytest.raises(NotFound):
        await recover(database, account_id="nobody's")


async def test_facts_that_could_not_be_taken_stand_against_trading(database: Database) -> None:
    journal = Journal(Drained(pending=2, refused=1))
    recovery = await recover(database, journal=journal)
    assert not recovery.may_trade
    assert recovery.certificate.journal == {"pending": 2, "refused": 1}
    journal.outcome = Drained(damaged=("0000.log",))
    assert not (await recover(database, journal=journal)).may_trade
    journal.outcome = Drained()
    assert (await recover(database, journal=journal)).may_trade
    assert journal.drained == 3


async def test_what_was_refused_is_tried_again_once_the_exchange_has_told_of_its_order(
    database: Database, strategy: Strategy, tmp_path: Path
) -> None:
    found = an_order(strategy, client_order_id=None, exchange_order_id="X7", origin=OrderOrigin.EXTERNAL)
    report = StatusReport(OrderKey(exchange_order_id="X7"), OrderStatus.CANCELED, NOON, {})
    journal = await FactJournal.open(database.pool, tmp_path, max_bytes=10**6, patience_seconds=1)
    try:
        await journal.keep([Fact(report, None, "test", NOON).encode()])
        assert not (await recover(database, journal=journal)).may_trade

        async def reconcile() -> Asked:
            await ExecutionHandler(database).adopt(found)
            return Asked()

        assert (await recover(database, journal=journal, reconcile=reconcile)).may_trade
    finally:
        await journal.close()
    assert (await database.orders.one(found.id)).status is OrderStatus.CANCELED


async def test_an_exchange_that_did_not_answer_stands_against_trading(database: Database) -> None:
    recovery = await recover(database, reconcile=asking(Asked(["fetch_open_orders: timed out"])))
    assert not recovery.may_trade
    assert recovery.certificate.reconciliation == {"failures": ["fetch_open_orders: timed out"]}
    assert not (await recover(database, reconcile=asking(Asked(not_understood=["order X1"])))).may_trade
    assert (await recover(database, reconcile=asking(Asked()))).may_trade


async def test_a_recovery_that_looks_at_less_overrules_nothing(database: Database) -> None:
    silent = asking(Asked(["fetch_balance: timed out"]))
    assert not (await recover(database, reconcile=silent)).may_trade
    again = await recover(database)
    assert not again.may_trade
    (kept,) = (each for each in again.certificate.invariants if not each["holds"])
    assert (kept["name"], kept["checked"]) == ("exchange", False)
    assert kept["findings"] == [{"failure": "fetch_balance: timed out"}]
    assert (await database.accounts.one("default")).halted_by == "recovery"
    assert (await recover(database, reconcile=asking(Asked()))).may_trade
    assert (await recover(database)).may_trade


async def test_only_what_was_checked_and_failed_is_overridden(database: Database) -> None:
    with pytest.raises(InvalidValue, match="not checked"):
        await recover(database, override=["exchange"], override_reason="hurry")
    held = await recover(database, override=["equity"], override_reason="hurry")
    assert held.certificate.overrides == []
    silent = asking(Asked(["fetch_balance: timed out"]))
    overridden = await recover(database, reconcile=silent, override=["exchange"], override_reason="known")
    assert overridden.may_trade
    assert (await recover(database)).may_trade  # the same findings, not looked at again
    assert (await recover(database, reconcile=silent)).may_trade
    assert not (await recover(database, reconcile=asking(Asked(["something else"])))).may_trade


@pytest.mark.usefixtures("entry")
async def test_a_dry_run_stores_and_halts_nothing(
    database: Database, owner_url: URL, strategy: Strategy
) -> None:
    await spoil(owner_url, "UPDATE positions SET quantity = quantity + 1")
    journal = Journal(Drained())
    recovery = await recover(database, dry_run=True, journal=journal)
    assert not recovery.may_trade
    assert recovery.certificate.journal == {"pending": 0, "refused": 0}
    assert await database.recoveries.latest() is None
    await database.orders.add(an_order(strategy))


async def test_orders_never_acknowledged_are_named_with_the_id_to_ask_for(
    database: Database, strategy: Strategy
) -> None:
    order = await database.orders.add(an_order(strategy, client_order_id="mine-1"))
    (doubt,) = (await recover(database)).certificate.orders_in_doubt
    assert (doubt["order"], doubt["client_order_id"]) == (str(order.id), "mine-1")
    async with database.transaction() as uow:
        await uow.orders.transition(order.id, OrderStatus.NEW)
    assert (await recover(database)).certificate.orders_in_doubt == []


async def test_positions_are_unprotected_until_stops_cover_them(
    database: Database, strategy: Strategy, entry: Order
) -> None:
    async def unprotected() -> list[str]:
        found = (await recover(database)).certificate.unprotected_positions
        return [each["protected"] for each in found]

    stop: dict[str, Any] = {
        "side": Side.SELL,
        "order_type": OrderType.STOP_LOSS,
        "limit_price": None,
        "stop_price": Decimal(40_000),
        "parent_order_id": entry.id,
    }
    assert await unprotected() == ["0"]
    await database.orders.add(an_order(strategy, **stop | {"side": Side.BUY}, quantity=Decimal(2)))
    assert await unprotected() == ["0"]
    await database.orders.add(an_order(strategy, **stop, quantity=Decimal("1.5")))
    assert await unprotected() == ["1.5"]
    await database.orders.add(an_order(strategy, **stop, quantity=Decimal("0.5")))
    assert await unprotected() == []


async def test_fills_without_an_order_are_named(database: Database, strategy: Strategy) -> None:
    unknown = an_order(strategy, exchange_order_id="X404")
    await database.execution.apply_fill(a_fill(unknown, order_id=None, fill_id="F404"))
    (fill,) = (await recover(database)).certificate.unmatched_fills
    assert (fill["exchange_order_id"], fill["fill_id"]) == ("X404", "F404")


async def test_entries_that_are_closed_are_not_restored(database: Database) -> None:
    await database.portfolio_positions.add(a_portfolio_position(position_id="open"))
    await database.portfolio_positions.add(
        a_portfolio_position(
            position_id="closed", status="closed", exit_price=Decimal(1), exit_reason="stop",
            exit_timestamp=a_portfolio_position().entry_timestamp,
        )
    )  # fmt: skip
    assert list((await recover(database)).state.portfolio_positions) == ["open"]
