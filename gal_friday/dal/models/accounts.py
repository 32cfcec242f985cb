"""Accounts, what they may trade, and the money that moves in and out of them."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from gal_friday.dal.models.enums import AccountMode, CashFlowKind, InstrumentKind
from gal_friday.dal.models.models_base import (
    AccountScoped,
    AppendOnly,
    Base,
    ExactCost,
    Identified,
    JsonObject,
    LongInt,
    Mutable,
    Recorded,
    Str20,
    Str32,
    Str64,
    Str100,
)
from gal_friday.dal.models.positions import Position


class Account(Recorded, Mutable, Base):
    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("(halted_at IS NULL) = (halt_reason IS NULL)", name="halt_has_a_reason"),
        {"comment": "One row per exchange account; an order of one mode never reaches the other"},
    )

    account_id: Mapped[Str64] = mapped_column(primary_key=True, comment="Name chosen by the operator")
    mode: Mapped[AccountMode] = mapped_column(
        server_default=AccountMode.PAPER, comment="LIVE trades real money, PAPER does not"
    )
    exchange: Mapped[Str32 | None] = mapped_column(comment="Exchange the account is held at")
    reporting_currency: Mapped[Str20] = mapped_column(
        server_default="USD", comment="Currency reports are made in"
    )
    halted_at: Mapped[datetime | None] = mapped_column(comment="Since when nothing new may be intended")
    halt_reason: Mapped[str | None] = mapped_column(comment="Why the account was halted")
    halted_by: Mapped[Str64 | None] = mapped_column(comment="Who halted the account")


class Instrument(Recorded, Mutable, Base):
    __tablename__ = "instruments"
    __table_args__ = (
        CheckConstraint("contract_multiplier > 0", name="multiplier_positive"),
        # Settled in another currency than its price is in, profit is not price difference × quantity.
        CheckConstraint(
            "kind = 'SPOT' OR coalesce(settle_currency, quote_currency) = quote_currency", name="linear"
        ),
        {"comment": "What can be traded where, in which steps"},
    )

    exchange: Mapped[Str32] = mapped_column(primary_key=True, comment="Exchange that lists it")
    trading_pair: Mapped[Str64] = mapped_column(primary_key=True, comment="Canonical pair, BASE/QUOTE")
    base_currency: Mapped[Str20] = mapped_column(comment="Currency bought and sold")
    quote_currency: Mapped[Str20] = mapped_column(comment="Currency prices are in")
    settle_currency: Mapped[Str20 | None] = mapped_column(comment="Currency profits are paid in")
    kind: Mapped[InstrumentKind] = mapped_column(
        server_default=InstrumentKind.SPOT, comment="Spot or which derivative"
    )
    contract_multiplier: Mapped[Decimal] = mapped_column(
        server_default=text("1"), comment="Base units one contract stands for"
    )
    price_step: Mapped[Decimal | None] = mapped_column(comment="Smallest price difference")
    quantity_step: Mapped[Decimal | None] = mapped_column(comment="Smallest quantity difference")
    min_notional: Mapped[Decimal | None] = mapped_column(comment="Smallest order value in quote currency")
    expiry: Mapped[datetime | None] = mapped_column(comment="When a dated contract ends")
    active: Mapped[bool] = mapped_column(server_default=text("true"), comment="Whether it can be traded now")


class CashFlow(Identified, AccountScoped, AppendOnly, Base):
    __tablename__ = "cash_flows"
    __table_args__ = (
        Index(
            "uq_cash_flows_venue_id",
            "account_id",
            "kind",
            "venue_id",
            unique=True,
            postgresql_where=text("venue_id IS NOT NULL"),
        ),
        Index(None, "account_id", "currency", "occurred_at"),
        Index("ix_cash_flows_openings", "account_id", "currency", postgresql_where=text("kind = 'OPENING'")),
        Index(None, "position_id"),
        CheckConstraint("kind <> 'ADJUSTMENT' OR reason IS NOT NULL", name="adjustment_has_a_reason"),
        CheckConstraint(
            "applied_seq IS NULL OR (kind = 'ADJUSTMENT' AND position_id IS NOT NULL)",
            name="numbered_adjusts_a_position",
        ),
        {"comment": "Append-only: money that moved for another reason than a fill"},
    )

    currency: Mapped[Str20] = mapped_column(comment="Currency of the amount")
    amount: Mapped[ExactCost] = mapped_column(comment="Positive into the account, negative out of it")
    kind: Mapped[CashFlowKind] = mapped_column(comment="Why the money moved")
    venue_id: Mapped[Str100 | None] = mapped_column(comment="The exchange's id of the movement")
    position_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("positions.id", ondelete="RESTRICT"), comment="Position it concerns, as funding does"
    )
    applied_seq: Mapped[LongInt | None] = mapped_column(
        comment="Its number among the fills of the position it adjusts"
    )
    reason: Mapped[str | None] = mapped_column(comment="Explanation; required for an adjustment")
    occurred_at: Mapped[datetime] = mapped_column(comment="When the money moved, by the exchange's clock")
    raw: Mapped[JsonObject | None] = mapped_column(comment="The exchange's record as received")

    position: Mapped[Position | None] = relationship(lazy="raise_on_sql")
