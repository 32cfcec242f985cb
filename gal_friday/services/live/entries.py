"""Base entries and pyramids: what is stored of them before the exchange is asked."""

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import func, select

from gal_friday.dal.detached import column_values, detached_copy
from gal_friday.dal.models import (
    Account,
    EntryStatus,
    EntryType,
    Instrument,
    Order,
    OrderType,
    PortfolioPosition,
    ProcessingStatus,
    PyramidingState,
    Signal,
    SignalLog,
)
from gal_friday.errors import InvalidValue
from gal_friday.money import ZERO
from gal_friday.services.live.orders import ENTRY, STEP, Step, client_id
from gal_friday.services.live.terms import EntryTerms, Intended
from gal_friday.services.risk.statements import ALLOWING
from gal_friday.services.risk_manager import RiskManager
from gal_friday.state.state_transaction import StateTransaction

#: Kept out of a signal that is stored: each try makes a row of its own.
_NOT_THE_SIGNALS = frozenset({"id", "created_at", "updated_at", "row_version", "account_id", "fingerprint"})


@dataclass(frozen=True, slots=True)
class Entering:
    """An entry that is asked for: a pyramid stands on the base that is open, a base on nothing."""

    received: SignalLog
    signal: Signal
    terms: EntryTerms
    is_base: bool
    exchange: str
    taken_by: str

    @property
    def price(self) -> Decimal:
        """What it is judged by. Raises InvalidValue where nothing says so."""
        for price in (
            self.terms.reference_price,
            self.signal.proposed_entry_price,
            self.received.price,
        ):
            if price is not None:
                return price
        raise InvalidValue("an entry is judged by a price", instrument=self.received.instrument)


async def enter(t: StateTransaction, asked: Entering, risk: RiskManager) -> Intended:
    """Claim the signal, decide on it, and store entry, pyramid and order; or what was stored of it before."""
    receipt = await t.log_signal(asked.received)
    entry = receipt.entry
    if not receipt.is_new:
        return await stored_before(t, entry)
    if asked.signal.exchange != asked.exchange:
        raise InvalidValue("a signal for another exchange", exchange=asked.signal.exchange)
    given = {
        name: value for name, value in column_values(asked.signal).items() if name not in _NOT_THE_SIGNALS
    }
    signal = await t.uow.signals.add(Signal(account_id=t.account_id, fingerprint=entry.fingerprint, **given))
    pyramid = await _pyramid_of(t, entry.instrument)
    refusal = await _refusal(t, pyramid, is_base=asked.is_base)
    if refusal is not None:
        await t.uow.signals.reject(signal.id, refusal)
        return await _taken(t, asked, Intended(receipt=entry, is_new=True, refusal=refusal, signal=signal))
    decision = await risk.decide(
        t.uow, signal, requested_quantity=asked.terms.quantity, reference_price=asked.price
    )
    if decision.decision not in ALLOWING:
        return await _taken(
            t,
            asked,
            Intended(receipt=entry, is_new=True, refusal=decision.reason, signal=signal, decision=decision),
        )
    await t.uow.signals.mark_executed(signal.id)
    position = await _position(t, asked, entry)
    order = await t.uow.orders.add(_order(t, signal, position.position_id, decision.approved_quantity))
    await t.save_position(position)
    if asked.is_base:
        pyramid.base_position_id, pyramid.pyramid_count = position.position_id, 0
    else:
        pyramid.pyramid_count += 1
    pyramid.last_pyramid_price = position.entry_price
    await t.save_pyramiding_state(pyramid)
    outcome = Intended(
        receipt=entry,
        is_new=True,
        signal=signal,
        decision=decision,
        pyramid=pyramid,
        positions=(position,),
        orders=(order,),
    )
    return await _taken(t, asked, outcome)


async def stored_before(t: StateTransaction, entry: SignalLog) -> Intended:
    """What a signal that had arrived before led to."""
    signal = None if entry.signal_id is None else await t.uow.signals.get(entry.signal_id)
    decisions = [] if signal is None else await t.uow.risk_decisions.of_signal(signal.id)
    orders = [] if signal is None else await t.uow.orders.get_orders_by_signal(signal.id)
    names = (order.extra.get(ENTRY) for order in orders)
    found = [await t.get_position(name) for name in names if name is not None]
    return Intended(
        receipt=entry,
        is_new=False,
        refusal=entry.rejection_reason,
        signal=signal,
        decision=decisions[-1] if decisions else None,
        positions=tuple(position for position in found if position is not None),
        orders=tuple(orders),
    )


async def _taken(t: StateTransaction, asked: Entering, outcome: Intended) -> Intended:
    """Enter into the ledger what became of the signal."""
    entry, refusal = outcome.receipt, outcome.refusal
    entry.signal_id = outcome.signal.id if outcome.signal else None
    entry.processed_by = asked.taken_by
    entry.processing_status = ProcessingStatus.REJECTED if refusal else ProcessingStatus.PROCESSED
    entry.rejection_reason = refusal
    await t.uow.flush()
    return outcome


async def _pyramid_of(t: StateTransaction, instrument: str) -> PyramidingState:
    row = await t.uow.pyramiding_states.get((t.account_id, instrument))
    if row is not None:
        return detached_copy(row)
    return PyramidingState(instrument=instrument, pyramid_count=0)


async def _refusal(t: StateTransaction, pyramid: PyramidingState, *, is_base: bool) -> str | None:
    """Why there can be no such entry now."""
    base = None
    if pyramid.base_position_id is not None:
        base = await t.get_position(pyramid.base_position_id)
    is_open = base is not None and base.status is not EntryStatus.CLOSED
    if is_base:
        return "a base entry is open already" if is_open else None
    if base is None or not is_open:
        return "no base entry is open"
    return None if base.quantity > 0 else "the base entry is not filled yet"


async def _position(t: StateTransaction, asked: Entering, entry: SignalLog) -> PortfolioPosition:
    """The entry as it is before anything is filled: nothing is held."""
    pair = asked.signal.trading_pair
    currency = await t.uow.session.scalar(
        select(
            func.coalesce(
                select(Instrument.quote_currency)
                .where(Instrument.exchange == asked.exchange, Instrument.trading_pair == pair)
                .scalar_subquery(),
                func.nullif(func.split_part(pair, "/", 2), ""),
                Account.reporting_currency,
            )
        ).where(Account.account_id == t.account_id)
    )
    return PortfolioPosition(
        position_id=asked.terms.position_id or f"{entry.instrument}-{entry.fingerprint[:16]}",
        strategy_id=asked.signal.strategy_id,
        instrument=entry.instrument,
        currency=currency,
        is_base_position=asked.is_base,
        entry_timestamp=entry.signal_timestamp,
        entry_price=asked.price,
        lots=0,
        quantity=ZERO,
        initial_stop=asked.terms.stop,
        current_stop=asked.terms.stop,
        atr=asked.terms.atr,
        limiter=asked.terms.limiter,
        expiry=asked.terms.expiry,
    )


def _order(t: StateTransaction, signal: Signal, position_id: str, quantity: Decimal | None) -> Order:
    is_limit = signal.entry_type is EntryType.LIMIT
    return Order(
        account_id=t.account_id,
        client_order_id=client_id(t.account_id, position_id, Step.ENTER),
        signal_id=signal.id,
        strategy_id=signal.strategy_id,
        exchange=signal.exchange,
        trading_pair=signal.trading_pair,
        side=signal.side,
        order_type=OrderType.LIMIT if is_limit else OrderType.MARKET,
        quantity=quantity,
        limit_price=signal.proposed_entry_price if is_limit else None,
        extra={ENTRY: position_id, STEP: Step.ENTER},
    )
