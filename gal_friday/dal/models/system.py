"""Logs, configuration, and the record of schema revisions."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Connection, Index, UniqueConstraint, column, event, text
from sqlalchemy.orm import Mapped, Mapper, mapped_column

from gal_friday.dal.models.enums import ConfigDataType, Severity
from gal_friday.dal.models.models_base import (
    AppendOnly,
    Base,
    Identified,
    JsonAny,
    JsonObject,
    Mutable,
    Recorded,
    Str20,
    Str32,
    Str64,
    Str100,
    Str128,
)
from gal_friday.dal.models.types import InternetAddress
from gal_friday.errors import InvalidValue


def _where_present(name: str) -> Index:
    return Index(None, name, "log_timestamp", postgresql_where=column(name).is_not(None))


class Log(Identified, AppendOnly, Base):
    __tablename__ = "system_logs"
    __table_args__ = (
        Index(None, "log_level", "log_timestamp"),
        Index(None, "category", "log_timestamp"),
        Index(None, "source_module", "log_timestamp"),
        _where_present("strategy_id"),
        _where_present("signal_id"),
        _where_present("order_id"),
        _where_present("trade_id"),
        {
            "comment": "Append-only: log entries worth keeping; they outlive the rows they name",
            "postgresql_partition_by": "RANGE (log_timestamp)",
        },
    )

    log_timestamp: Mapped[datetime] = mapped_column(
        primary_key=True, sort_order=-100, server_default=text("now()"), comment="When it was logged"
    )
    source_module: Mapped[Str128] = mapped_column(comment="Logger that wrote it")
    log_level: Mapped[Severity] = mapped_column(comment="Severity, in Python's words")
    category: Mapped[Str64] = mapped_column(
        server_default="GENERAL", comment="Subject, like STRATEGY, ORDER, RISK or DATA"
    )
    message: Mapped[str] = mapped_column(comment="The message")
    trading_pair: Mapped[Str64 | None] = mapped_column(comment="Pair concerned")
    strategy_id: Mapped[Str64 | None] = mapped_column(comment="Strategy concerned (soft link)")
    signal_id: Mapped[UUID | None] = mapped_column(comment="Signal concerned (soft link)")
    order_id: Mapped[UUID | None] = mapped_column(comment="Order concerned (soft link)")
    trade_id: Mapped[UUID | None] = mapped_column(comment="Trade concerned (soft link)")
    exception_type: Mapped[str | None] = mapped_column(comment="Class of the exception logged")
    stack_trace: Mapped[str | None] = mapped_column(comment="Where it was raised")
    context: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"), comment="Fields of the entry")
    user_id: Mapped[Str100 | None] = mapped_column(comment="User acting")
    session_id: Mapped[Str100 | None] = mapped_column(comment="The user's session")
    ip_address: Mapped[IPv4Address | IPv6Address | None] = mapped_column(
        InternetAddress(), comment="Address the user came from"
    )
    user_agent: Mapped[str | None] = mapped_column(comment="Program the user came with")
    instance_id: Mapped[Str100 | None] = mapped_column(comment="Process that logged it (soft link)")


class Configuration(Identified, Mutable, Base):
    __tablename__ = "configurations"
    __table_args__ = (
        UniqueConstraint("config_hash"),
        Index("uq_configurations_one_active", "is_active", unique=True, postgresql_where=text("is_active")),
        Index(None, "loaded_at"),
        CheckConstraint("config_hash ~ '^[0-9a-f]{64}$'", name="config_hash"),
        CheckConstraint("NOT is_active OR activated_at IS NOT NULL", name="active_was_activated"),
        {"comment": "Every configuration the bot ran with, by its hash; at most one is active"},
    )

    config_hash: Mapped[Str64] = mapped_column(comment="SHA-256 of the content in canonical JSON")
    config_content: Mapped[JsonObject] = mapped_column(comment="The configuration")
    loaded_at: Mapped[datetime] = mapped_column(
        server_default=text("now()"), comment="When it was first read"
    )
    activated_at: Mapped[datetime | None] = mapped_column(comment="When it last came into force")
    is_active: Mapped[bool] = mapped_column(server_default=text("false"), comment="Whether it is in force")


class SystemConfig(Recorded, Mutable, Base):
    __tablename__ = "system_config"
    __table_args__ = (
        Index(None, "category"),
        # What is encrypted is a JSON string, whatever it holds.
        CheckConstraint(
            "jsonb_typeof(value) = CASE WHEN is_sensitive THEN 'string' ELSE data_type END",
            name="value_is_of_its_type",
        ),
        {"comment": "Settings of the running system, one per key"},
    )

    key: Mapped[Str100] = mapped_column(primary_key=True, comment="Name of the setting")
    value: Mapped[JsonAny] = mapped_column(comment="Its value; encrypted where it is sensitive")
    description: Mapped[str | None] = mapped_column(comment="What it does")
    category: Mapped[Str64] = mapped_column(server_default="general", comment="Group it is shown in")
    data_type: Mapped[ConfigDataType] = mapped_column(comment="JSON type of the value, before encryption")
    is_sensitive: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Stored encrypted, shown masked"
    )
    updated_by: Mapped[Str100 | None] = mapped_column(comment="Who changed it last")


@event.listens_for(SystemConfig, "before_insert")
@event.listens_for(SystemConfig, "before_update")
def _refuse_plain_text(_mapper: Mapper[Any], _connection: Connection, setting: SystemConfig) -> None:
    # Nothing encrypts yet, and a secret must not lie in the table and its backups for anyone to read.
    if setting.is_sensitive:
        raise InvalidValue("a sensitive setting would be stored as plain text", key=setting.key)


class SchemaRevision(Base):
    __tablename__ = "schema_revisions"
    __table_args__ = {"comment": "Revisions applied, and the oldest code each still serves"}  # noqa: RUF012 -- SQLAlchemy's form

    revision: Mapped[Str32] = mapped_column(primary_key=True, comment="Revision id")
    oldest_code: Mapped[Str20] = mapped_column(comment="Oldest package version this revision still serves")
    applied_at: Mapped[datetime] = mapped_column(server_default=text("now()"), comment="When it was applied")
    applied_by: Mapped[Str20] = mapped_column(comment="Package version that applied it")


#: The name of its table, which older documents use.
SystemLog = Log
