"""The part of LiveTradingEngine that leads an account, and takes facts."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Any, Self, Unpack
from uuid import UUID

from gal_friday.dal.execution import FillOutcome
from gal_friday.dal.models import (
    DEFAULT_ACCOUNT_ID,
    AccountMode,
    Fill,
    Order,
    OrderStatus,
    PortfolioPosition,
    PyramidingState,
)
from gal_friday.dal.repositories.order_reports import ReportOutcome
from gal_friday.database import Database
from gal_friday.errors import InvalidValue, LeaseLost, OrderInDoubt, PersistenceError
from gal_friday.services.execution_handler import ExecutionHandler
from gal_friday.services.live.catching_up import CatchingUp
from gal_friday.services.live.figures import update_figures
from gal_friday.services.live.gateway import TradingGateway
from gal_friday.services.live.lifecycle import Certificate, Leadership, Recover, check_account
from gal_friday.services.live.memory import Memory
from gal_friday.services.live.operations import Operations
from gal_friday.services.order_facts import StatusTold
from gal_friday.services.order_gateway import OrderName
from gal_friday.services.portfolio_manager import PortfolioManager
from gal_friday.services.risk_manager import RiskManager
from gal_friday.state import DatabaseStateManager
from gal_friday.state.leases import Lease
from gal_friday.state.recovery import Reconciliation
from gal_friday.state.recovery import recover as recover_account
from gal_friday.state.state_transaction import StateTransaction

log = logging.getLogger(__name__)


class LedEngine:
    """Leads one account, knows what is held in it, and lets it follow what the exchange says."""

    def __init__(
        self,
        database: Database,
        gateway: TradingGateway,
        *,
        mode: AccountMode,
        reconcile: Callable[[], Awaitable[Reconciliation]] | None = None,
        recover: Recover | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
        risk: RiskManager | None = None,
        state: DatabaseStateManager | None = None,
        lease_seconds: float = 15.0,
        answer_timeout_seconds: float = 30.0,
        actor: str = "live-engine",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """*reconcile* asks the exchange whenever the engine recovers: `Reconciler(…).reconcile` does.

        *recover* takes the place of the whole recovery, which is `gal_friday.state.recovery.recover` with the
        journal of *database* and with *reconcile*. *metadata* is kept with the instance.
        """
        if recover is not None and reconcile is not None:
            raise InvalidValue("a recovery of one's own asks the exchange itself", value=reconcile)
        self.account_id = account_id
        self.mode = mode
        self.risk = risk or RiskManager()
        self.state = state or DatabaseStateManager(database, account_id=account_id, actor=actor)
        self.orders = ExecutionHandler(
            database, gateway, actor=actor, answer_timeout_seconds=answer_timeout_seconds
        )
        self.portfolio = PortfolioManager(account_id)
        self._database = database
        self._gateway = gateway
        self._recover = recover or partial(recover_account, journal=database.journal, reconcile=reconcile)
        self._memory = Memory()
        self._leadership = Leadership(
            database, account_id=account_id, lease_seconds=lease_seconds, metadata=metadata
        )
        self._heard_meanwhile: set[UUID] = set()
        self._conduct = Operations(
            self.state,
            self.orders,
            gateway,
            self._memory,
            answer_timeout_seconds=answer_timeout_seconds,
        )
        self._catching_up = CatchingUp(database.journal, self._leadership, self._conduct.catch_up)

    @property
    def positions(self) -> Mapping[str, PortfolioPosition]:
        """Entries that are not closed, by name, as they were stored last."""
        return self._memory.positions

    @property
    def pyramids(self) -> Mapping[str, PyramidingState]:
        """How far the pyramid in each instrument has been built, as it was stored last."""
        return self._memory.pyramids

    @property
    def unfinished(self) -> Mapping[str, PersistenceError]:
        """Why an entry (by name) or an order in doubt (by client_order_id) is not up to date.

        A rollover that waits for the end of a halt is told here. `settle_doubts` tries all of them again, as
        the next start does. Orders the exchange did not answer for are what `settle_doubts` gives.
        """
        return MappingProxyType(self._conduct.unfinished)

    @property
    def certificate(self) -> Certificate | None:
        """What the last recovery found; None before `start`."""
        return self._leadership.certificate

    @property
    def is_trading(self) -> bool:
        """Whether it intends what it is told to, as far as is known here; the database has the last word."""
        return self._leadership.is_trading

    @property
    def lease_lost(self) -> asyncio.Event:
        """Set once another process leads the account. Raises NotTrading before `start`."""
        return self._leadership.lease.lost

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self, *, wait_seconds: float = 0.0) -> Certificate:
        """Lead the account, recover, and finish what was left undone; the certificate of the recovery.

        Where that does not allow trading, the engine leads, takes facts, leaves and protects entries when it
        is told to, and refuses whatever adds risk; mend what is named and `recover` again. While another
        process leads, it is asked again for *wait_seconds*.

        Raises AccountMismatch, LeaseHeld, and what recovery raises; then the lease is given up.
        """
        await check_account(self._database, self._gateway, account_id=self.account_id, mode=self.mode)
        await self._leadership.take(wait_seconds=wait_seconds)
        try:
            return await self.recover()
        except BaseException:
            await self._leadership.give_up()
            raise

    async def recover(self) -> Certificate:
        """Recover under the lease held, and finish what was left undone where that allows trading.

        Also for after CommitUnknown, or when a task was cancelled amid an operation. What is under way ends
        before; what is to be intended meanwhile is refused with NotTrading.
        """
        async with self._leadership.alone() as lease:
            certificate = await self._recover(self._database, account_id=self.account_id, lease=lease)
            await self.state.clear_cache()
            await self._memory.load(self.state)
            self._leadership.certificate = certificate
            if certificate.may_trade:
                await self._conduct.finish()
            else:
                log.error("recovered, and may not trade", extra={"account": self.account_id})
        while self._heard_meanwhile:
            await self._follow(self._heard_meanwhile.pop())
        return certificate

    async def stop(self, *, timeout_seconds: float = 30.0) -> bool:
        """Intend nothing new, wait for what is under way, store the last figures, give up the lease.

        Gives whether everything under way ended within *timeout_seconds*; what did not is an order in doubt,
        which the next start settles. Raises DatabaseUnavailable where the figures could not be stored; what
        was under way has ended before, and the lease is given up.
        """
        try:
            is_drained = await self._leadership.drain(timeout_seconds=timeout_seconds)
            await self._catching_up.end()
            if not self._leadership.lease.lost.is_set():
                await self._conduct.stored(self._store_figures)
        finally:
            await self._leadership.give_up()
        return is_drained

    async def settle_doubts(self) -> Sequence[Order]:
        """Ask the exchange for every order in doubt, and bring every entry up to date; those that still are.

        To be called now and then, and after OrderInDoubt.
        """
        async with self._leadership.intending(adds_risk=False):
            try:
                return await self._conduct.settle_doubts()
            finally:
                self._catching_up.notice()

    async def fill(self, fill: Fill) -> FillOutcome:
        """Take a fill, and let entry, stop and rollover follow; see `ExecutionHandler.fill`.

        Raises OrderInDoubt where the exchange did not answer about what follows: the fill is stored. What a
        halt does not allow to follow waits, see `unfinished`.
        """
        outcome = await self.orders.fill(fill)
        self._catching_up.notice()
        if outcome.order_id is not None:
            await self._follow(outcome.order_id)
        return outcome

    async def status_report(
        self,
        order: OrderName,
        status: OrderStatus,
        *,
        at: datetime | None = None,
        **told: Unpack[StatusTold],
    ) -> ReportOutcome:
        """Take what the exchange says of an order, and let everything follow, as `fill` does."""
        outcome = await self.orders.status_report(order, status, at=at, **told)
        self._catching_up.notice()
        if outcome.stored is not None:
            await self._follow(outcome.stored.id)
        return outcome

    async def _follow(self, order_id: UUID) -> None:
        lease = self._leadership.held
        if lease is None or lease.lost.is_set():
            return  # whoever leads next lets it follow
        if self._leadership.is_recovering:
            self._heard_meanwhile.add(order_id)
            return
        try:
            with self._leadership.busy():
                await self._conduct.heard(order_id)
        except LeaseLost as error:
            log.warning("left to the next to lead", extra={"order": order_id, "error": str(error)})
        except OrderInDoubt:
            raise
        except PersistenceError:
            self._catching_up.fall_behind()
            raise
        finally:
            self._catching_up.notice()

    @asynccontextmanager
    async def _intending(self, *, adds_risk: bool = True) -> AsyncIterator[Lease]:
        """A block that intends something, by all that is known: no fact waits for the database."""
        async with self._leadership.intending(adds_risk=adds_risk) as lease:
            await self._database.journal.caught_up()
            await self._catching_up.now()
            try:
                yield lease
            finally:
                self._catching_up.notice()

    async def _store_figures(self, t: StateTransaction) -> None:
        await self.portfolio.update_peaks(t.uow)
        for state in await t.uow.portfolio_states.of_account(self.account_id):
            await update_figures(t, state.currency)
