"""Net positions and their marks."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from gal_friday.dal.models.enums import PositionSide
from gal_friday.dal.models.models_base import (
    AccountScoped,
    Base,
    ExactCost,
    Identified,
    LongInt,
    Mutable,
    Str20,
    Str32,
    Str64,
)
from gal_friday.dal.models.strategies import Strategy


class Position(Identified, Mutable, AccountScoped, Base):
    __tablename__ = "positions"
    __table_args__ = (
        Index(
            "uq_positions_one_open",
            "account_id",
            "exchange",
            "trading_pair",
            "strategy_id",
            "quote_currency",
            unique=True,
            postgresql_where=text("closed_at IS NULL"),
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_positions_open", "account_id", "id", postgresql_where=text("closed_at IS NULL")),
        Index(None, "account_id", "opened_at"),
        Index(None, "trading_pair", "opened_at"),
        Index(None, "strategy_id"),
        Index(None, "opened_at"),
        CheckConstraint("quantity >= 0", name="quantity_not_negative"),
        CheckConstraint("closed_at IS NULL OR quantity = 0", name="closed_is_flat"),
        {"comment": "The net position of one strategy in one pair"},
    )

    strategy_id: Mapped[Str64 | None] = mapped_column(
        ForeignKey("strategies.strategy_id", ondelete="RESTRICT"), comment="Strategy holding it"
    )
    exchange: Mapped[Str32] = mapped_column(comment="Exchange it is held at")
    trading_pair: Mapped[Str64] = mapped_column(comment="Canonical pair, BASE/QUOTE")
    quote_currency: Mapped[Str20] = mapped_column(comment="Currency of price, cost and profit")
    side: Mapped[PositionSide] = mapped_column(comment="Long or short")
    quantity: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Open quantity, never negative"
    )
    cost: Mapped[ExactCost] = mapped_column(
        server_default=text("0"), comment="Exact entry cost of the open quantity"
    )
    entry_price: Mapped[Decimal | None] = mapped_column(
        comment="cost / quantity, half up to 18 decimals; kept when closed"
    )
    realized_pnl: Mapped[ExactCost] = mapped_column(
        server_default=text("0"), comment="Exact profit and loss of what was closed, before commission"
    )
    total_commission: Mapped[ExactCost] = mapped_column(
        server_default=text("0"), comment="Commission in quote currency"
    )
    last_applied_seq: Mapped[LongInt] = mapped_column(
        server_default=text("0"), comment="Number of the last fill or adjustment applied"
    )
    opened_at: Mapped[datetime] = mapped_column(comment="Time of the fill that opened it on this side")
    closed_at: Mapped[datetime | None] = mapped_column(comment="Time of the fill that made it flat")
    is_active: Mapped[bool] = mapped_column(
        Computed("closed_at IS NULL", persisted=True), comment="Whether the position is open"
    )

    strategy: Mapped[Strategy | None] = relationship(lazy="raise_on_sql")
    mark: Mapped["PositionMark | None"] = relationship(lazy="raise_on_sql", viewonly=True, uselist=False)


class PositionMark(Base):
    __tablename__ = "position_marks"
    __table_args__ = {"comment": "What a position is worth now; changes too often to be audited"}  # noqa: RUF012

    position_id: Mapped[UUID] = mapped_column(
        ForeignKey("positions.id", ondelete="RESTRICT"), primary_key=True, comment="Position marked"
    )
    current_price: Mapped[Decimal] = mapped_column(comment="Last price seen")
    unrealized_pnl: Mapped[Decimal] = mapped_column(comment="Profit and loss if closed at that price")
    marked_at: Mapped[datetime] = mapped_column(comment="Time of that price")

    position: Mapped[Position] = relationship(lazy="raise_on_sql")
