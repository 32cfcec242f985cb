"""The portfolio as it stood."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, select

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import given, within
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.timeseries import PortfolioSnapshot


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """Total equity at an instant, in *currency*."""

    timestamp: datetime
    total_equity: Decimal
    currency: str


class PortfolioRepository(BaseRepository[PortfolioSnapshot]):
    """Snapshots: of the whole account, or of one strategy where *strategy_id* is given."""

    model = PortfolioSnapshot

    async def add_once(self, snapshot: PortfolioSnapshot) -> PortfolioSnapshot | None:
        """Store a snapshot; None where there is one of the same account, strategy and instant already."""
        return await self._add_once(
            snapshot,
            [
                PortfolioSnapshot.account_id,
                PortfolioSnapshot.strategy_id,
                PortfolioSnapshot.snapshot_timestamp,
            ],
        )

    @one_statement
    async def latest(
        self,
        *,
        until: datetime | None = None,
        currency: str | None = None,
        strategy_id: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> PortfolioSnapshot | None:
        """The last snapshot, or None; where given, the last in *currency* and not after *until*."""
        found = await self.find_all(
            *_whose(account_id, strategy_id),
            *([] if until is None else [PortfolioSnapshot.snapshot_timestamp <= until]),
            *given((PortfolioSnapshot.currency, currency)),
            order_by=PortfolioSnapshot.snapshot_timestamp.desc(),
            limit=1,
        )
        return found[0] if found else None

    @one_statement
    async def between(
        self,
        start: datetime,
        end: datetime,
        *,
        strategy_id: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Sequence[PortfolioSnapshot]:
        """Snapshots from *start* up to, not including, *end*, oldest first."""
        return await self.find_all(
            *_whose(account_id, strategy_id),
            *within(PortfolioSnapshot.snapshot_timestamp, start, end),
            order_by=PortfolioSnapshot.snapshot_timestamp,
        )

    async def equity_curve(
        self,
        start: datetime,
        end: datetime,
        *,
        strategy_id: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Sequence[EquityPoint]:
        """Equity alone, from *start* up to, not including, *end*, oldest first."""
        statement = (
            select(
                PortfolioSnapshot.snapshot_timestamp,
                PortfolioSnapshot.total_equity,
                PortfolioSnapshot.currency,
            )
            .where(
                *_whose(account_id, strategy_id),
                *within(PortfolioSnapshot.snapshot_timestamp, start, end),
            )
            .order_by(PortfolioSnapshot.snapshot_timestamp)
        )
        return [EquityPoint(*row) for row in await self._session.execute(statement)]


def _whose(account_id: str, strategy_id: str | None) -> list[ColumnElement[bool]]:
    return [PortfolioSnapshot.account_id == account_id, PortfolioSnapshot.strategy_id == strategy_id]
