"""Daily performance of strategies."""

from collections.abc import Sequence
from datetime import date

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.research import StrategyMetric


class StrategyMetricRepository(BaseRepository[StrategyMetric]):
    model = StrategyMetric

    async def store(self, metric: StrategyMetric) -> None:
        """Store a day's figures, replacing those computed for the day before now."""
        await self.upsert_many([metric], conflict=[StrategyMetric.strategy_id, StrategyMetric.date])

    @one_statement
    async def between(self, strategy_id: str, first: date, last: date) -> Sequence[StrategyMetric]:
        """The strategy's days from *first* to *last*, both included, in their order."""
        return await self.find_all(
            StrategyMetric.strategy_id == strategy_id,
            StrategyMetric.date >= first,
            StrategyMetric.date <= last,
            order_by=StrategyMetric.date,
        )
