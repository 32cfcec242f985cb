"""A LiveTradingEngine's beginning and end: one at a time, recovered first, drained last; halts and modes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import URL, text

from gal_friday.dal.models import (
    AccountMode,
    EntryStatus,
    InstanceStatus,
    OrderStatus,
    RiskVerdict,
    RolloverStatus,
    SignalStatus,
)
from gal_friday.database import Database
from gal_friday.errors import (
    AccountMismatch,
    InvalidValue,
    LeaseHeld,
    LeaseLost,
    NotFound,
    NotTrading,
    TradingHalted,
)
from gal_friday.services.reconciliation import Reconciler
from gal_friday.state.leases import Lease
from gal_friday.state.recovery import recover
from tests.live import (
    EXPIRE,
    Desk,
    Market,
    Recovered,
    a_proposal,
    a_received_signal,
    a_traded_strategy,
    an_engine,
    filled,
    next_contract,
    terms,
)
from tests.replays import opened
from tests.scripted_exchange import ScriptedExchange
from tests.waiting import until


@pytest.fixture
async def other(database_url: URL) -> AsyncIterator[Database]:
    async with opened(database_url) as database:
        yield database


@pytest.fixture
async def desk(database: Database) -> Desk:
    market = Market()
    return Desk(an_engine(database, market), market, database, await a_traded_strategy(database))


async def adds_nothing(desk: Desk) -> None:
    """Each intent that adds risk is refused."""
    for intent in (
        desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms()),
        desk.engine.pyramid(a_received_signal(), a_proposal(desk.strategy), terms()),
        desk.engine.rollover("P", next_contract()),
    ):
        with pytest.raises((NotTrading, LeaseLost)):
            await intent


async def intends_nothing(desk: Desk) -> None:
    """Each intent is refused."""
    await adds_nothing(desk)
    for intent in (
        desk.engine.exit(a_received_signal(), reason="X"),
        desk.engine.update_stop("P", Decimal(95)),
        desk.engine.settle_doubts(),
    ):
        with pytest.raises((NotTrading, LeaseLost)):
            await intent


async def test_the_second_of_two_engines_is_refused_and_takes_over_once_the_first_is_stopped(
    desk: Desk, other: Database
) -> None:
    second = Desk(an_engine(other, desk.market, lease_seconds=3), desk.market, other, desk.strategy)
    async with desk.engine:
        await desk.base(position_id="P")
        with pytest.raises(LeaseHeld):
            await second.engine.start()
        assert not second.engine.is_trading
        starting = asyncio.create_task(second.engine.start(wait_seconds=30))
    await starting
    await intends_nothing(desk)
    assert list(second.engine.positions) == ["P"]
    await second.check_memory()
    await second.pyramid(quantity=1)
    await second.engine.stop()


async def test_who_lost_the_lease_intends_nothing_and_still_takes_facts(desk: Desk, other: Database) -> None:
    desk = Desk(an_engine(desk.database, desk.market, lease_seconds=3), *_rest(desk))
    await desk.engine.start()
    outcome = await desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms())
    async with other.transaction() as uow:
        await uow.session.execute(EXPIRE)
        await uow.instances.register("thief", hostname="h", pid=1, app_version="1", account_id="default")
        await uow.leases.take("thief", duration=timedelta(0))
    with pytest.raises(LeaseLost):
        await desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms())
    await asyncio.wait_for(desk.engine.lease_lost.wait(), 20)
    assert not desk.engine.is_trading
    await intends_nothing(desk)
    fill = filled(outcome.order, 100, Decimal(1))
    assert (await desk.engine.fill(fill)).result == "APPLIED"
    assert (await desk.entry(outcome.position.position_id)).lots == 0
    assert await desk.engine.stop()
    async with an_engine(other, desk.market):
        assert (await desk.entry(outcome.position.position_id)).lots == 1
        assert desk.market.kinds("submit") == ["submit ENTER", "submit STOP"]


def _rest(desk: Desk) -> tuple[Any, ...]:
    return desk.market, desk.database, desk.strategy


async def test_nothing_is_intended_before_the_start_and_after_the_stop(desk: Desk) -> None:
    await intends_nothing(desk)
    await desk.engine.start()
    with pytest.raises(NotTrading, match="started already"):
        await desk.engine.start()
    assert await desk.engine.stop()
    await intends_nothing(desk)
    with pytest.raises(NotTrading):
        await desk.engine.stop()
    await desk.engine.start()
    assert desk.engine.is_trading
    await desk.engine.stop()


async def test_what_recovery_finds_wanting_is_not_traded_with_until_it_is_mended(
    desk: Desk, owner_url: URL
) -> None:
    async with an_engine(desk.database, desk.market) as engine:
        outcome = await Desk(engine, *_rest(desk)).base(position_id="P")
    async with opened(owner_url) as owner, owner.transaction() as uow:
        await uow.session.execute(text("UPDATE positions SET quantity = quantity + 1"))
    async with an_engine(desk.database, desk.market, recover=recover) as engine:
        assert engine.certificate is not None
        assert not engine.certificate.may_trade
        assert not engine.is_trading
        await adds_nothing(Desk(engine, *_rest(desk)))
        await engine.update_stop("P", Decimal(95))
        leaving = await engine.exit(a_received_signal(), reason="TO_BE_SAFE")
        async with opened(owner_url) as owner, owner.transaction() as uow:
            await uow.session.execute(text("UPDATE positions SET quantity = quantity - 1"))
        await engine.fill(filled(leaving.orders[0], 99))
        assert (await engine.recover()).may_trade
        assert engine.positions == {}
        await Desk(engine, *_rest(desk)).base()
    assert outcome.is_new


async def test_a_recovery_that_fails_gives_the_lease_up(desk: Desk, other: Database) -> None:
    async def failing(database: Database, *, account_id: str, lease: Lease) -> Recovered:
        raise NotFound(table="anything", key=(account_id, database, lease))

    with pytest.raises(NotFound):
        await an_engine(desk.database, desk.market, recover=failing).start()
    async with an_engine(other, desk.market):
        pass


async def test_a_stop_waits_for_what_is_under_way_and_lets_nothing_new_begin(desk: Desk) -> None:
    await desk.engine.start()
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        asked.set()
        await may_answer.wait()

    desk.market.while_asked = wait
    entering = asyncio.create_task(
        desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms())
    )
    await asked.wait()
    stopping = asyncio.create_task(desk.engine.stop())

    async def is_draining() -> bool:
        (instance,) = await desk.database.instances.get_running()
        return bool(instance.status is InstanceStatus.DRAINING)

    await until(is_draining, "the engine to drain")
    assert not stopping.done()
    with pytest.raises(NotTrading, match="being stopped"):
        await desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms())
    may_answer.set()
    assert (await entering).order.status is OrderStatus.NEW
    assert await stopping
    assert await desk.database.instances.get_running() == []


async def test_a_stop_waits_only_so_long_and_the_next_start_settles_what_was_left(desk: Desk) -> None:
    await desk.engine.start()
    asked = asyncio.Event()

    async def never() -> None:
        asked.set()
        await asyncio.Event().wait()

    desk.market.once_asked = never
    entering = asyncio.create_task(
        desk.engine.base_entry(a_received_signal(), a_proposal(desk.strategy), terms())
    )
    await asked.wait()
    assert not await desk.engine.stop(timeout_seconds=0.05)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    desk.market.once_asked = None
    async with desk.engine:
        (order,) = await desk.database.orders.get_active_orders()
        assert order.status is OrderStatus.NEW


async def test_what_the_exchange_does_not_answer_for_at_the_start_stays_in_doubt(desk: Desk) -> None:
    async with desk.engine:
        await desk.base(position_id="P")
        desk.market.after["submit"] = desk.market.before["find"] = TimeoutError()
        with pytest.raises(Exception, match="asked"):
            await desk.engine.exit(a_received_signal(), reason="X")
    async with an_engine(desk.database, desk.market) as engine:
        (order,) = await engine.settle_doubts()
        assert order.status is OrderStatus.PENDING_NEW
        desk.market.before.clear()
        assert await engine.settle_doubts() == []
        assert (await desk.database.orders.one(order.id)).status is OrderStatus.NEW


async def test_in_a_halt_nothing_is_entered_and_what_reduces_or_protects_passes(desk: Desk) -> None:
    async with desk.engine:
        await desk.base(position_id="P")
        async with desk.database.transaction() as uow:
            await uow.halts.halt(reason="enough", by="alice")
        received = a_received_signal("PYRAMID")
        with pytest.raises(TradingHalted, match="enough"):
            await desk.engine.pyramid(received, a_proposal(desk.strategy), terms())
        again = await desk.engine.pyramid(received, a_proposal(desk.strategy), terms())
        assert (again.is_new, again.decision.decision) == (False, RiskVerdict.HALTED)
        assert again.signal.status is SignalStatus.REJECTED
        with pytest.raises(TradingHalted):
            await desk.engine.rollover("P", next_contract())
        assert (await desk.entry("P")).rollover_status is RolloverStatus.NONE
        _, stop = await desk.engine.update_stop("P", Decimal(95))
        assert stop.stop_price == 95
        outcome = await desk.engine.exit(a_received_signal(), reason="HALTED")
        await desk.engine.fill(filled(outcome.order, 99))
        assert (await desk.entry("P")).status is EntryStatus.CLOSED


async def test_a_rollover_that_is_halted_between_its_steps_goes_on_when_it_may(desk: Desk) -> None:
    async with desk.engine:
        await desk.base(position_id="P")
        state = await desk.engine.rollover("P", next_contract())
        async with desk.database.transaction() as uow:
            await uow.halts.halt(reason="enough", by="alice", strategy_id=desk.strategy.strategy_id)
        await desk.engine.fill(filled(state.order, 105))
        assert isinstance(desk.engine.unfinished["P"], TradingHalted)
        assert (await desk.entry("P")).rollover_status is RolloverStatus.PENDING
    async with desk.engine as engine:
        assert isinstance(engine.unfinished["P"], TradingHalted)
        async with desk.database.transaction() as uow:
            await uow.halts.resume(strategy_id=desk.strategy.strategy_id)
        await engine.settle_doubts()
        assert engine.unfinished == {}
        assert (await desk.entry("P")).rollover_status is RolloverStatus.IN_PROGRESS
        assert list(engine.positions) == ["P+1"]


async def test_a_fill_of_a_closed_entry_that_nobody_followed_opens_it_at_the_next_start(desk: Desk) -> None:
    async with desk.engine:
        outcome = await desk.engine.base_entry(
            a_received_signal(), a_proposal(desk.strategy), terms(position_id="P")
        )
        await desk.engine.exit(a_received_signal("EXIT"), reason="X")
        assert (await desk.entry("P")).status is EntryStatus.CLOSED
    await desk.engine.fill(filled(outcome.order, 100, Decimal(1)))
    assert (await desk.entry("P")).status is EntryStatus.CLOSED
    async with desk.engine:
        entry = await desk.entry("P")
        assert (entry.status, entry.lots) == (EntryStatus.OPEN, 1)
        assert list(desk.engine.positions) == ["P"]
        assert desk.market.kinds()[-1] == "submit STOP"


async def test_a_start_in_a_halt_protects_every_entry_though_a_rollover_waits(desk: Desk) -> None:
    async with desk.engine:
        await desk.base(position_id="P")
        state = await desk.engine.rollover("P", next_contract())
        other = await desk.engine.base_entry(
            a_received_signal(instrument="SILVER"), a_proposal(desk.strategy), terms(position_id="S")
        )
    async with desk.database.transaction() as uow:
        await uow.halts.halt(reason="enough", by="alice")
    for order in (state.order, other.order):
        await desk.engine.fill(filled(order, 105))
    asked = len(desk.market.asked)
    async with desk.engine:
        assert list(desk.engine.unfinished) == ["P"]
        assert desk.market.kinds()[asked:] == ["submit STOP"]
        leaving = await desk.engine.exit(a_received_signal(instrument="SILVER"), reason="HALTED")
        await desk.engine.fill(filled(leaving.order, 99))
        assert (await desk.entry("S")).status is EntryStatus.CLOSED
        with pytest.raises(TradingHalted):
            await desk.engine.rollover("P", next_contract())
        async with desk.database.transaction() as uow:
            await uow.halts.resume()
    async with desk.engine:
        assert desk.engine.unfinished == {}
        assert list(desk.engine.positions) == ["P+1"]


async def test_what_one_entry_cannot_be_brought_up_to_date_for_keeps_no_other_waiting(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.engine:
        names = []
        for number in range(3):
            outcome = await desk.engine.base_entry(
                a_received_signal(instrument=f"I{number}"), a_proposal(desk.strategy), terms()
            )
            names.append((outcome.position.position_id, outcome.order))
    for _, order in names:
        await desk.engine.fill(filled(order, 100))
    broken = names[0][0]
    bring_up_to_date = desk.engine._conduct.bring_up_to_date

    async def not_this_one(name: str, *known: Any) -> Any:
        if name == broken:
            raise NotFound(table="anything", key=name)
        return await bring_up_to_date(name, *known)

    monkeypatch.setattr(desk.engine._conduct, "bring_up_to_date", not_this_one)
    async with desk.engine:
        assert list(desk.engine.unfinished) == [broken]
        assert desk.engine.unfinished[broken].facts == {"table": "anything", "key": broken}
        assert desk.market.kinds()[-2:] == ["submit STOP", "submit STOP"]
        monkeypatch.undo()
        await desk.engine.settle_doubts()
        assert desk.engine.unfinished == {}
        assert desk.market.kinds("submit").count("submit STOP") == 3


async def test_a_recovery_asks_the_exchange_and_drains_the_journal_unless_it_is_one_s_own(
    desk: Desk,
) -> None:
    reconciler = Reconciler(desk.database, ScriptedExchange(), exchange=desk.market.exchange)
    async with an_engine(desk.database, desk.market, recover=None, reconcile=reconciler.reconcile) as engine:
        certificate: Any = engine.certificate
        found = {each["name"] for each in certificate.certificate.invariants}
        assert found >= {"journal", "exchange", "positions"}
    async with an_engine(desk.database, desk.market, recover=None) as engine:
        certificate = engine.certificate
        assert "journal" in {each["name"] for each in certificate.certificate.invariants}
    with pytest.raises(InvalidValue, match="of one's own"):
        an_engine(desk.database, desk.market, reconcile=reconciler.reconcile)


@pytest.mark.parametrize(
    ("engine_is", "gateway_is", "account_is"),
    [("PAPER", "LIVE", "PAPER"), ("LIVE", "LIVE", "PAPER"), ("PAPER", "PAPER", "LIVE")],
)
async def test_paper_and_live_never_meet(
    database: Database, engine_is: str, gateway_is: str, account_is: str
) -> None:
    async with database.transaction() as uow:
        await uow.accounts.open_account("mine", mode=AccountMode(account_is))
    market = Market(mode=AccountMode(gateway_is))
    engine = an_engine(database, market, mode=AccountMode(engine_is), account_id="mine")
    with pytest.raises(AccountMismatch):
        await engine.start()
    assert await database.instances.get_running(account_id="mine") == []


async def test_an_account_is_traded_at_its_own_exchange(database: Database) -> None:
    async with database.transaction() as uow:
        await uow.accounts.open_account("mine", exchange="elsewhere")
    with pytest.raises(AccountMismatch, match="another exchange"):
        await an_engine(database, Market(), account_id="mine").start()
    with pytest.raises(NotFound):
        await an_engine(database, Market(), account_id="nobody's").start()


async def test_two_accounts_of_both_modes_are_traded_side_by_side(desk: Desk) -> None:
    async with desk.database.transaction() as uow:
        await uow.accounts.open_account("real", mode=AccountMode.LIVE)
    market = Market(mode=AccountMode.LIVE)
    async with (
        desk.engine,
        an_engine(desk.database, market, mode=AccountMode.LIVE, account_id="real") as engine,
    ):
        real = Desk(engine, market, desk.database, desk.strategy)
        await desk.base(position_id="P")
        await real.base(position_id="P", quantity=1)
        assert ((await desk.entry("P")).lots, (await real.entry("P")).lots) == (2, 1)
        assert {order.account_id for order in market.orders.values()} == {"real"}
        await real.check_memory()
        await desk.check_memory()
