"""Rows that come with time: candles, ticks, points of any measurement, portfolio snapshots."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from gal_friday.dal.models.enums import Side
from gal_friday.dal.models.models_base import (
    AccountScoped,
    AppendOnly,
    Base,
    Identified,
    JsonArray,
    JsonObject,
    Proportion,
    Recorded,
    Str20,
    Str32,
    Str64,
    Str100,
    Str128,
)
from gal_friday.dal.models.strategies import Strategy


class Candle(Recorded, Base):
    __tablename__ = "market_data"
    __table_args__ = (
        # Partitions are already cut by time; BRIN finds the blocks within one at next to no cost of writing.
        Index(None, "timestamp", postgresql_using="brin"),
        Index("ix_market_data_volume", "trading_pair", "volume", postgresql_where=text("volume > 0")),
        CheckConstraint("timeframe ~ '^[1-9][0-9]*[smhdwM]$'", name="timeframe"),
        CheckConstraint(
            "high >= greatest(open, close, low) AND low <= least(open, close)", name="high_low_bound"
        ),
        CheckConstraint("volume >= 0", name="volume_not_negative"),
        CheckConstraint("data_quality_score BETWEEN 0 AND 100", name="quality_within_0_100"),
        {
            "comment": "Candles; an unfinished one is replaced as a whole until it is final",
            "postgresql_partition_by": 'RANGE ("timestamp")',
        },
    )

    exchange: Mapped[Str32] = mapped_column(primary_key=True, comment="Exchange traded at")
    trading_pair: Mapped[Str64] = mapped_column(primary_key=True, comment="Canonical pair, BASE/QUOTE")
    timeframe: Mapped[Str20] = mapped_column(primary_key=True, comment="Length, like 5m")
    timestamp: Mapped[datetime] = mapped_column(primary_key=True, comment="When the candle begins")
    open: Mapped[Decimal] = mapped_column(comment="First price")
    high: Mapped[Decimal] = mapped_column(comment="Highest price")
    low: Mapped[Decimal] = mapped_column(comment="Lowest price")
    close: Mapped[Decimal] = mapped_column(comment="Last price")
    volume: Mapped[Decimal] = mapped_column(comment="Base units traded")
    trades_count: Mapped[int | None] = mapped_column(comment="Trades made, where the source says")
    vwap: Mapped[Decimal | None] = mapped_column(
        comment="Volume-weighted average price, where the source says"
    )
    is_final: Mapped[bool] = mapped_column(
        server_default=text("true"), comment="False while the candle still changes"
    )
    data_source: Mapped[Str32 | None] = mapped_column(comment="Where the candle was taken from")
    data_quality_score: Mapped[int] = mapped_column(
        server_default=text("100"), comment="Trust in the candle, from 0 to 100"
    )


class MarketTrade(Recorded, AppendOnly, Base):
    __tablename__ = "market_trades"
    __table_args__ = (
        Index(None, "traded_at", postgresql_using="brin"),
        {
            "comment": "Append-only: trades of everyone, as the exchange publishes them",
            "postgresql_partition_by": "RANGE (traded_at)",
        },
    )

    exchange: Mapped[Str32] = mapped_column(primary_key=True, comment="Exchange traded at")
    trading_pair: Mapped[Str64] = mapped_column(primary_key=True, comment="Canonical pair, BASE/QUOTE")
    traded_at: Mapped[datetime] = mapped_column(primary_key=True, comment="Time of the trade")
    trade_id: Mapped[Str100] = mapped_column(
        primary_key=True, comment="The exchange's id, or one derived by us"
    )
    price: Mapped[Decimal] = mapped_column(comment="Price of the trade")
    quantity: Mapped[Decimal] = mapped_column(comment="Base units traded")
    side: Mapped[Side | None] = mapped_column(comment="Side of the taker, where the exchange says")


class SeriesPoint(Recorded, Base):
    __tablename__ = "series_points"
    __table_args__ = (
        Index(None, "measurement", "timestamp"),
        CheckConstraint("nanosecond BETWEEN 0 AND 999", name="nanosecond_within_0_999"),
        {
            "comment": "Points of any measurement, where there is no InfluxDB",
            "postgresql_partition_by": 'RANGE ("timestamp")',
        },
    )

    measurement: Mapped[Str128] = mapped_column(primary_key=True, comment="What is measured")
    # 128 bits: of two series with one 64-bit hash, one would silently overwrite the other's points.
    series_hash: Mapped[UUID] = mapped_column(
        primary_key=True, comment="Name-based UUID of the tags, sorted, in canonical JSON"
    )
    timestamp: Mapped[datetime] = mapped_column(
        primary_key=True, comment="Time of the point, to the microsecond"
    )
    nanosecond: Mapped[int] = mapped_column(
        primary_key=True,
        autoincrement=False,
        default=0,  # known before it is sent, as part of a key that rows are told apart by
        server_default=text("0"),
        comment="Nanoseconds beyond that microsecond, so that no two points fall together",
    )
    tags: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"), comment="Tags that name the series")
    fields: Mapped[JsonObject] = mapped_column(comment="Values measured")


class PortfolioSnapshot(Identified, AccountScoped, AppendOnly, Base):
    __tablename__ = "portfolio_snapshots"
    __table_args__ = (
        UniqueConstraint(
            "account_id",
            "strategy_id",
            "snapshot_timestamp",
            name="uq_portfolio_snapshots_one_per_instant",
            postgresql_nulls_not_distinct=True,
        ),
        Index(None, "strategy_id", "snapshot_timestamp"),
        {
            "comment": "Append-only: the portfolio as it stood",
            "postgresql_partition_by": "RANGE (snapshot_timestamp)",
        },
    )

    snapshot_timestamp: Mapped[datetime] = mapped_column(
        primary_key=True, sort_order=-100, comment="When it stood so"
    )
    strategy_id: Mapped[Str64 | None] = mapped_column(
        ForeignKey("strategies.strategy_id", ondelete="RESTRICT"),
        comment="Strategy it is limited to; empty for the whole account",
    )
    currency: Mapped[Str20] = mapped_column(comment="Currency of the amounts")
    rates: Mapped[JsonObject] = mapped_column(
        server_default=text("'{}'"), comment="Exchange rates used to reach that currency, as text"
    )
    total_equity: Mapped[Decimal] = mapped_column(comment="Balance and value of the positions")
    available_balance: Mapped[Decimal] = mapped_column(comment="Balance free to trade with")
    unrealized_pnl: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Profit and loss if all were closed now"
    )
    realized_pnl: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Profit and loss of what was closed"
    )
    total_exposure: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Value of the positions, long and short added"
    )
    total_exposure_pct: Mapped[Proportion] = mapped_column(
        server_default=text("0"), comment="Exposure in percent of equity"
    )
    leverage: Mapped[Proportion] = mapped_column(server_default=text("0"), comment="Exposure over equity")
    daily_pnl: Mapped[Decimal | None] = mapped_column(comment="Profit and loss since the UTC day began")
    daily_pnl_pct: Mapped[Proportion | None] = mapped_column(comment="The same in percent of equity")
    daily_drawdown_pct: Mapped[Proportion] = mapped_column(
        server_default=text("0"), comment="Loss from the day's peak in percent of it"
    )
    weekly_drawdown_pct: Mapped[Proportion] = mapped_column(
        server_default=text("0"), comment="Loss from the week's peak in percent of it"
    )
    total_drawdown_pct: Mapped[Proportion] = mapped_column(
        server_default=text("0"), comment="Loss from the highest peak in percent of it"
    )
    open_orders_count: Mapped[int] = mapped_column(
        server_default=text("0"), comment="Orders that can still fill"
    )
    positions: Mapped[JsonArray] = mapped_column(
        server_default=text("'[]'"), comment="Open positions: pair, quantity, entry price, value, profit"
    )
    extra: Mapped[JsonObject] = mapped_column(
        "metadata", server_default=text("'{}'"), comment="Whatever the bot wants to remember"
    )

    strategy: Mapped[Strategy | None] = relationship(lazy="raise_on_sql")


#: The name of its table, which older documents use.
MarketData = Candle
