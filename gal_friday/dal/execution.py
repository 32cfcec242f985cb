"""Applying fills: what the exchange says was executed takes effect on the books once.

The work is done by the server, in `apply_fills` of the migrations' `sql/`: it locks the order, its position
and the account's equity, in this order, and moves all of them with the fill, or none.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, inspect, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeDecorator

from gal_friday.dal.error_translation import translate_orm_errors
from gal_friday.dal.models import (
    DEFAULT_ACCOUNT_ID,
    Fill,
    Order,
    OrderStatus,
    PortfolioState,
    Position,
    Trade,
    new_id,
)
from gal_friday.dal.models.types import DIALECT, Json, dumps
from gal_friday.errors import InvalidValue

APPLY_FILLS = text("SELECT * FROM apply_fills(CAST(CAST(:reports AS text) AS jsonb), :actor, :application)")

log = logging.getLogger(__name__)


class FillResult(StrEnum):
    """What became of a fill."""

    APPLIED = "APPLIED"
    DUPLICATE = "DUPLICATE"
    UNMATCHED = "UNMATCHED"
    REJECTED = "REJECTED"
    JOURNALED = "JOURNALED"


@dataclass(frozen=True, slots=True)
class FillOutcome:
    """What became of a fill, and what it did; of a DUPLICATE what it did when it was applied.

    `fill` is the id of the stored row. `realized_pnl` is exact, before commission, in quote currency; None
    where the fill closed nothing. Of a JOURNALED one nothing is known yet. `reason` says why it was REJECTED,
    or in what a DUPLICATE differs from the fill stored.
    """

    result: FillResult
    fill: UUID | None = None
    order_id: UUID | None = None
    position_id: UUID | None = None
    trade_id: UUID | None = None
    applied_seq: int | None = None
    realized_pnl: Decimal | None = None
    order_status: OrderStatus | None = None
    reason: str | None = None


class Execution:
    """Fills taken in the transaction of a session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def apply_fill(self, fill: Fill, *, actor: str | None = None) -> FillOutcome:
        """Let *fill* take effect on its order, position, trade and equity, once, however often it comes.

        *fill* is what the exchange said, as a `Fill` that is not stored: its `exchange`, `trading_pair`,
        `side`, `quantity_filled`, `fill_price` and `filled_at`; the order by `order_id`, `exchange_order_id`
        or `client_order_id`, whichever is known; `fill_id`, or none where the venue has none and then
        `cumulative_quantity` if it says that. `commission` in `commission_asset` where there is one.
        *actor* goes on record with it (default: the transaction's, else the login role).

        - APPLIED: it was new.
        - DUPLICATE: it is stored; under another id, this one was put on record.
        - UNMATCHED: no such order; kept, and applied in the transaction that stores the order.
        - REJECTED: it makes no sense, `reason` says why; nothing was stored.

        Raises InvalidValue for what no column can hold, InvalidReference for an unknown account, and
        TransactionConflict or LockTimeout where others were in the way.
        """
        return (await self.apply_fills([fill], actor=actor))[0]

    async def apply_fills(self, fills: Sequence[Fill], *, actor: str | None = None) -> Sequence[FillOutcome]:
        """Let *fills* take effect one after the other, in the order given; as `apply_fill`, all or none.

        Of fills without id that are alike in everything, each one in *fills* is a fill of its own.
        """
        with translate_orm_errors():
            await self._session.flush()
        result = await self._session.execute(
            APPLY_FILLS, {"reports": reports_of(fills), "actor": actor, "application": None}
        )
        outcomes = outcomes_of(result.mappings().all())
        await self._reload(outcomes)
        return outcomes

    async def _reload(self, outcomes: Sequence[FillOutcome]) -> None:
        """What the session has of the rows that were changed is read anew."""
        changed = {
            key
            for outcome in outcomes
            for key in (outcome.order_id, outcome.position_id, outcome.trade_id)
            if key is not None
        }
        for entity in list(self._session.identity_map.values()):
            if isinstance(entity, PortfolioState) or (
                isinstance(entity, Order | Position | Trade) and entity.id in changed
            ):
                await self._session.refresh(entity)


def reports_of(fills: Sequence[Fill]) -> str:
    """*fills* as the server function takes them. Raises InvalidValue."""
    alike: Counter[tuple[object, ...]] = Counter()
    reports = []
    for fill in fills:
        report = _report_of(fill)
        if "fill_id" not in report and "cumulative_quantity" not in report:
            likeness = tuple(report.get(name) for name in _LIKENESS)
            alike[likeness] += 1
            report["ordinal"] = alike[likeness]
        report["id"] = new_id()  # one report may be given for several fills
        reports.append(report)
    return dumps(Json("array").process_bind_param(reports, DIALECT))


_LIKENESS = (
    *("account_id", "exchange", "order_id", "exchange_order_id", "client_order_id"),
    *("side", "quantity_filled", "fill_price", "filled_at"),
)


def _report_of(fill: Fill) -> dict[str, Any]:
    report: dict[str, Any] = {"account_id": DEFAULT_ACCOUNT_ID}
    for attribute in inspect(Fill).column_attrs:
        value = fill.__dict__.get(attribute.key)
        if value is not None:
            column = attribute.columns[0]
            assert isinstance(column.type, TypeDecorator)
            try:
                report[column.name] = column.type.process_bind_param(value, DIALECT)
            except InvalidValue as error:
                place = {"table": Fill.__tablename__, "column": column.name}
                raise InvalidValue(error.explanation, **{**error.facts, **place}) from None
    return report


def outcomes_of(rows: Sequence[RowMapping]) -> Sequence[FillOutcome]:
    """The server's answers; those that want attention are logged."""
    outcomes = []
    for row in rows:
        status = row["order_status"]
        outcome = FillOutcome(
            **{
                **row,
                "result": FillResult(row["result"]),
                "order_status": status and OrderStatus(status),
            }
        )
        if outcome.reason is not None:
            log.warning(
                "fill not as it should be",
                extra={
                    "result": outcome.result.value,
                    "order": outcome.order_id,
                    "reason": outcome.reason,
                },
            )
        outcomes.append(outcome)
    return outcomes
