"""Settings of the running system."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from gal_friday.dal.base import BaseRepository, UpsertCounts, one_statement
from gal_friday.dal.criteria import Ordering
from gal_friday.dal.models.enums import ConfigDataType
from gal_friday.dal.models.system import SystemConfig
from gal_friday.errors import InvalidValue

_PLAIN_TEXT = "a sensitive setting is not stored: it would lie there as plain text"


class SystemConfigRepository(BaseRepository[SystemConfig]):
    model = SystemConfig

    async def get_value(self, key: str, default: Any = None) -> Any:
        """The setting as it was set, or *default*."""
        found = (
            await self._session.scalars(select(SystemConfig.value).where(SystemConfig.key == key))
        ).one_or_none()
        return default if found is None else found

    async def set_value(
        self,
        key: str,
        value: Any,
        *,
        description: str | None = None,
        category: str | None = None,
        updated_by: str | None = None,
        is_sensitive: bool = False,
    ) -> SystemConfig:
        """Keep a setting: text, a number, True or False, a dict or a list. The last writer wins.

        A setting keeps its type, and its description and category unless others are given. Raises
        InvalidValue for a value of another type than the setting's, for None, for a Decimal (JSON gives
        numbers back as floats: store its text), and for *is_sensitive*.
        """
        data_type = _data_type(key, value)
        if is_sensitive:
            raise InvalidValue(_PLAIN_TEXT, key=key)
        given = {"description": description, "category": category, "updated_by": updated_by}
        values = {name: text for name, text in given.items() if text is not None}
        statement = insert(SystemConfig).values(key=key, value=value, data_type=data_type, **values)
        stored = await self._stored(
            statement.on_conflict_do_update(
                index_elements=[SystemConfig.key],
                set_={"value": statement.excluded.value, **values},
                where=(SystemConfig.data_type == data_type) & ~SystemConfig.is_sensitive,
            )
        )
        setting = stored.one_or_none()
        if setting is None:
            existing = await self.one(key)
            if existing.is_sensitive:
                raise InvalidValue(_PLAIN_TEXT, key=key)
            raise InvalidValue(
                "the setting is of another type",
                key=key,
                given=data_type.value,
                kept=existing.data_type.value,
            )
        return setting

    async def upsert_many(
        self,
        entities: Iterable[SystemConfig],
        *,
        conflict: Sequence[Ordering] | None = None,
        update: Sequence[Ordering] | None = None,
    ) -> UpsertCounts:
        """As of any repository; raises InvalidValue for a sensitive setting."""
        settings = list(entities)
        for setting in settings:
            if setting.is_sensitive:
                raise InvalidValue(_PLAIN_TEXT, key=setting.key)
        return await super().upsert_many(settings, conflict=conflict, update=update)

    @one_statement
    async def in_category(self, category: str) -> Sequence[SystemConfig]:
        """The settings of a category, by key."""
        return await self.find_all(SystemConfig.category == category, order_by=SystemConfig.key)


def _data_type(key: str, value: object) -> ConfigDataType:
    match value:
        case bool():
            return ConfigDataType.BOOLEAN
        case str():
            return ConfigDataType.STRING
        case int() | float():
            return ConfigDataType.NUMBER
        case dict():
            return ConfigDataType.OBJECT
        case list() | tuple():
            return ConfigDataType.ARRAY
        case _:
            raise InvalidValue(f"a {type(value).__name__} is no setting", key=key)
