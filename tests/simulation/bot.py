"""A bot as an engine would be: alert → signal → risk decision → order → exchange → fills, on gal_friday."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from gal_friday.dal.models import (
    EntryType,
    Order,
    OrderType,
    Position,
    PositionSide,
    RiskDecision,
    Side,
    Signal,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import CommitUnknown, DatabaseUnavailable, LeaseHeld, LeaseLost, PersistenceError
from gal_friday.services import ExecutionHandler, RiskManager
from gal_friday.services.risk.statements import ALLOWING
from gal_friday.state.db_state_manager import DatabaseStateManager
from gal_friday.state.leases import Lease, hold_lease
from gal_friday.state.recovery import RestoredState
from tests.simulation.ccxt_errors import BaseError
from tests.simulation.exchange import Exchange
from tests.simulation.gateway import Gateway
from tests.simulation.market import Market
from tests.simulation.record import Record
from tests.simulation.strategies import Action, Alert
from tests.simulation.translation import VENUE

#: What each strategy remembers, changed together with the signal itself.
LAST_SIGNAL = "last_signal"
#: Longer than any simulation lasts: the world decides when a lease has expired, time being its own.
_TTL_SECONDS = 3_600.0


@dataclass(slots=True)
class Desk:
    """What a bot works with. It ends with the process."""

    name: str
    database: Database
    exchange: Exchange
    market: Market
    record: Record
    handler: ExecutionHandler
    state: DatabaseStateManager
    risk: RiskManager
    on_restored: Callable[[RestoredState], Awaitable[None]]
    lease: Lease | None = None
    may_trade: bool = False
    reconciled_at_line: int = 0
    trades_asked_for: datetime | None = None
    _leading: AsyncExitStack = field(default_factory=AsyncExitStack)

    @classmethod
    def of(
        cls,
        name: str,
        database: Database,
        exchange: Exchange,
        market: Market,
        record: Record,
        *,
        on_restored: Callable[[RestoredState], Awaitable[None]],
    ) -> "Desk":
        return cls(
            name=name,
            database=database,
            exchange=exchange,
            market=market,
            record=record,
            handler=ExecutionHandler(database, Gateway(exchange), actor=name, answer_timeout_seconds=3_600),
            state=DatabaseStateManager(database, actor=name),
            risk=RiskManager(decided_by=name),
            on_restored=on_restored,
        )

    async def tried(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work*; what fails is noted, and left to the next round, as an engine's loop does."""
        try:
            await work()
        except (PersistenceError, BaseError) as error:
            self.record.note(self.name, what, "failed:", _kind(error))
            if isinstance(error, LeaseLost):
                self.record.counts["fenced"] += 1
                if self.lease is not None:
                    await self.step_down()

    async def compete(self) -> None:
        """Take the lease where it is free."""
        if self.lease is not None:
            return
        try:
            self.lease = await self._leading.enter_async_context(
                hold_lease(self.database, ttl_seconds=_TTL_SECONDS, metadata={"name": self.name})
            )
        except LeaseHeld:
            return
        self.record.note(self.name, "leads", self.lease.epoch)
        self.record.counts["lease taken"] += 1

    async def step_down(self) -> None:
        """Somebody else leads."""
        self.lease, self.may_trade = None, False
        self.record.note(self.name, "steps down")
        await self.leave()

    async def leave(self) -> None:
        """Let go of the lease."""
        await self._leading.aclose()


def _kind(error: Exception) -> str:
    """Its name; how a database that is away shows depends on the moment."""
    is_away = isinstance(error, DatabaseUnavailable) and not isinstance(error, CommitUnknown)
    return DatabaseUnavailable.__name__ if is_away else type(error).__name__


async def take(desk: Desk, alert: Alert) -> None:
    """Take an alert once: claim its signal and decide on it in one transaction, then act.

    Everybody hears it. Who does not lead the account leaves it alone, but for the one who does not know that.
    """
    if not desk.may_trade and alert.tick % 16:
        return

    async def claim(uow: UnitOfWork) -> RiskDecision | None:
        position = await held(uow, alert.strategy, alert.symbol)
        side, quantity = alert.side, alert.quantity
        if alert.action is Action.EXIT:
            if position is None:
                return None
            side = Side.SELL if position.side is PositionSide.LONG else Side.BUY
            step = desk.market.listing(alert.symbol).quantity_step
            quantity = position.quantity // step * step
        if not quantity:
            return None
        signal = await uow.signals.claim(
            Signal(
                strategy_id=alert.strategy,
                exchange=VENUE,
                trading_pair=alert.symbol,
                side=side,
                entry_type=EntryType.LIMIT if alert.is_limit else EntryType.MARKET,
                proposed_entry_price=alert.price,
                fingerprint=alert.fingerprint,
            )
        )
        if signal is None:
            return None
        now = desk.record.agenda.now
        decision = await desk.risk.decide(uow, signal, requested_quantity=quantity, at=now)
        await uow.strategy_states.set_value(alert.strategy, LAST_SIGNAL, alert.fingerprint)
        return decision

    decision = await desk.database.retrying(claim, actor=desk.name)
    if decision is None:
        desk.record.note(desk.name, "leaves", alert.name)
        return
    desk.record.acknowledged.signals.add(alert.fingerprint)
    desk.record.note(desk.name, "takes", alert.name, decision.decision, decision.approved_quantity)
    if decision.decision in ALLOWING:
        assert decision.signal_id is not None
        await execute(desk, decision.signal_id)


async def execute(desk: Desk, signal_id: UUID) -> None:
    """Make the order of an approved signal. Its name follows from the signal, so there is one at most."""
    async with desk.database.transaction(read_only=True) as uow:
        signal = await uow.signals.one(signal_id)
        decision = (await uow.risk_decisions.of_signal(signal_id))[-1]
        position = await held(uow, signal.strategy_id, signal.trading_pair)
    is_limit = signal.entry_type is EntryType.LIMIT
    against = PositionSide.LONG if signal.side is Side.SELL else PositionSide.SHORT
    await submit(
        desk,
        Order(
            client_order_id=f"{signal.strategy_id}-{signal.fingerprint[:12]}",
            signal_id=signal_id,
            strategy_id=signal.strategy_id,
            exchange=VENUE,
            trading_pair=signal.trading_pair,
            side=signal.side,
            order_type=OrderType.LIMIT if is_limit else OrderType.MARKET,
            limit_price=signal.proposed_entry_price if is_limit else None,
            quantity=decision.approved_quantity,
            reduce_only=position is not None and position.side is against,
            status_at=desk.record.agenda.now,
            extra={"tick": desk.market.ticks},
        ),
    )


async def submit(desk: Desk, order: Order) -> None:
    stored = await desk.handler.submit(order)
    assert stored.client_order_id is not None
    desk.record.acknowledged.orders[stored.client_order_id] = stored.status
    desk.record.note(desk.name, "submits", stored.client_order_id, stored.status, stored.filled_quantity)


async def cancel(desk: Desk, order: Order, reason: str) -> None:
    stored = await desk.handler.cancel(order, reason=reason)
    assert stored.client_order_id is not None
    desk.record.acknowledged.orders[stored.client_order_id] = stored.status
    desk.record.note(desk.name, "cancels", stored.client_order_id, stored.status)


async def held(uow: UnitOfWork, strategy: str, symbol: str) -> Position | None:
    return await uow.positions.get_position_by_pair(symbol, exchange=VENUE, strategy_id=strategy)
