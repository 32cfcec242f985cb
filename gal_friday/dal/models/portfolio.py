"""Entries, pyramids and rollovers of a futures portfolio, its equity, and the ledger of signals received."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from gal_friday.dal.models.enums import EntryStatus, ProcessingStatus, RolloverStatus
from gal_friday.dal.models.models_base import (
    AccountKeyed,
    AccountScoped,
    Base,
    ExactCost,
    Identified,
    JsonObject,
    Mutable,
    Proportion,
    Recorded,
    Str20,
    Str32,
    Str64,
    Str100,
)
from gal_friday.dal.models.positions import Position
from gal_friday.dal.models.strategies import Strategy

#: What an account is opened with unless told otherwise, in its reporting currency.
DEFAULT_INITIAL_CAPITAL = Decimal(5_000_000)


class PortfolioPosition(Recorded, Mutable, AccountKeyed, Base):
    __tablename__ = "portfolio_positions"
    __table_args__ = (
        Index(
            "ix_portfolio_positions_live",
            "account_id",
            "instrument",
            postgresql_where=text("status IN ('open', 'partial')"),
        ),
        Index(None, "instrument", "is_base_position"),
        Index(
            "ix_portfolio_positions_rollover",
            "rollover_status",
            postgresql_where=text("rollover_status <> 'none'"),
        ),
        Index(None, "entry_timestamp"),
        Index(None, "status"),
        Index(None, "strategy_id"),
        Index(None, "net_position_id"),
        Index(None, "account_id", "rolled_from_position_id"),
        CheckConstraint("lots >= 0", name="lots_not_negative"),
        CheckConstraint("quantity >= 0", name="quantity_not_negative"),
        CheckConstraint(
            "status <> 'closed' OR (exit_timestamp IS NOT NULL AND exit_price IS NOT NULL"
            " AND exit_reason IS NOT NULL)",
            name="closed_is_complete",
        ),
        {"comment": "An entry or a pyramid of its own; together they make up the net position"},
    )

    position_id: Mapped[Str100] = mapped_column(primary_key=True, comment="Name the engine gives it")
    net_position_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("positions.id", ondelete="RESTRICT"), comment="Net position it is part of"
    )
    strategy_id: Mapped[Str64 | None] = mapped_column(
        ForeignKey("strategies.strategy_id", ondelete="RESTRICT"), comment="Strategy that entered it"
    )
    instrument: Mapped[Str64] = mapped_column(comment="Instrument held")
    currency: Mapped[Str20] = mapped_column(comment="Currency of its prices and profit")
    status: Mapped[EntryStatus] = mapped_column(
        server_default=EntryStatus.OPEN, comment="Open, closed, or partly closed"
    )
    is_base_position: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="True for the base entry, false for a pyramid"
    )
    entry_timestamp: Mapped[datetime] = mapped_column(comment="When it was entered")
    entry_price: Mapped[Decimal] = mapped_column(comment="Price it was entered at")
    lots: Mapped[int] = mapped_column(comment="Contracts held")
    quantity: Mapped[Decimal] = mapped_column(comment="Units held: lots × contract multiplier")
    initial_stop: Mapped[Decimal | None] = mapped_column(comment="Stop price at the entry")
    current_stop: Mapped[Decimal | None] = mapped_column(comment="Stop price now")
    highest_close: Mapped[Decimal | None] = mapped_column(comment="Highest close since the entry")
    atr: Mapped[Decimal | None] = mapped_column(comment="Average true range at the entry, in price units")
    limiter: Mapped[Str32 | None] = mapped_column(
        comment="Constraint that bounded its size, like risk, volatility or margin"
    )
    unrealized_pnl: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Profit and loss if closed at the last price seen"
    )
    realized_pnl: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Profit and loss of what was closed"
    )
    exit_timestamp: Mapped[datetime | None] = mapped_column(comment="When it was closed")
    exit_price: Mapped[Decimal | None] = mapped_column(comment="Price it was closed at")
    exit_reason: Mapped[Str64 | None] = mapped_column(comment="Why it was closed")
    rollover_status: Mapped[RolloverStatus] = mapped_column(
        server_default=RolloverStatus.NONE, comment="Progress of moving it to the next contract"
    )
    expiry: Mapped[date | None] = mapped_column(comment="Day its contract ends")
    rolled_from_position_id: Mapped[Str100 | None] = mapped_column(
        comment="Position of the contract before, in the same account (soft link)"
    )

    net_position: Mapped[Position | None] = relationship(lazy="raise_on_sql")
    strategy: Mapped[Strategy | None] = relationship(lazy="raise_on_sql")


class PortfolioState(Recorded, Mutable, AccountKeyed, Base):
    __tablename__ = "portfolio_state"
    __table_args__ = (
        CheckConstraint("initial_capital >= 0", name="capital_not_negative"),
        {"comment": "Equity and risk of an account, one row per currency; made once, never reset"},
    )

    currency: Mapped[Str20] = mapped_column(primary_key=True, comment="Currency of the amounts")
    initial_capital: Mapped[Decimal] = mapped_column(comment="Capital the account was opened with")
    closed_equity: Mapped[ExactCost] = mapped_column(
        comment="Exact sum of cash flows and realised profit and loss, less commission"
    )
    total_risk_amount: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Loss if every open position is stopped out"
    )
    total_risk_percent: Mapped[Proportion] = mapped_column(
        server_default=text("0"), comment="That loss in percent of equity"
    )
    total_volatility_amount: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Value the open positions move by in one average true range"
    )
    margin_used: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Margin the open positions bind"
    )
    peak_equity: Mapped[Decimal | None] = mapped_column(
        comment="Highest equity so far, moved along with capital flows; drawdown counts from it"
    )
    state: Mapped[JsonObject] = mapped_column(
        server_default=text("'{}'"), comment="Whatever else the engine keeps about its portfolio"
    )


class PyramidingState(Recorded, Mutable, AccountKeyed, Base):
    __tablename__ = "pyramiding_state"
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "base_position_id"],
            ["portfolio_positions.account_id", "portfolio_positions.position_id"],
            ondelete="SET NULL (base_position_id)",
        ),
        Index(None, "account_id", "base_position_id"),
        CheckConstraint("pyramid_count >= 0", name="count_not_negative"),
        {"comment": "How far the pyramid in an instrument has been built"},
    )

    instrument: Mapped[Str64] = mapped_column(primary_key=True, comment="Instrument pyramided")
    base_position_id: Mapped[Str100 | None] = mapped_column(comment="Base entry the pyramids stand on")
    last_pyramid_price: Mapped[Decimal | None] = mapped_column(comment="Price of the last entry")
    pyramid_count: Mapped[int] = mapped_column(
        server_default=text("0"), comment="Entries on top of the base entry"
    )

    # Only base_position_id follows the relationship: unlinking must not blank the account out of the key.
    base_position: Mapped[PortfolioPosition | None] = relationship(
        lazy="raise_on_sql",
        foreign_keys=[base_position_id],
        primaryjoin="and_(PyramidingState.account_id == PortfolioPosition.account_id,"
        " PyramidingState.base_position_id == PortfolioPosition.position_id)",
    )


class SignalLog(Identified, Mutable, AccountScoped, Base):
    __tablename__ = "signal_log"
    __table_args__ = (
        UniqueConstraint("account_id", "fingerprint"),
        Index(None, "received_at"),
        Index(None, "instrument", "received_at"),
        Index(None, "processing_status"),
        Index(None, "signal_id"),
        CheckConstraint("duplicate_count >= 0", name="duplicates_not_negative"),
        {"comment": "Ledger of raw incoming signals: each is taken once, replays are counted"},
    )

    fingerprint: Mapped[Str64] = mapped_column(comment="SHA-256 of what makes the signal itself")
    instrument: Mapped[Str64] = mapped_column(comment="Instrument it is about")
    signal_type: Mapped[Str32] = mapped_column(comment="BASE_ENTRY, PYRAMID, EXIT or another of the sender's")
    position: Mapped[Str64 | None] = mapped_column(comment="Position it names, in the sender's words")
    price: Mapped[Decimal | None] = mapped_column(comment="Price it was given at")
    signal_timestamp: Mapped[datetime] = mapped_column(comment="When it was given, by the sender's clock")
    received_at: Mapped[datetime] = mapped_column(
        server_default=text("now()"), comment="When it first arrived"
    )
    processing_status: Mapped[ProcessingStatus] = mapped_column(
        server_default=ProcessingStatus.RECEIVED, comment="What became of it"
    )
    processed_by: Mapped[Str100 | None] = mapped_column(comment="Instance that took it (soft link)")
    rejection_reason: Mapped[str | None] = mapped_column(comment="Why it was rejected")
    duplicate_count: Mapped[int] = mapped_column(server_default=text("0"), comment="Times it arrived again")
    signal_id: Mapped[UUID | None] = mapped_column(comment="Signal made of it (soft link)")
    payload: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"), comment="The signal as received")
