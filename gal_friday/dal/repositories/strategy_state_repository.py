"""The working state strategies keep."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.strategies import StrategyState


class StrategyStateRepository(BaseRepository[StrategyState]):
    model = StrategyState

    async def get_value(
        self, strategy_id: str, key: str, default: Any = None, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Any:
        """The value last set, or *default*. Decimals, times and ids come back as their exact text."""
        statement = select(StrategyState.value).where(
            StrategyState.account_id == account_id,
            StrategyState.strategy_id == strategy_id,
            StrategyState.key == key,
        )
        found = (await self._session.scalars(statement)).one_or_none()
        return default if found is None else found

    async def set_value(
        self, strategy_id: str, key: str, value: Any, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> None:
        """Keep *value*, whatever stood there before: the last writer wins.

        Raises InvalidReference for an unknown strategy, InvalidValue for what JSON has no form for, and
        ConstraintViolated for None: a state that is not there is deleted.
        """
        statement = insert(StrategyState).values(
            account_id=account_id, strategy_id=strategy_id, key=key, value=value
        )
        await self._stored(
            statement.on_conflict_do_update(
                index_elements=[StrategyState.account_id, StrategyState.strategy_id, StrategyState.key],
                set_={"value": statement.excluded.value},
            )
        )

    async def all_of(self, strategy_id: str, *, account_id: str = DEFAULT_ACCOUNT_ID) -> dict[str, Any]:
        """Every value of the strategy by its key, in the keys' order."""
        statement = (
            select(StrategyState.key, StrategyState.value)
            .where(StrategyState.account_id == account_id, StrategyState.strategy_id == strategy_id)
            .order_by(StrategyState.key)
        )
        return {row.key: row.value for row in await self._session.execute(statement)}
