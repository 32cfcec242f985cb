"""What models foretold."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import given, within
from gal_friday.dal.models.research import Prediction


class PredictionRepository(BaseRepository[Prediction]):
    model = Prediction

    @one_statement
    async def get_by_id(self, prediction_id: UUID) -> Prediction | None:
        """The prediction a signal refers to by this id, or None; `get` needs its time as well."""
        return await self.find_one_by(Prediction.id == prediction_id)

    @one_statement
    async def of_model(self, model_id: UUID, start: datetime, end: datetime) -> Sequence[Prediction]:
        """The model's predictions made from *start* up to, not including, *end*, oldest first."""
        return await self.find_all(
            Prediction.model_id == model_id,
            *within(Prediction.predicted_at, start, end),
            order_by=Prediction.predicted_at,
        )

    @one_statement
    async def get_latest(
        self, trading_pair: str, *, exchange: str | None = None, prediction_target: str | None = None
    ) -> Prediction | None:
        """The last prediction for *trading_pair*, or None."""
        found = await self.find_all(
            Prediction.trading_pair == trading_pair,
            *given((Prediction.exchange, exchange), (Prediction.prediction_target, prediction_target)),
            order_by=Prediction.predicted_at.desc(),
            limit=1,
        )
        return found[0] if found else None
