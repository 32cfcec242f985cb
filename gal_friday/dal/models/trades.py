"""Trades: a cycle from the first entry fill to the last exit fill."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, desc, text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column, relationship

from gal_friday.dal.models.enums import Side, TradeStatus
from gal_friday.dal.models.models_base import (
    AccountScoped,
    Base,
    ExactCost,
    Identified,
    JsonObject,
    Mutable,
    Proportion,
    Str20,
    Str32,
    Str64,
    Str100,
)
from gal_friday.dal.models.orders import Order
from gal_friday.dal.models.positions import Position
from gal_friday.dal.models.signals import Signal
from gal_friday.dal.models.strategies import Strategy


def _closed_is_complete() -> CheckConstraint:
    return CheckConstraint(
        "status <> 'CLOSED' OR (exit_timestamp IS NOT NULL AND average_exit_price IS NOT NULL"
        " AND realized_pnl IS NOT NULL AND exit_reason IS NOT NULL)",
        name="closed_is_complete",
    )


def _indexes_of_references() -> tuple[Index, ...]:
    return (
        Index(None, "account_id", "entry_timestamp"),
        Index(None, "signal_id"),
        Index(None, "position_id"),
        Index(None, "entry_order_id"),
        Index(None, "exit_order_id"),
        Index(None, "strategy_id", "trading_pair"),
        Index(None, "trading_pair", desc("entry_timestamp")),
        Index(None, "entry_timestamp"),
        Index(None, "exit_timestamp"),
    )


class TradeColumns(Identified, AccountScoped):
    """What a trade and its archived copy have in common."""

    signal_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("signals.id", ondelete="RESTRICT"), comment="Signal that began it"
    )
    strategy_id: Mapped[Str64 | None] = mapped_column(
        ForeignKey("strategies.strategy_id", ondelete="RESTRICT"), comment="Strategy it belongs to"
    )
    position_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("positions.id", ondelete="RESTRICT"), comment="Net position it is part of"
    )
    entry_order_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("orders.id", ondelete="RESTRICT"), comment="Order of the first entry"
    )
    exit_order_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("orders.id", ondelete="RESTRICT"), comment="Order of the last exit"
    )
    exchange: Mapped[Str32] = mapped_column(comment="Exchange it happened at")
    trading_pair: Mapped[Str64] = mapped_column(comment="Canonical pair, BASE/QUOTE")
    quote_currency: Mapped[Str20] = mapped_column(comment="Currency of prices and profit")
    side: Mapped[Side] = mapped_column(comment="Side of the entry")
    status: Mapped[TradeStatus] = mapped_column(server_default=TradeStatus.OPEN, comment="Where it stands")
    entry_timestamp: Mapped[datetime] = mapped_column(comment="Time of the fill that began it")
    exit_timestamp: Mapped[datetime | None] = mapped_column(comment="Time of the last exit fill")
    quantity: Mapped[Decimal] = mapped_column(comment="Base units entered")
    filled_quantity: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Base units exited so far"
    )
    entry_value: Mapped[ExactCost] = mapped_column(
        server_default=text("0"), comment="Exact sum of price × quantity of its entries"
    )
    exit_value: Mapped[ExactCost] = mapped_column(
        server_default=text("0"), comment="Exact sum of price × quantity of its exits"
    )
    average_entry_price: Mapped[Decimal] = mapped_column(comment="Average of the entry fills, 18 decimals")
    average_exit_price: Mapped[Decimal | None] = mapped_column(
        comment="Average of the exit fills, 18 decimals"
    )
    total_commission: Mapped[ExactCost] = mapped_column(
        server_default=text("0"), comment="Commission of all its fills in quote currency"
    )
    realized_pnl: Mapped[ExactCost | None] = mapped_column(
        comment="Exact profit and loss of what was exited so far, less commission; final when closed"
    )
    realized_pnl_pct: Mapped[Proportion | None] = mapped_column(
        comment="Profit in percent of the entry value"
    )
    exit_reason: Mapped[Str64 | None] = mapped_column(comment="Why it ended")
    stop_loss_price: Mapped[Decimal | None] = mapped_column(comment="Stop-loss price")
    take_profit_price: Mapped[Decimal | None] = mapped_column(comment="Take-profit price")
    entry_signal: Mapped[JsonObject | None] = mapped_column(comment="What led to the entry")
    exit_signal: Mapped[JsonObject | None] = mapped_column(comment="What led to the exit")
    extra: Mapped[JsonObject] = mapped_column(
        "metadata", server_default=text("'{}'"), comment="Whatever the bot wants to remember"
    )
    entry_tag: Mapped[Str100 | None] = mapped_column(comment="The bot's label of the entry")
    exit_tag: Mapped[Str100 | None] = mapped_column(comment="The bot's label of the exit")
    notes: Mapped[str | None] = mapped_column(comment="A person's remarks")
    config_hash: Mapped[Str64 | None] = mapped_column(comment="SHA-256 of the configuration in force")

    @declared_attr
    @classmethod
    def signal(cls) -> Mapped[Signal | None]:
        return relationship(lazy="raise_on_sql")

    @declared_attr
    @classmethod
    def strategy(cls) -> Mapped[Strategy | None]:
        return relationship(lazy="raise_on_sql")

    @declared_attr
    @classmethod
    def position(cls) -> Mapped[Position | None]:
        return relationship(lazy="raise_on_sql")

    @declared_attr
    @classmethod
    def entry_order(cls) -> Mapped[Order | None]:
        return relationship(lazy="raise_on_sql", foreign_keys=[cls.entry_order_id])

    @declared_attr
    @classmethod
    def exit_order(cls) -> Mapped[Order | None]:
        return relationship(lazy="raise_on_sql", foreign_keys=[cls.exit_order_id])


class Trade(TradeColumns, Mutable, Base):
    __tablename__ = "trades"
    __table_args__ = (
        Index(
            "ix_trades_open",
            "account_id",
            desc("entry_timestamp"),
            postgresql_where=text("status IN ('OPEN', 'PARTIALLY_FILLED')"),
        ),
        Index(
            "ix_trades_open_of_position",
            "position_id",
            postgresql_where=text("status IN ('OPEN', 'PARTIALLY_FILLED')"),
        ),
        Index(
            "ix_trades_closed_pnl", "strategy_id", "realized_pnl", postgresql_where=text("status = 'CLOSED'")
        ),
        Index("ix_trades_pnl", "realized_pnl", postgresql_where=text("status = 'CLOSED'")),
        *_indexes_of_references(),
        _closed_is_complete(),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        {"comment": "A cycle from the first entry fill to the last exit fill"},
    )


class ArchivedTrade(TradeColumns, Mutable, Base):
    __tablename__ = "trades_archive"
    __table_args__ = (
        *_indexes_of_references(),
        _closed_is_complete(),
        {"comment": "Closed trades moved out of the way after two years"},
    )

    archived_at: Mapped[datetime] = mapped_column(
        server_default=text("now()"), comment="When it was moved here"
    )
