"""Orders, and everything that was ever said about one."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, FetchedValue, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from gal_friday.dal.models.enums import (
    OrderOrigin,
    OrderStatus,
    OrderType,
    ReportSource,
    Side,
    TimeInForce,
)
from gal_friday.dal.models.models_base import (
    AccountScoped,
    AppendOnly,
    Base,
    ExactCost,
    Identified,
    JsonObject,
    Mutable,
    Str32,
    Str64,
    Str100,
)
from gal_friday.dal.models.signals import Signal
from gal_friday.dal.models.strategies import Strategy

if TYPE_CHECKING:
    from gal_friday.dal.models.fills import Fill

_WORKING = text("status IN ('PENDING_NEW', 'NEW', 'PARTIALLY_FILLED', 'PENDING_CANCEL')")


class Order(Identified, Mutable, AccountScoped, Base):
    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("account_id", "exchange", "client_order_id"),
        Index(
            "uq_orders_exchange_order",
            "account_id",
            "exchange",
            "trading_pair",
            "exchange_order_id",
            unique=True,
            postgresql_where=text("exchange_order_id IS NOT NULL"),
        ),
        Index("ix_orders_working", "account_id", "created_at", "id", postgresql_where=_WORKING),
        Index("ix_orders_working_pair", "trading_pair", "created_at", "id", postgresql_where=_WORKING),
        Index(None, "signal_id"),
        Index(None, "strategy_id", "trading_pair"),
        Index(None, "status", "created_at", "id"),
        Index(None, "exchange_order_id"),
        Index(None, "created_at"),
        Index(None, "parent_order_id"),
        Index(None, "trade_id"),
        Index(None, "position_id"),
        CheckConstraint(
            "origin = 'EXTERNAL' OR (num_nonnulls(quantity, quote_quantity) > 0"
            " AND least(quantity, quote_quantity) > 0)",
            name="has_a_quantity",
        ),
        CheckConstraint("filled_quantity >= 0", name="filled_not_negative"),
        CheckConstraint(
            "origin = 'EXTERNAL' OR order_type NOT IN ('LIMIT', 'STOP_LIMIT') OR limit_price IS NOT NULL",
            name="limit_has_price",
        ),
        CheckConstraint(
            "origin = 'EXTERNAL' OR (client_order_id IS NOT NULL AND strategy_id IS NOT NULL)",
            name="ours_is_identified",
        ),
        CheckConstraint("retry_count >= 0", name="retries_not_negative"),
        {"comment": "Orders we sent, and orders found at the exchange"},
    )

    origin: Mapped[OrderOrigin] = mapped_column(
        server_default=OrderOrigin.ENGINE, comment="Ours, or found at the exchange"
    )
    client_order_id: Mapped[Str100 | None] = mapped_column(comment="Our id, sent along; idempotency key")
    exchange_order_id: Mapped[Str100 | None] = mapped_column(comment="The exchange's id")
    signal_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("signals.id", ondelete="RESTRICT"), comment="Signal it carries out"
    )
    strategy_id: Mapped[Str64 | None] = mapped_column(
        ForeignKey("strategies.strategy_id", ondelete="RESTRICT"), comment="Strategy it belongs to"
    )
    parent_order_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("orders.id", ondelete="RESTRICT"), comment="Order it protects"
    )
    trade_id: Mapped[UUID | None] = mapped_column(comment="Trade it is part of (soft link)")
    position_id: Mapped[UUID | None] = mapped_column(comment="Position it works on (soft link)")
    exchange: Mapped[Str32] = mapped_column(comment="Exchange it is sent to")
    trading_pair: Mapped[Str64] = mapped_column(comment="Canonical pair, BASE/QUOTE")
    side: Mapped[Side] = mapped_column(comment="Buy or sell")
    order_type: Mapped[OrderType] = mapped_column(comment="How it executes")
    time_in_force: Mapped[TimeInForce] = mapped_column(
        server_default=TimeInForce.GTC, comment="How long it stays"
    )
    reduce_only: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="May only make a position smaller"
    )
    post_only: Mapped[bool] = mapped_column(server_default=text("false"), comment="May only add liquidity")
    quantity: Mapped[Decimal | None] = mapped_column(comment="Base units ordered")
    quote_quantity: Mapped[Decimal | None] = mapped_column(comment="Quote currency to spend instead")
    limit_price: Mapped[Decimal | None] = mapped_column(comment="Worst price accepted")
    stop_price: Mapped[Decimal | None] = mapped_column(comment="Price that triggers it")
    filled_quantity: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Base units filled so far"
    )
    remaining_quantity: Mapped[Decimal | None] = mapped_column(
        Computed(
            "CASE WHEN quantity > filled_quantity THEN quantity - filled_quantity"
            " ELSE quantity - quantity END",
            persisted=True,
        ),
        comment="Base units still to fill; empty where no quantity was ordered",
    )
    overfilled: Mapped[bool | None] = mapped_column(
        Computed("filled_quantity > quantity", persisted=True), comment="More was filled than ordered"
    )
    cost: Mapped[ExactCost] = mapped_column(
        server_default=text("0"), comment="Exact sum of price × quantity of its fills"
    )
    average_fill_price: Mapped[Decimal | None] = mapped_column(
        comment="cost / filled_quantity, half up to 18 decimals"
    )
    commission_by_asset: Mapped[JsonObject] = mapped_column(
        server_default=text("'{}'"), comment="Commission per currency, amounts as text"
    )
    commission_quote: Mapped[ExactCost] = mapped_column(
        server_default=text("0"), comment="Commission in quote currency, as far as rates are known"
    )
    status: Mapped[OrderStatus] = mapped_column(
        server_default=OrderStatus.PENDING_NEW, comment="Where it stands; moves forward only"
    )
    status_at: Mapped[datetime] = mapped_column(
        server_default=text("clock_timestamp()"),
        server_onupdate=FetchedValue(),
        comment="Since when it stands there; the server's clock where the writer names no time",
    )
    reported_status: Mapped[OrderStatus | None] = mapped_column(
        comment="What the exchange last said; status follows when the fills are there"
    )
    reported_filled_quantity: Mapped[Decimal | None] = mapped_column(
        comment="Base units the exchange last said were filled"
    )
    error_message: Mapped[str | None] = mapped_column(comment="Why it was rejected")
    retry_count: Mapped[int] = mapped_column(server_default=text("0"), comment="Times it was sent again")
    submitted_at: Mapped[datetime | None] = mapped_column(comment="When it was sent")
    filled_at: Mapped[datetime | None] = mapped_column(comment="When it was completely filled")
    canceled_at: Mapped[datetime | None] = mapped_column(comment="When it was canceled")
    extra: Mapped[JsonObject] = mapped_column(
        "metadata", server_default=text("'{}'"), comment="Whatever the bot wants to remember"
    )

    signal: Mapped[Signal | None] = relationship(lazy="raise_on_sql")
    strategy: Mapped[Strategy | None] = relationship(lazy="raise_on_sql")
    parent: Mapped["Order | None"] = relationship(lazy="raise_on_sql", remote_side="Order.id")
    fills: Mapped[list["Fill"]] = relationship(lazy="raise_on_sql", viewonly=True, order_by="Fill.filled_at")


class OrderHistory(Identified, AccountScoped, AppendOnly, Base):
    __tablename__ = "order_history"
    __table_args__ = (
        Index(None, "order_id", "occurred_at", "id"),
        Index(None, "account_id", "occurred_at"),
        {"comment": "Append-only, written by a trigger: every change of an order and every report about it"},
    )

    order_id: Mapped[UUID] = mapped_column(
        ForeignKey("orders.id", ondelete="RESTRICT"), comment="Order concerned"
    )
    from_status: Mapped[OrderStatus | None] = mapped_column(comment="Status before; empty for a new order")
    to_status: Mapped[OrderStatus] = mapped_column(comment="Status after")
    reported_status: Mapped[OrderStatus | None] = mapped_column(comment="What the exchange said")
    applied: Mapped[bool] = mapped_column(
        server_default=text("true"), comment="False for a report that came too late to move the order"
    )
    changes: Mapped[JsonObject] = mapped_column(
        server_default=text("'{}'"), comment="Amended columns, old and new"
    )
    occurred_at: Mapped[datetime] = mapped_column(comment="When it happened")
    source: Mapped[ReportSource] = mapped_column(
        server_default=ReportSource.MANUAL, comment="How it became known"
    )
    reason: Mapped[str | None] = mapped_column(comment="Why")
    raw: Mapped[JsonObject | None] = mapped_column(comment="The exchange's report as received")

    order: Mapped[Order] = relationship(lazy="raise_on_sql")
