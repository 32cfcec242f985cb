"""RiskManager: decides on signals, against the state the database has at that moment."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypeVar
from uuid import UUID

from gal_friday.dal.models.enums import RiskVerdict, SignalStatus
from gal_friday.dal.models.signals import RiskDecision, Signal
from gal_friday.dal.models.types import Money
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import IllegalTransition, InvalidValue, NotFound
from gal_friday.services.risk.checks import Check
from gal_friday.services.risk.reading import lock_account, read_account
from gal_friday.services.risk.statements import ALLOWING
from gal_friday.services.risk.verdict import judge

T = TypeVar("T")

_MONEY = Money()

#: What became of a signal, and the decisions that led there.
_DECISIONS_BEHIND = {
    SignalStatus.APPROVED: ALLOWING,
    SignalStatus.EXECUTED: ALLOWING,
    SignalStatus.REJECTED: (RiskVerdict.REJECTED, RiskVerdict.HALTED),
}


class Retrying(Protocol):
    """What can run a unit of work again: a `Database`, or its pool."""

    async def retrying(
        self, work: Callable[[UnitOfWork], Awaitable[T]], *, actor: str | None = None, attempts: int = 20
    ) -> T: ...


class RiskManager:
    """Decides whether a signal may become an order, and how large.

    The limits of `risk_limits` are checked against what the database holds, in the transaction of the order
    that follows: open positions, working orders, and approved signals that are no order yet. Decisions in one
    account are made one after the other, so that signals which each keep within a limit cannot together pass
    it. docs/risk.md says how each limit is counted.
    """

    def __init__(self, *, extra_checks: Sequence[Check] = (), decided_by: str = "risk-manager") -> None:
        """*extra_checks* are made after those of the limits, and recorded with them."""
        self._extra_checks = tuple(extra_checks)
        self._decided_by = decided_by

    async def decide(
        self,
        uow: UnitOfWork,
        signal: Signal | UUID,
        *,
        requested_quantity: Decimal,
        reference_price: Decimal | None = None,
        at: datetime | None = None,
        config_hash: str | None = None,
    ) -> RiskDecision:
        """The decision on a proposed signal, stored with all its checks, and the signal moved on with it.

        *requested_quantity* is in contracts (base units, unless the instrument has a multiplier) and
        *reference_price* what one base unit would cost now, in quote currency: the signal's proposed entry
        price unless given. *at* is when the decision is made, and tells the day its losses are counted from
        (default: now, by the server's clock); *config_hash* the configuration it is made under (default: the
        active one).

        A signal that was decided already keeps its decision, which is given back: asking again after
        CommitUnknown is safe. Other decisions in the account wait until this transaction ends; decide before
        touching orders, positions or the portfolio state in it, which are locked after the account.

        Raises NotFound, InvalidValue, LockTimeout, StaleWrite where someone else moved the signal meanwhile,
        and IllegalTransition for a signal that expired, or was approved or rejected without a decision.
        """
        signal_id = signal if isinstance(signal, UUID) else signal.id
        await uow.flush()
        account = await lock_account(uow.session, signal_id)
        if account is None:
            raise NotFound(table=Signal.__tablename__, key=signal_id)
        reading = await read_account(uow.session, signal_id, at=at)
        proposed = reading.signal
        if proposed.status is not SignalStatus.PROPOSED:
            return await _stored_decision(uow, proposed)
        price = proposed.proposed_entry_price if reference_price is None else reference_price
        situation = reading.situation(
            quantity=_positive("requested_quantity", requested_quantity),
            price=_positive("reference_price", price),
        )
        verdict = judge(situation, self._extra_checks)
        checks = [result.as_json() for result in verdict.checks]
        decision = RiskDecision(
            account_id=account.account_id,
            signal_id=signal_id,
            decision=verdict.decision,
            rule=verdict.rule,
            reason=verdict.reason,
            requested_quantity=situation.quantity,
            approved_quantity=verdict.quantity,
            checks=checks,
            limits=situation.limits_as_json(),
            portfolio=situation.as_json(),
            config_hash=config_hash or reading.config_hash,
            decided_by=self._decided_by,
            decided_at=situation.decided_at,
        )
        uow.session.add(decision)
        details = {"checks": checks}
        if verdict.decision in ALLOWING:
            await uow.signals.approve(signal_id, details=details, at=situation.decided_at)
        else:
            assert verdict.reason is not None, "a refusal has a reason"
            await uow.signals.reject(signal_id, verdict.reason, details=details, at=situation.decided_at)
        return decision

    async def decide_and_commit(
        self,
        database: Retrying,
        signal: Signal | UUID,
        *,
        requested_quantity: Decimal,
        reference_price: Decimal | None = None,
        at: datetime | None = None,
        config_hash: str | None = None,
        actor: str | None = None,
    ) -> RiskDecision:
        """As `decide`, in a transaction of its own, which is tried again when another got in its way."""
        signal_id = signal if isinstance(signal, UUID) else signal.id

        async def work(uow: UnitOfWork) -> RiskDecision:
            return await self.decide(
                uow,
                signal_id,
                requested_quantity=requested_quantity,
                reference_price=reference_price,
                at=at,
                config_hash=config_hash,
            )

        return await database.retrying(work, actor=actor)


async def _stored_decision(uow: UnitOfWork, signal: Signal) -> RiskDecision:
    behind = _DECISIONS_BEHIND.get(signal.status, ())
    made = [each for each in await uow.risk_decisions.of_signal(signal.id) if each.decision in behind]
    if not made:
        raise IllegalTransition(
            "only a proposed signal is decided on", signal=signal.id, source=signal.status.value
        )
    return made[-1]


def _positive(name: str, value: Decimal | None) -> Decimal:
    if value is None:
        raise InvalidValue("a signal without a price needs one to be judged by", name=name)
    accepted = _MONEY.accept(value)
    if accepted <= 0:
        raise InvalidValue("not above zero", name=name, value=value)
    return accepted
