"""Processes of the bot."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.enums import RUNNING_INSTANCE_STATUSES, InstanceStatus
from gal_friday.dal.models.instances import Instance
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.system import SchemaRevision
from gal_friday.errors import NotFound


class InstanceRepository(BaseRepository[Instance]):
    model = Instance

    async def register(self, instance_id: str, **values: Any) -> None:
        """Store that a process has started, and the schema it found, once. Raises InvalidReference."""
        found = {"instance_id": instance_id, "schema_revision": await self.schema_revision()}
        await self._stored(insert(Instance).values(**found, **values).on_conflict_do_nothing())

    async def schema_revision(self) -> str:
        """The revision the database is at, by the migrations' own record."""
        newest = select(SchemaRevision.revision).order_by(
            SchemaRevision.applied_at.desc(), SchemaRevision.revision.desc()
        )
        return str((await self._session.scalars(newest.limit(1))).one())

    async def heartbeat(
        self, instance_id: str, *, status: InstanceStatus = InstanceStatus.ACTIVE
    ) -> Instance:
        """Note that the process is alive, by the server's clock. Raises NotFound."""
        statement = (
            update(Instance)
            .where(Instance.instance_id == instance_id)
            .values(last_heartbeat=func.clock_timestamp(), status=status)
        )
        instance = (await self._stored(statement)).one_or_none()
        if instance is None:
            raise NotFound(table=Instance.__tablename__, key=instance_id)
        return instance

    @one_statement
    async def get_running(self, *, account_id: str = DEFAULT_ACCOUNT_ID) -> Sequence[Instance]:
        """Processes that have not ended as far as they said, oldest first."""
        return await self.find_all(
            Instance.account_id == account_id,
            Instance.status.in_(RUNNING_INSTANCE_STATUSES),
            order_by=Instance.started_at,
        )

    @one_statement
    async def find_silent(
        self, silence: timedelta, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Sequence[Instance]:
        """Processes that should run and gave no sign of life for *silence*, the longest silent first."""
        return await self.find_all(
            Instance.account_id == account_id,
            Instance.status.in_(RUNNING_INSTANCE_STATUSES),
            Instance.last_heartbeat < func.clock_timestamp() - silence,
            order_by=Instance.last_heartbeat,
        )
