"""Signals, and what the risk check made of them."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from gal_friday.dal.models.enums import EntryType, RiskScope, RiskVerdict, Side, SignalStatus
from gal_friday.dal.models.models_base import (
    AccountKeyed,
    AccountScoped,
    AppendOnly,
    Base,
    Identified,
    JsonArray,
    JsonObject,
    Mutable,
    Proportion,
    Recorded,
    Str32,
    Str64,
    Str100,
    Str128,
)
from gal_friday.dal.models.strategies import Strategy


class Signal(Identified, Mutable, AccountScoped, Base):
    __tablename__ = "signals"
    __table_args__ = (
        UniqueConstraint("account_id", "fingerprint"),
        Index(None, "created_at"),
        Index(None, "trading_pair", "status"),
        Index(None, "status"),
        Index(None, "strategy_id", "created_at"),
        Index(None, "prediction_id", postgresql_where=text("prediction_id IS NOT NULL")),
        CheckConstraint("entry_type <> 'LIMIT' OR proposed_entry_price IS NOT NULL", name="limit_has_price"),
        CheckConstraint("status <> 'REJECTED' OR rejection_reason IS NOT NULL", name="rejected_has_reason"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence_within_0_1"),
        {"comment": "A proposed trade and its outcome"},
    )

    strategy_id: Mapped[Str64] = mapped_column(
        ForeignKey("strategies.strategy_id", ondelete="RESTRICT"), comment="Strategy that proposed it"
    )
    exchange: Mapped[Str32] = mapped_column(comment="Exchange to trade at")
    trading_pair: Mapped[Str64] = mapped_column(comment="Canonical pair, BASE/QUOTE")
    side: Mapped[Side] = mapped_column(comment="Direction of the entry")
    entry_type: Mapped[EntryType] = mapped_column(comment="At the market or at a limit")
    proposed_entry_price: Mapped[Decimal | None] = mapped_column(comment="Entry price; required for a limit")
    proposed_sl_price: Mapped[Decimal | None] = mapped_column(comment="Stop-loss price")
    proposed_tp_price: Mapped[Decimal | None] = mapped_column(comment="Take-profit price")
    confidence: Mapped[Proportion | None] = mapped_column(comment="Certainty from 0 to 1")
    prediction_id: Mapped[UUID | None] = mapped_column(comment="Prediction behind it (soft link)")
    prediction_value: Mapped[Proportion | None] = mapped_column(comment="That prediction's value")
    status: Mapped[SignalStatus] = mapped_column(
        server_default=SignalStatus.PROPOSED, comment="What became of it"
    )
    rejection_reason: Mapped[str | None] = mapped_column(comment="Why it was rejected")
    risk_check_details: Mapped[JsonObject | None] = mapped_column(comment="Checks made, with their values")
    fingerprint: Mapped[Str64] = mapped_column(comment="SHA-256 of what makes the signal itself; taken once")
    decided_at: Mapped[datetime | None] = mapped_column(comment="When it was approved or rejected")
    executed_at: Mapped[datetime | None] = mapped_column(comment="When it became an order")

    strategy: Mapped[Strategy] = relationship(lazy="raise_on_sql")


class RiskLimit(Recorded, Mutable, AccountKeyed, Base):
    __tablename__ = "risk_limits"
    __table_args__ = (
        CheckConstraint("max_drawdown BETWEEN 0 AND 1", name="drawdown_within_0_1"),
        CheckConstraint(
            "least(max_position_quantity, max_notional, max_daily_loss, max_open_positions, max_leverage)"
            " >= 0",
            name="not_negative",
        ),
        {"comment": "Limits an account, a strategy or a pair must keep within"},
    )

    scope: Mapped[RiskScope] = mapped_column(primary_key=True, comment="What kind of thing is limited")
    key: Mapped[Str128] = mapped_column(
        primary_key=True, comment="Strategy or pair limited; the account's name at account scope"
    )
    max_position_quantity: Mapped[Decimal | None] = mapped_column(comment="Largest position in base units")
    max_notional: Mapped[Decimal | None] = mapped_column(comment="Largest exposure in quote currency")
    max_daily_loss: Mapped[Decimal | None] = mapped_column(comment="Largest loss of a UTC day")
    max_drawdown: Mapped[Proportion | None] = mapped_column(comment="Largest loss from the peak, 0 to 1")
    max_open_positions: Mapped[int | None] = mapped_column(comment="Most positions open at once")
    max_leverage: Mapped[Proportion | None] = mapped_column(comment="Largest exposure over equity")
    active: Mapped[bool] = mapped_column(
        server_default=text("true"), comment="Whether the limits are checked"
    )


class RiskDecision(Identified, AccountScoped, AppendOnly, Base):
    __tablename__ = "risk_decisions"
    __table_args__ = (
        Index(None, "signal_id"),
        Index(None, "order_id"),
        Index(None, "account_id", "decided_at"),
        CheckConstraint("decision = 'APPROVED' OR reason IS NOT NULL", name="has_a_reason"),
        {"comment": "Append-only: every verdict of the risk check, with all that led to it"},
    )

    signal_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("signals.id", ondelete="RESTRICT"), comment="Signal decided on"
    )
    order_id: Mapped[UUID | None] = mapped_column(comment="Order decided on or made (soft link)")
    decision: Mapped[RiskVerdict] = mapped_column(comment="The verdict")
    rule: Mapped[Str100 | None] = mapped_column(comment="Rule that decided")
    reason: Mapped[str | None] = mapped_column(comment="Explanation; required unless approved")
    requested_quantity: Mapped[Decimal | None] = mapped_column(comment="Quantity asked for")
    approved_quantity: Mapped[Decimal | None] = mapped_column(comment="Quantity allowed")
    checks: Mapped[JsonArray] = mapped_column(
        server_default=text("'[]'"), comment="Each check: limit, value, passed"
    )
    limits: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"), comment="Limits as they stood")
    portfolio: Mapped[JsonObject] = mapped_column(
        server_default=text("'{}'"), comment="Portfolio as it stood"
    )
    config_hash: Mapped[Str64 | None] = mapped_column(comment="SHA-256 of the configuration in force")
    decided_by: Mapped[Str64] = mapped_column(comment="Component or person that decided")
    decided_at: Mapped[datetime] = mapped_column(comment="When the decision was made")

    signal: Mapped[Signal | None] = relationship(lazy="raise_on_sql")


#: The name older documents use.
TradeSignal = Signal
