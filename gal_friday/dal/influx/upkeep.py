"""Buckets and tasks of InfluxDB, made where they are missing."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from gal_friday.config import InfluxSettings
from gal_friday.dal.influx.flux import Task, tasks
from gal_friday.errors import BucketMissing, TimeSeriesError

_SECONDS_A_DAY = 86_400

log = logging.getLogger(__name__)


class Call(Protocol):
    """A request of the server's API."""

    async def __call__(self, method: str, path: str, *, query: Any = None, body: Any = None) -> Any:
        """What the server says. Raises BucketMissing for what is not there."""
        ...


class BucketUpkeep:
    """Makes what is missing; done again, it changes nothing."""

    def __init__(self, settings: InfluxSettings, call: Call) -> None:
        self._settings = settings
        self._call = call

    async def ensure(self) -> None:
        """Buckets and tasks as the settings name them. Raises BucketMissing where the organization is."""
        org_id = (await self._call("GET", "/api/v2/orgs", query={"org": self._settings.org}))["orgs"][0]["id"]
        await self._ensure_bucket(org_id, self._settings.bucket, self._settings.retention_days)
        if self._settings.long_term_bucket is not None:
            await self._ensure_bucket(org_id, self._settings.long_term_bucket, 0)
            for task in tasks(self._settings.bucket, self._settings.long_term_bucket):
                await self._ensure_task(org_id, task)

    async def _ensure_bucket(self, org_id: str, name: str, days: int) -> None:
        seconds = days * _SECONDS_A_DAY
        bucket = await self._bucket(org_id, name)
        if bucket is None:
            rules = [{"type": "expire", "everySeconds": seconds}] if seconds else []
            body = {"orgID": org_id, "name": name, "retentionRules": rules}
            try:
                await self._call("POST", "/api/v2/buckets", body=body)
            except TimeSeriesError:
                if await self._bucket(org_id, name) is None:  # it is not that somebody else was faster
                    raise
            else:
                log.info("a bucket was made", extra={"bucket": name, "retention_days": days or "for ever"})
            return
        kept = sum(rule["everySeconds"] for rule in bucket["retentionRules"])
        if kept != seconds:
            # Not changed: a shorter retention deletes points at once.
            log.warning(
                "a bucket keeps points for another time than is configured",
                extra={"bucket": name, "kept_seconds": kept, "configured_seconds": seconds},
            )

    async def _bucket(self, org_id: str, name: str) -> Any:
        try:
            found = await self._call("GET", "/api/v2/buckets", query={"orgID": org_id, "name": name})
        except BucketMissing:
            return None
        return next((bucket for bucket in found["buckets"] if bucket["name"] == name), None)

    async def _ensure_task(self, org_id: str, task: Task) -> None:
        found = await self._tasks(org_id, task)
        if not found:
            body = {"orgID": org_id, "description": task.description, "flux": task.flux, "status": "active"}
            await self._call("POST", "/api/v2/tasks", body=body)
            log.info("a task was made", extra={"task": task.name, "buckets": task.description})
            found = await self._tasks(org_id, task)
        kept, *others = found
        if kept["flux"] != task.flux:
            await self._call("PATCH", f"/api/v2/tasks/{kept['id']}", body={"flux": task.flux})
        for other in others:  # another process made it at the same time
            with suppress(BucketMissing):  # the other process has removed it already
                await self._call("DELETE", f"/api/v2/tasks/{other['id']}")

    async def _tasks(self, org_id: str, task: Task) -> Sequence[Any]:
        """Ours, the oldest first: whoever looks keeps the same one."""
        found = await self._call("GET", "/api/v2/tasks", query={"orgID": org_id, "name": task.name})
        ours = [each for each in found["tasks"] if each.get("description") == task.description]
        return sorted(ours, key=lambda each: str(each["id"]))
