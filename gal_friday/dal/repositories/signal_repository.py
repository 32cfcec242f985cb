"""Signals and what became of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import given, recent
from gal_friday.dal.models.enums import SignalStatus
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.signals import Signal
from gal_friday.errors import IllegalTransition

SIGNAL_TRANSITIONS: Mapping[SignalStatus, frozenset[SignalStatus]] = MappingProxyType(
    {
        SignalStatus.PROPOSED: frozenset(
            {SignalStatus.APPROVED, SignalStatus.REJECTED, SignalStatus.EXPIRED}
        ),
        SignalStatus.APPROVED: frozenset(
            {SignalStatus.EXECUTED, SignalStatus.REJECTED, SignalStatus.EXPIRED}
        ),
        SignalStatus.REJECTED: frozenset(),
        SignalStatus.EXECUTED: frozenset(),
        SignalStatus.EXPIRED: frozenset(),
    }
)


class SignalRepository(BaseRepository[Signal]):
    model = Signal

    async def claim(self, signal: Signal) -> Signal | None:
        """Store a signal nobody has taken yet; None where its fingerprint is known in the account.

        The claim holds once its transaction commits; others with the same fingerprint wait for that.
        """
        return await self._add_once(signal, [Signal.account_id, Signal.fingerprint])

    @one_statement
    async def get_by_fingerprint(
        self, fingerprint: str, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Signal | None:
        """The signal with this fingerprint, or None."""
        return await self.find_one_by(Signal.account_id == account_id, Signal.fingerprint == fingerprint)

    async def approve(
        self, signal_id: UUID, *, details: dict[str, Any] | None = None, at: datetime | None = None
    ) -> Signal:
        """Mark a proposed signal as approved. Raises as `decide` does."""
        return await self.decide(signal_id, SignalStatus.APPROVED, details=details, at=at)

    async def reject(
        self,
        signal_id: UUID,
        reason: str,
        *,
        details: dict[str, Any] | None = None,
        at: datetime | None = None,
    ) -> Signal:
        """Mark a signal as rejected, saying why. Raises as `decide` does."""
        return await self.decide(signal_id, SignalStatus.REJECTED, reason=reason, details=details, at=at)

    async def mark_executed(self, signal_id: UUID, *, at: datetime | None = None) -> Signal:
        """Mark an approved signal as turned into an order. Raises as `decide` does."""
        return await self.decide(signal_id, SignalStatus.EXECUTED, at=at)

    async def decide(
        self,
        signal_id: UUID,
        status: SignalStatus,
        *,
        reason: str | None = None,
        details: dict[str, Any] | None = None,
        at: datetime | None = None,
    ) -> Signal:
        """Move a signal on to *status*, as of *at* (default: now). A rejection needs a *reason*.

        Raises NotFound, IllegalTransition where the table SIGNAL_TRANSITIONS knows no such step, StaleWrite
        where someone else decided meanwhile.
        """
        signal = await self.one(signal_id)
        allowed = SIGNAL_TRANSITIONS[signal.status]
        if status not in allowed:
            raise IllegalTransition(
                signal=signal_id,
                source=str(signal.status),
                target=str(status),
                allowed=sorted(allowed),
            )
        moment = at or datetime.now(UTC)
        signal.status = SignalStatus(status)
        if status == SignalStatus.EXECUTED:
            signal.executed_at = moment
        else:
            signal.decided_at = moment
        if reason is not None:
            signal.rejection_reason = reason
        if details is not None:
            signal.risk_check_details = details
        return await self.update(signal)

    @one_statement
    async def find_by_status(
        self,
        status: SignalStatus,
        *,
        trading_pair: str | None = None,
        limit: int | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Sequence[Signal]:
        """Signals in this state, oldest first."""
        return await self.find_all(
            Signal.account_id == account_id,
            Signal.status == status,
            *given((Signal.trading_pair, trading_pair)),
            order_by=Signal.created_at,
            limit=limit,
        )

    @one_statement
    async def get_recent_signals(
        self,
        hours: int = 24,
        *,
        strategy_id: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Sequence[Signal]:
        """Signals stored within the last *hours* by the server's clock, newest first."""
        return await self.find_all(
            Signal.account_id == account_id,
            recent(Signal.created_at, hours),
            *given((Signal.strategy_id, strategy_id)),
            order_by=Signal.created_at.desc(),
        )
