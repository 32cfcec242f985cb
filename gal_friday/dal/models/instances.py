"""Running processes, who of them may act for an account, and proof of their commits."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from gal_friday.dal.models.enums import InstanceStatus
from gal_friday.dal.models.models_base import (
    AccountKeyed,
    AccountScoped,
    Base,
    Identified,
    JsonObject,
    LongInt,
    Mutable,
    Recorded,
    Str20,
    Str32,
    Str100,
    Str128,
)


class Instance(Recorded, Mutable, AccountScoped, Base):
    __tablename__ = "instance_metadata"
    __table_args__ = (
        Index(None, "account_id", "status"),
        Index(None, "last_heartbeat"),
        {"comment": "Processes of the bot, running and gone; heartbeats are not audited"},
    )

    instance_id: Mapped[Str100] = mapped_column(
        primary_key=True, sort_order=-90, comment="Unique per start of a process"
    )
    hostname: Mapped[Str128] = mapped_column(comment="Machine it runs on")
    pid: Mapped[int] = mapped_column(comment="Process id on that machine")
    app_version: Mapped[Str20] = mapped_column(comment="Package version it runs")
    schema_revision: Mapped[Str32 | None] = mapped_column(comment="Schema revision it found at boot")
    started_at: Mapped[datetime] = mapped_column(server_default=text("now()"), comment="When it started")
    last_heartbeat: Mapped[datetime] = mapped_column(
        server_default=text("now()"), comment="When it last said it is alive"
    )
    status: Mapped[InstanceStatus] = mapped_column(
        server_default=InstanceStatus.ACTIVE, comment="Running, finishing, stopped, or found dead"
    )
    lease_expires_at: Mapped[datetime | None] = mapped_column(
        comment="Until when its account lease holds; renewed here so that renewing waits for no writer"
    )
    extra: Mapped[JsonObject] = mapped_column(
        "metadata", server_default=text("'{}'"), comment="Whatever the bot wants to remember"
    )


class AccountLease(Recorded, Mutable, AccountKeyed, Base):
    __tablename__ = "account_leases"
    __table_args__ = (
        Index(None, "holder"),
        CheckConstraint("epoch >= 0", name="epoch_not_negative"),
        CheckConstraint("(epoch = 0) = (holder IS NULL)", name="held_from_epoch_one"),
        {"comment": "Which instance may act for an account; made with it, changes at a takeover only"},
    )

    holder: Mapped[Str100 | None] = mapped_column(comment="Instance that holds the lease (soft link)")
    epoch: Mapped[LongInt] = mapped_column(
        server_default=text("0"),
        comment="Raised by every takeover, 0 before the first; a writer names the epoch it holds",
    )
    acquired_at: Mapped[datetime | None] = mapped_column(comment="When this holder took the lease")


class CommitMarker(Identified, Base):
    # No index on created_at: every commit would pay for it; pruning goes by the id, which is in time order.
    __tablename__ = "commit_markers"
    __table_args__ = {  # noqa: RUF012 -- SQLAlchemy's declared form
        "comment": "Written in a unit of work's transaction, read back when the answer to its commit was lost"
    }
