"""Exits: what is stored of them before the exchange is asked."""

from collections.abc import Sequence
from decimal import Decimal

from gal_friday.dal.detached import detached_copy
from gal_friday.dal.models import (
    EntryStatus,
    Order,
    OrderType,
    PortfolioPosition,
    ProcessingStatus,
    SignalLog,
)
from gal_friday.errors import InvalidValue
from gal_friday.services.live.entries import stored_before
from gal_friday.services.live.following import entry_named
from gal_friday.services.live.orders import (
    ENTRY,
    REASON,
    STEP,
    EntryOrders,
    Step,
    client_id,
    is_working,
    opposite,
    orders_of,
)
from gal_friday.services.live.terms import Intended
from gal_friday.state.state_transaction import StateTransaction

#: As `portfolio_positions.exit_reason`: what no column takes would be found out when it is filled.
_LONGEST_REASON = 64

NOTHING_IS_HELD = "nothing is held"


async def leave(
    t: StateTransaction,
    received: SignalLog,
    *,
    exchange: str,
    reason: str,
    position_id: str | None,
    limit_price: Decimal | None,
    taken_by: str,
) -> Intended:
    """Claim the signal and store an exit order for every entry it closes.

    An entry of which nothing is filled yet has no order here: it is only to be canceled.
    """
    if not 0 < len(reason.strip()) <= _LONGEST_REASON:
        raise InvalidValue("an exit has a reason, of 64 characters at most", reason=reason)
    receipt = await t.log_signal(received)
    entry = receipt.entry
    if not receipt.is_new:
        return await stored_before(t, entry)
    positions, orders = [], []
    for position in await _to_close(t, entry.instrument, position_id):
        known = await orders_of(t.uow, t.account_id, exchange, position.position_id)
        order = leaving_order(
            t,
            known,
            position.position_id,
            step=Step.EXIT,
            which=entry.fingerprint,
            reason=reason,
            limit_price=limit_price,
        )
        if order is not None:
            orders.append(await t.uow.orders.add(order))
        if order is not None or is_working(known.enter):
            positions.append(position)
    entry.processed_by = taken_by
    entry.processing_status = ProcessingStatus.PROCESSED if positions else ProcessingStatus.REJECTED
    entry.rejection_reason = None if positions else NOTHING_IS_HELD
    await t.uow.flush()
    return Intended(
        receipt=entry,
        is_new=True,
        refusal=entry.rejection_reason,
        positions=tuple(positions),
        orders=tuple(orders),
    )


def leaving_order(
    t: StateTransaction,
    known: EntryOrders,
    position_id: str,
    *,
    step: Step,
    which: str | int,
    reason: str,
    limit_price: Decimal | None = None,
) -> Order | None:
    """An order that leaves all of an entry that no other is leaving; None where that is nothing."""
    quantity = known.to_leave
    if not quantity:
        return None
    enter = known.enter
    return Order(
        account_id=t.account_id,
        client_order_id=client_id(t.account_id, position_id, step, which),
        parent_order_id=enter.id,
        strategy_id=enter.strategy_id,
        exchange=enter.exchange,
        trading_pair=enter.trading_pair,
        side=opposite(enter.side),
        order_type=OrderType.MARKET if limit_price is None else OrderType.LIMIT,
        limit_price=limit_price,
        quantity=quantity,
        reduce_only=True,
        extra={ENTRY: position_id, STEP: step, REASON: reason},
    )


async def _to_close(
    t: StateTransaction, instrument: str, position_id: str | None
) -> Sequence[PortfolioPosition]:
    if position_id is not None:
        position = await entry_named(t, position_id)
        return [] if position.status is EntryStatus.CLOSED else [position]
    live = await t.uow.portfolio_positions.get_open_positions(instrument=instrument, account_id=t.account_id)
    return [detached_copy(position) for position in live]
