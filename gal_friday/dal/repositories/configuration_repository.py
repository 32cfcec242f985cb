"""Configurations the bot ran with."""

import hashlib
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.models_base import new_id
from gal_friday.dal.models.system import Configuration
from gal_friday.errors import InvalidValue, NotFound
from gal_friday.money import canonical

# Any number does, as long as nothing else locks the same one; these are the bytes of "config".
_ACTIVATION_LOCK = int.from_bytes(b"config")


def config_hash_of(content: dict[str, Any]) -> str:
    """SHA-256 of *content* in canonical JSON: neither the order of keys nor the spelling of a Decimal counts.

    Raises InvalidValue for what JSON has no form for.
    """
    try:
        text = json.dumps(
            content,
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
            default=_exact_text,
        )
        return hashlib.sha256(text.encode()).hexdigest()
    except (TypeError, ValueError) as problem:
        raise InvalidValue(f"JSON has no form for the configuration: {problem}") from None


class ConfigurationRepository(BaseRepository[Configuration]):
    model = Configuration

    async def load(self, content: dict[str, Any]) -> Configuration:
        """The configuration with this content, stored now unless it was before. Raises InvalidValue."""
        config_hash = config_hash_of(content)
        stored = await self._stored(
            insert(Configuration)
            .values(id=new_id(), config_hash=config_hash, config_content=content)
            .on_conflict_do_nothing(index_elements=[Configuration.config_hash])
        )
        found = stored.one_or_none() or await self.get_by_hash(config_hash)
        assert found is not None  # configurations are never deleted
        return found

    @one_statement
    async def get_by_hash(self, config_hash: str) -> Configuration | None:
        """The configuration with this hash, or None."""
        return await self.find_one_by(Configuration.config_hash == config_hash)

    @one_statement
    async def get_active(self) -> Configuration | None:
        """The configuration in force, or None before the first was activated."""
        return await self.find_one_by(Configuration.is_active)

    async def activate(self, config_hash: str) -> Configuration:
        """Put a configuration in force instead of the one that was. Raises NotFound.

        Exactly one is in force afterwards; of several activations at once the last one stands.
        """
        await self._session.execute(select(func.pg_advisory_xact_lock(_ACTIVATION_LOCK)))
        others = update(Configuration).where(
            Configuration.is_active, Configuration.config_hash != config_hash
        )
        await self._stored(others.values(is_active=False))
        chosen = update(Configuration).where(Configuration.config_hash == config_hash)
        active = await self._stored(chosen.values(is_active=True, activated_at=func.clock_timestamp()))
        configuration = active.one_or_none()
        if configuration is None:
            raise NotFound(table=Configuration.__tablename__, key=config_hash)
        return configuration


def _exact_text(value: object) -> str:
    match value:
        case Decimal() if value.is_finite():
            return format(canonical(value), "f")
        case datetime() if value.utcoffset() is not None:
            return value.astimezone(UTC).isoformat()
        case UUID():
            return str(value)
        case date() if not isinstance(value, datetime):
            return value.isoformat()
        case _:
            raise TypeError(f"a {type(value).__name__}")
