"""What must hold before anything is traded: of what is open now, not of all history (`gal-friday verify`)."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar

from sqlalchemy import and_, case, func, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.models import (
    WORKING_ORDER_STATUSES,
    CashFlow,
    Fill,
    Order,
    PortfolioState,
    Position,
    PositionSide,
)
from gal_friday.dal.models.types import dumps
from gal_friday.money import ZERO, canonical

Findings = Sequence[Mapping[str, Any]]

#: Findings a certificate names; the rest are counted.
FINDINGS_NAMED = 20


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that was checked, and each case in which it does not hold."""

    name: str
    findings: Findings

    @property
    def holds(self) -> bool:
        """Whether nothing was found against it."""
        return not self.findings

    @property
    def checksum(self) -> str:
        """Tells whether the findings are the same as at another time."""
        return hashlib.sha256(dumps(list(map(dict, self.findings))).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """As it stands in a certificate."""
        return {
            "name": self.name,
            "checked": True,
            "holds": self.holds,
            "number": len(self.findings),
            "findings": [dict(finding) for finding in self.findings[:FINDINGS_NAMED]],
            "checksum": self.checksum,
        }


@dataclass(frozen=True, slots=True)
class Unchecked:
    """An invariant that failed at the last recovery and was not checked at this one: it is taken to fail."""

    stored: Mapping[str, Any]
    holds: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The invariant's."""
        return str(self.stored["name"])

    @property
    def checksum(self) -> str:
        """That of the findings of then."""
        return str(self.stored["checksum"])

    def as_json(self) -> dict[str, Any]:
        """As it stands in a certificate, with the findings of then."""
        return {**self.stored, "checked": False}


async def positions_follow_from_fills(session: AsyncSession, account_id: str) -> Findings:
    """Open positions whose quantity is not the sum of what their fills changed it by."""
    applied = (
        select(
            func.coalesce(func.sum(Fill.net_quantity), ZERO).label("net"),
            func.coalesce(func.max(Fill.applied_seq), 0).label("sequence"),
        )
        .where(Fill.position_id == Position.id)
        .lateral()
    )
    signed = case((Position.side == PositionSide.LONG, Position.quantity), else_=-Position.quantity)
    statement = (
        select(Position.id, signed.label("stored"), applied.c.net)
        .select_from(Position)
        .join(applied, applied.c.sequence >= 0)
        .where(
            Position.account_id == account_id,
            Position.closed_at.is_(None),
            or_(signed != applied.c.net, Position.last_applied_seq < applied.c.sequence),
        )
        .order_by(Position.id)
    )
    return [
        {"position": str(row.id), "stored": _plain(row.stored), "fills": _plain(row.net)}
        for row in await session.execute(statement)
    ]


async def orders_follow_from_fills(session: AsyncSession, account_id: str) -> Findings:
    """Working orders whose filled quantity is not the sum of their fills."""
    filled = (
        select(func.coalesce(func.sum(Fill.quantity_filled), ZERO).label("filled"))
        .where(Fill.order_id == Order.id, Fill.applied_seq.is_not(None))
        .lateral()
    )
    statement = (
        select(Order.id, Order.filled_quantity, filled.c.filled)
        .select_from(Order)
        .join(filled, filled.c.filled >= ZERO)
        .where(
            Order.account_id == account_id,
            Order.status.in_(WORKING_ORDER_STATUSES),
            Order.filled_quantity != filled.c.filled,
        )
        .order_by(Order.id)
    )
    return [
        {"order": str(row.id), "stored": _plain(row.filled_quantity), "fills": _plain(row.filled)}
        for row in await session.execute(statement)
    ]


async def equity_follows_from_flows(session: AsyncSession, account_id: str) -> Findings:
    """Currencies whose closed equity is not cash flows plus realised profit less commission."""
    gain = func.coalesce(Fill.realized_pnl, ZERO) - func.coalesce(Fill.commission_quote, ZERO)
    is_applied = and_(Fill.account_id == account_id, Fill.applied_seq.is_not(None))
    movements = union_all(
        select(CashFlow.currency, func.sum(CashFlow.amount).label("amount"))
        .where(CashFlow.account_id == account_id)
        .group_by(CashFlow.currency),
        select(Fill.quote_currency, func.sum(gain)).where(is_applied).group_by(Fill.quote_currency),
        select(Fill.commission_asset, -func.sum(Fill.commission))
        .where(is_applied, Fill.commission_quote.is_(None))
        .group_by(Fill.commission_asset),
    ).subquery()
    rebuilt = (
        select(movements.c.currency, func.sum(movements.c.amount).label("amount"))
        .group_by(movements.c.currency)
        .subquery()
    )
    stored = (
        select(PortfolioState.currency, PortfolioState.closed_equity)
        .where(PortfolioState.account_id == account_id)
        .subquery()
    )
    currency = func.coalesce(stored.c.currency, rebuilt.c.currency).label("currency")
    there, here = func.coalesce(stored.c.closed_equity, ZERO), func.coalesce(rebuilt.c.amount, ZERO)
    statement = (
        select(currency, there.label("stored"), here.label("rebuilt"))
        .select_from(stored.outerjoin(rebuilt, stored.c.currency == rebuilt.c.currency, full=True))
        .where(there != here)
        .order_by(currency)
    )
    return [
        {"currency": row.currency, "stored": _plain(row.stored), "rebuilt": _plain(row.rebuilt)}
        for row in await session.execute(statement)
    ]


#: By the names an operator overrides them by.
CHECKS: Mapping[str, Callable[[AsyncSession, str], Awaitable[Findings]]] = MappingProxyType(
    {
        "positions": positions_follow_from_fills,
        "orders": orders_follow_from_fills,
        "equity": equity_follows_from_flows,
    }
)


def _plain(amount: Decimal) -> str:
    return f"{canonical(amount):f}"
