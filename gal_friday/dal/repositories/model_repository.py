"""Trained models."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, update

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.enums import ModelStage
from gal_friday.dal.models.research import MachineLearningModel


class ModelRepository(BaseRepository[MachineLearningModel]):
    model = MachineLearningModel

    @one_statement
    async def get_production(self, model_name: str) -> MachineLearningModel | None:
        """The version in production, or None."""
        return await self.find_one_by(
            MachineLearningModel.model_name == model_name,
            MachineLearningModel.stage == ModelStage.PRODUCTION,
        )

    async def get_latest(self, model_name: str) -> MachineLearningModel | None:
        """The version stored last, whatever its stage, or None."""
        found = await self.get_versions(model_name)
        return found[0] if found else None

    @one_statement
    async def get_versions(self, model_name: str) -> Sequence[MachineLearningModel]:
        """Every version of the model, the one stored last first."""
        return await self.find_all(
            MachineLearningModel.model_name == model_name, order_by=MachineLearningModel.created_at.desc()
        )

    async def promote(self, model_id: UUID) -> MachineLearningModel:
        """Put a version into production and archive the one that was.

        Of several promotions at once the last one stands. Raises NotFound.
        """
        name = MachineLearningModel.model_name == (await self.one(model_id)).model_name
        key, stage = MachineLearningModel.id, MachineLearningModel.stage
        # Every version is locked, always in one order, so that promotions take turns.
        await self._session.execute(select(key).where(name).order_by(key).with_for_update())
        in_production = update(MachineLearningModel).where(
            name, stage == ModelStage.PRODUCTION, key != model_id
        )
        await self._stored(in_production.values(stage=ModelStage.ARCHIVED))
        promoted = update(MachineLearningModel).where(key == model_id)
        return (await self._stored(promoted.values(stage=ModelStage.PRODUCTION))).one()
