"""Fills: what the exchange says was executed."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from gal_friday.dal.models.enums import LiquidityType, ReportSource, Side
from gal_friday.dal.models.models_base import (
    AccountScoped,
    AppendOnly,
    Base,
    ExactCost,
    Identified,
    JsonObject,
    LongInt,
    Proportion,
    Str20,
    Str32,
    Str64,
    Str100,
)
from gal_friday.dal.models.orders import Order
from gal_friday.dal.models.positions import Position


class Fill(Identified, AccountScoped, AppendOnly, Base):
    __tablename__ = "fills"
    __table_args__ = (
        UniqueConstraint(
            "account_id",
            "exchange",
            "trading_pair",
            "exchange_order_id",
            "fill_id",
            name="uq_fills_identity",
        ),
        UniqueConstraint("order_id", "fill_id"),
        Index(None, "position_id", "applied_seq"),
        Index(None, "trade_id"),
        Index(None, "exchange_order_id"),
        Index(None, "filled_at"),
        Index(None, "trading_pair", "filled_at"),
        CheckConstraint("quantity_filled > 0", name="quantity_positive"),
        {"comment": "Append-only: one row per execution, however often it was reported"},
    )

    order_id: Mapped[UUID] = mapped_column(
        ForeignKey("orders.id", ondelete="RESTRICT"), comment="Order filled"
    )
    position_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("positions.id", ondelete="RESTRICT"), comment="Position it was applied to"
    )
    trade_id: Mapped[UUID | None] = mapped_column(comment="Trade it is part of (soft link)")
    fill_id: Mapped[Str100] = mapped_column(comment="The exchange's trade id, or one derived by us")
    fill_id_synthetic: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="True where the exchange sent no id"
    )
    exchange_order_id: Mapped[Str100] = mapped_column(comment="The exchange's order id")
    client_order_id: Mapped[Str100 | None] = mapped_column(comment="Our order id, where the report names it")
    exchange: Mapped[Str32] = mapped_column(comment="Exchange it happened at")
    trading_pair: Mapped[Str64] = mapped_column(comment="Canonical pair, BASE/QUOTE")
    applied_seq: Mapped[LongInt | None] = mapped_column(
        comment="Its number within the position, in the order of application"
    )
    side: Mapped[Side] = mapped_column(comment="Buy or sell")
    quantity_filled: Mapped[Decimal] = mapped_column(comment="Base units executed")
    fill_price: Mapped[Decimal] = mapped_column(comment="Price of the execution")
    quote_currency: Mapped[Str20] = mapped_column(comment="Currency of the price")
    commission: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Fee in commission_asset; negative is a rebate"
    )
    commission_asset: Mapped[Str20] = mapped_column(comment="Currency of the commission")
    commission_rate: Mapped[Proportion | None] = mapped_column(comment="Fee as a proportion of the value")
    commission_quote: Mapped[ExactCost | None] = mapped_column(
        comment="Fee in quote currency; empty where the rate is not known"
    )
    contract_multiplier: Mapped[Decimal] = mapped_column(
        server_default=text("1"), comment="The instrument's, as it was applied"
    )
    net_quantity: Mapped[Decimal | None] = mapped_column(
        comment="Units the position changed by, negative when sold: a fee taken in base units is out of it"
    )
    cumulative_quantity: Mapped[Decimal | None] = mapped_column(
        comment="Base units of the order filled after it, where the exchange says so"
    )
    realized_pnl: Mapped[ExactCost | None] = mapped_column(
        comment="Exact profit and loss it realised, before commission"
    )
    liquidity_type: Mapped[LiquidityType | None] = mapped_column(comment="Added or took liquidity")
    filled_at: Mapped[datetime] = mapped_column(comment="When it happened, by the exchange's clock")
    received_at: Mapped[datetime] = mapped_column(
        server_default=text("now()"), comment="When we first heard of it"
    )
    applied_at: Mapped[datetime | None] = mapped_column(comment="When it took effect on the books")
    source: Mapped[ReportSource] = mapped_column(
        server_default=ReportSource.ENGINE, comment="How we first heard of it"
    )
    raw: Mapped[JsonObject | None] = mapped_column(comment="The exchange's report as received")

    order: Mapped[Order] = relationship(lazy="raise_on_sql")
    position: Mapped[Position | None] = relationship(lazy="raise_on_sql")


class FillAlias(Identified, AccountScoped, AppendOnly, Base):
    __tablename__ = "fill_aliases"
    __table_args__ = (
        UniqueConstraint("order_id", "fill_id"),
        Index(None, "account_id"),
        Index(None, "aliased_fill_id"),
        {"comment": "Append-only: further ids a fill became known by, like the real one of a synthetic fill"},
    )

    aliased_fill_id: Mapped[UUID] = mapped_column(
        ForeignKey("fills.id", ondelete="RESTRICT"), comment="Fill it is an id of"
    )
    order_id: Mapped[UUID] = mapped_column(
        ForeignKey("orders.id", ondelete="RESTRICT"), comment="Order filled"
    )
    fill_id: Mapped[Str100] = mapped_column(comment="The exchange's trade id, or one derived by us")
    fill_id_synthetic: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="True where the exchange sent no id"
    )
    source: Mapped[ReportSource] = mapped_column(comment="How it became known")
    raw: Mapped[JsonObject | None] = mapped_column(comment="The exchange's report as received")

    fill: Mapped[Fill] = relationship(lazy="raise_on_sql")
    order: Mapped[Order] = relationship(lazy="raise_on_sql")


class UnmatchedFill(Identified, AccountScoped, Base):
    __tablename__ = "unmatched_fills"
    __table_args__ = (
        UniqueConstraint(
            "account_id",
            "exchange",
            "trading_pair",
            "order_id",
            "exchange_order_id",
            "client_order_id",
            "fill_id",
            name="uq_unmatched_fills_identity",
            postgresql_nulls_not_distinct=True,
        ),
        Index(None, "exchange_order_id"),
        Index(None, "client_order_id"),
        Index(None, "order_id"),
        CheckConstraint(
            "num_nonnulls(order_id, exchange_order_id, client_order_id) > 0", name="names_an_order"
        ),
        Index(None, "received_at"),
        {"comment": "Fills whose order is not known yet"},
    )

    exchange: Mapped[Str32] = mapped_column(comment="Exchange it happened at")
    trading_pair: Mapped[Str64] = mapped_column(comment="Pair as sent")
    order_id: Mapped[UUID | None] = mapped_column(comment="Order it was said to be of (soft link)")
    exchange_order_id: Mapped[Str100 | None] = mapped_column(comment="The exchange's order id")
    client_order_id: Mapped[Str100 | None] = mapped_column(comment="Our order id, where the report names it")
    fill_id: Mapped[Str100] = mapped_column(comment="The exchange's trade id, or one derived by us")
    payload: Mapped[JsonObject] = mapped_column(comment="The fill as it will be applied")
    received_at: Mapped[datetime] = mapped_column(
        server_default=text("now()"), comment="When we first heard of it"
    )
    source: Mapped[ReportSource] = mapped_column(comment="How we first heard of it")
    problem: Mapped[str | None] = mapped_column(
        comment="Why it could not be applied although its order is known"
    )
