"""Events for those who follow, and the audit record with its seals."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from gal_friday.dal.models.enums import AuditOperation
from gal_friday.dal.models.models_base import (
    AccountScoped,
    AppendOnly,
    Base,
    JsonObject,
    LongInt,
    Mutable,
    Recorded,
    Str64,
    Str100,
    Str128,
)
from gal_friday.dal.models.types import TransactionId


class EventLog(AccountScoped, AppendOnly, Base):
    __tablename__ = "event_log"
    __table_args__ = (
        # Within the account: streams of another one are neither seen nor in the way.
        UniqueConstraint("account_id", "stream", "stream_version"),
        Index(None, "incarnation", "transaction_id", "position"),
        Index(None, "event_type", "occurred_at"),
        CheckConstraint("stream_version >= 1", name="stream_version_positive"),
        CheckConstraint("schema_version >= 1", name="schema_version_positive"),
        {"comment": "Append-only: what happened, for those who follow"},
    )

    position: Mapped[LongInt] = mapped_column(
        Identity(always=True),
        primary_key=True,
        sort_order=-100,
        comment="Order within a transaction; not the order of commits, so never a cursor alone",
    )
    transaction_id: Mapped[int] = mapped_column(
        TransactionId(),
        server_default=text("pg_current_xact_id()"),
        comment="Transaction that wrote it; readers stop before the oldest one still open",
    )
    incarnation: Mapped[int] = mapped_column(
        server_default=text("1"), comment="Raised by every logical restore, which starts transaction ids anew"
    )
    stream: Mapped[Str128] = mapped_column(comment="What the event is about, like order-<id>")
    stream_version: Mapped[LongInt] = mapped_column(comment="Its number within the stream, from 1")
    event_type: Mapped[Str100] = mapped_column(comment="What happened")
    schema_version: Mapped[int] = mapped_column(
        server_default=text("1"), comment="Version of the payload's shape"
    )
    payload: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"), comment="The particulars")
    extra: Mapped[JsonObject] = mapped_column(
        "metadata",
        server_default=text("'{}'"),
        comment="Correlation, causation, source module and actor",
    )
    occurred_at: Mapped[datetime] = mapped_column(server_default=text("now()"), comment="When it happened")
    recorded_at: Mapped[datetime] = mapped_column(
        server_default=text("now()"), comment="When it was stored, by the server's clock"
    )


class EventSubscription(Recorded, Mutable, Base):
    __tablename__ = "event_subscriptions"
    __table_args__ = {  # noqa: RUF012 -- SQLAlchemy's declared form
        "comment": "How far a projection has read; moved in the projection's own transaction"
    }

    name: Mapped[Str100] = mapped_column(primary_key=True, comment="Name of the projection")
    incarnation: Mapped[int] = mapped_column(
        server_default=text("1"), comment="Incarnation of the last event read"
    )
    transaction_id: Mapped[int] = mapped_column(
        TransactionId(), server_default=text("'0'"), comment="Transaction of the last event read"
    )
    position: Mapped[LongInt] = mapped_column(
        server_default=text("0"), comment="Position of the last event read"
    )


class AuditEntry(AppendOnly, Base):
    __tablename__ = "audit_log"
    __table_args__ = (
        Index(None, "table_name", "row_key", "recorded_at"),
        Index(None, "account_id", "recorded_at"),
        Index(None, "transaction_id"),
        CheckConstraint(
            "(operation = 'INSERT') = (before IS NULL) AND (operation = 'DELETE') = (after IS NULL)",
            name="images_fit_operation",
        ),
        {
            "comment": "Append-only: every change of an audited row, written by triggers",
            "postgresql_partition_by": "RANGE (recorded_at)",
        },
    )

    recorded_at: Mapped[datetime] = mapped_column(
        primary_key=True, server_default=text("now()"), comment="When the transaction that changed it began"
    )
    position: Mapped[LongInt] = mapped_column(
        Identity(always=True), primary_key=True, comment="Order of the changes within a transaction"
    )
    account_id: Mapped[Str64 | None] = mapped_column(
        ForeignKey("accounts.account_id", ondelete="RESTRICT"),
        comment="Account the row belongs to; empty where it belongs to none",
    )
    table_name: Mapped[Str64] = mapped_column(comment="Table changed")
    row_key: Mapped[str] = mapped_column(
        comment="Primary key of the row; several columns as a JSON array, in the key's order"
    )
    operation: Mapped[AuditOperation] = mapped_column(comment="What was done to the row")
    actor: Mapped[Str100] = mapped_column(
        comment="Who did it: named by the unit of work, else the login role"
    )
    application: Mapped[Str100 | None] = mapped_column(comment="Application name of the connection")
    transaction_id: Mapped[int] = mapped_column(
        TransactionId(), server_default=text("pg_current_xact_id()"), comment="Transaction that did it"
    )
    before: Mapped[JsonObject | None] = mapped_column(comment="Old values; of an UPDATE only what changed")
    after: Mapped[JsonObject | None] = mapped_column(comment="New values; of an UPDATE only what changed")


class AuditSeal(AppendOnly, Base):
    __tablename__ = "audit_seals"
    __table_args__ = (
        CheckConstraint("ordinal >= 1 AND (ordinal = 1) = (previous_hash IS NULL)", name="chained"),
        CheckConstraint("row_count >= 0", name="rows_not_negative"),
        CheckConstraint("first_transaction_id <= last_transaction_id", name="range_in_order"),
        CheckConstraint(
            "root_hash ~ '^[0-9a-f]{64}$' AND previous_hash ~ '^[0-9a-f]{64}$'", name="hashes_are_sha256"
        ),
        {"comment": "Append-only: a chain of hashes over the audit record, so that tampering shows"},
    )

    ordinal: Mapped[LongInt] = mapped_column(
        primary_key=True, autoincrement=False, comment="Number of the seal, from 1 without a gap"
    )
    row_count: Mapped[LongInt] = mapped_column(comment="Audit entries sealed")
    first_transaction_id: Mapped[int] = mapped_column(TransactionId(), comment="First transaction sealed")
    last_transaction_id: Mapped[int] = mapped_column(TransactionId(), comment="Last transaction sealed")
    root_hash: Mapped[Str64] = mapped_column(comment="SHA-256 over the entries and the previous seal's hash")
    previous_hash: Mapped[Str64 | None] = mapped_column(
        comment="The previous seal's hash; empty for the first"
    )
    sealed_at: Mapped[datetime] = mapped_column(server_default=text("now()"), comment="When it was sealed")
