"""Rebuilding a position in the order its fills happened in, where they were applied in another."""

import logging
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.models import CashFlow, CashFlowKind, EventLog, Fill, Position
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import BooksDiffer, NotFound
from gal_friday.money import canonical, exact
from gal_friday.state.books import PositionBook
from gal_friday.state.differences import shown
from gal_friday.state.ledger import adjustments, fills_applied, fills_in_venue_order, merged
from gal_friday.state.position_check import PositionCheck

VENUE_ORDER = "recomputed in the order its fills happened in"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """What rebuilding a position came to.

    Profit and loss is before commission, in *currency*: `realized_before` as it was in the books,
    `realized_after` as it is with the fills in the order they happened in. `adjustment` is the difference as
    it was booked; None where there was none.
    """

    position_id: UUID
    currency: str
    fills: int
    realized_before: Decimal
    realized_after: Decimal
    adjustment: CashFlow | None


async def rebuild(uow: UnitOfWork, position_id: UUID, *, reason: str = VENUE_ORDER) -> Rebuilding:
    """Compute a position anew with its fills in the order they happened in, and book the difference.

    That order is the exchange's: `filled_at`, then the order they were applied in. What was realised differs
    by an adjustment, which is numbered among the fills: it moves closed equity, and what is still open costs
    as much more (of a short position, less). Fills, trades and earlier adjustments stay as they are. A second
    rebuild finds no difference.

    The position is locked, then the equity of its account. Raises NotFound, LockTimeout, and BooksDiffer
    where the position is not what its fills and adjustments lead to: then nothing is known to start from.
    """
    await uow.flush()
    session = uow.session
    position = await session.get(
        Position, position_id, with_for_update={"key_share": True}, populate_existing=True
    )
    if position is None:
        raise NotFound(table=Position.__tablename__, key=position_id)
    book = await _book_as_applied(session, position)
    venue = await _book_in_venue_order(session, position_id)
    before = book.realized_pnl
    with exact():
        difference = venue.realized_pnl - before
    adjustment = await _adjust(uow, position, book, difference, reason) if difference else None
    return Rebuilding(
        position_id=position_id,
        currency=position.quote_currency,
        fills=venue.last_applied_seq,
        realized_before=before,
        realized_after=venue.realized_pnl,
        adjustment=adjustment,
    )


async def _book_as_applied(session: AsyncSession, position: Position) -> PositionBook:
    """The book of what was applied, adjustments included; raises BooksDiffer where *position* is another."""
    check = PositionCheck(position)
    fills = fills_applied(session, Fill.position_id == position.id)
    corrections = adjustments(session, CashFlow.position_id == position.id)
    async with aclosing(fills), aclosing(corrections):
        async for entry in merged(fills, corrections):
            check.take(entry)
    differences = list(check.differences())
    if differences:
        first = differences[0]
        raise BooksDiffer(
            "a position is rebuilt from where its fills have led to",
            position=position.id,
            differences=len(differences),
            first=f"{first.table}.{first.column}",
            stored=shown(first.stored),
            rebuilt=shown(first.rebuilt),
        )
    return check.book


async def _book_in_venue_order(session: AsyncSession, position_id: UUID) -> PositionBook:
    book = PositionBook()
    async with aclosing(fills_in_venue_order(session, position_id)) as fills:
        async for fill in fills:
            book.apply(fill)
    return book


async def _adjust(
    uow: UnitOfWork, position: Position, book: PositionBook, amount: Decimal, reason: str
) -> CashFlow:
    """Book *amount* as the next entry of *position*, whose *book* is as it is stored."""
    book.adjust(amount)
    adjustment = CashFlow(
        account_id=position.account_id,
        currency=position.quote_currency,
        amount=amount,
        kind=CashFlowKind.ADJUSTMENT,
        position_id=position.id,
        applied_seq=book.last_applied_seq,
        reason=reason,
        occurred_at=datetime.now(UTC),
    )
    for column in ("realized_pnl", "cost", "entry_price", "last_applied_seq"):
        setattr(position, column, getattr(book, column))
    uow.session.add(_event_of(adjustment))
    await uow.cash_flows.add(adjustment)
    log.info("position adjusted", extra={"position": position.id, "amount": amount, "reason": reason})
    return adjustment


def _event_of(adjustment: CashFlow) -> EventLog:
    return EventLog(
        account_id=adjustment.account_id,
        stream=f"position-{adjustment.position_id}",
        stream_version=adjustment.applied_seq,
        event_type="PositionAdjusted",
        payload={
            "cash_flow": str(adjustment.id),
            "amount": f"{canonical(adjustment.amount):f}",
            "currency": adjustment.currency,
            "reason": adjustment.reason,
        },
        occurred_at=adjustment.occurred_at,
    )
