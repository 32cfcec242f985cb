"""What a process found when it started: whether it may trade, and what wants attention."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from gal_friday.dal.models.models_base import (
    AccountScoped,
    AppendOnly,
    Base,
    Identified,
    JsonArray,
    JsonObject,
    LongInt,
    Str20,
    Str32,
    Str100,
)


class RecoveryCertificate(Identified, AccountScoped, AppendOnly, Base):
    __tablename__ = "recovery_certificates"
    __table_args__ = (
        Index(None, "account_id", "recovered_at"),
        {"comment": "Append-only: what each recovery restored, checked and found wanting"},
    )

    instance_id: Mapped[Str100 | None] = mapped_column(comment="Process that recovered (soft link)")
    epoch: Mapped[LongInt] = mapped_column(comment="Epoch of the lease it recovered under, 0 for none")
    app_version: Mapped[Str20] = mapped_column(comment="Package version that recovered")
    schema_revision: Mapped[Str32] = mapped_column(comment="Schema revision it found")
    started_at: Mapped[datetime] = mapped_column(comment="When the recovery began")
    recovered_at: Mapped[datetime] = mapped_column(comment="When it was through")
    may_trade: Mapped[bool] = mapped_column(comment="Whether nothing stands against trading")
    counts: Mapped[JsonObject] = mapped_column(comment="How many of each were restored")
    checksums: Mapped[JsonObject] = mapped_column(comment="SHA-256 of each kind restored, in key order")
    invariants: Mapped[JsonArray] = mapped_column(comment="What was checked: name, passed, findings")
    orders_in_doubt: Mapped[JsonArray] = mapped_column(comment="Orders written and never acknowledged")
    unprotected_positions: Mapped[JsonArray] = mapped_column(
        comment="Open positions no working order protects"
    )
    unmatched_fills: Mapped[JsonArray] = mapped_column(comment="Fills whose order is not known")
    journal: Mapped[JsonObject] = mapped_column(comment="Facts taken from the journal on disk")
    reconciliation: Mapped[JsonObject | None] = mapped_column(
        comment="What the comparison with the exchange found; null where there was none"
    )
    overrides: Mapped[JsonArray] = mapped_column(
        comment="Invariants the operator trades in spite of: name, reason"
    )
