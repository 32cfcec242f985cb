"""Strategies and their own working state."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, desc, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from gal_friday.dal.models.models_base import (
    AccountKeyed,
    Base,
    ExactCost,
    JsonAny,
    JsonObject,
    Mutable,
    Proportion,
    Recorded,
    Str20,
    Str64,
    Str100,
    Str128,
)


class Strategy(Recorded, Mutable, Base):
    __tablename__ = "strategies"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        Index("ix_strategies_trading_pairs", "trading_pairs", postgresql_using="gin"),
        Index(None, "is_active", "is_paper_trading"),
        Index(None, "timeframe"),
        Index("ix_strategies_performance", desc("total_pnl"), "max_drawdown"),
        CheckConstraint("timeframe ~ '^[1-9][0-9]*[smhdwM]$'", name="timeframe"),
        CheckConstraint("cardinality(trading_pairs) > 0", name="has_pairs"),
        CheckConstraint("winning_trades BETWEEN 0 AND total_trades", name="wins_within_trades"),
        {"comment": "A strategy in one version, with its configuration and running totals"},
    )

    strategy_id: Mapped[Str64] = mapped_column(primary_key=True, comment="Name chosen by the operator")
    name: Mapped[Str100] = mapped_column(comment="Name without the version")
    version: Mapped[Str20] = mapped_column(comment="Version of its code")
    description: Mapped[str | None] = mapped_column(comment="What it does")
    author: Mapped[Str100 | None] = mapped_column(comment="Who wrote it")
    config: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"), comment="Its parameters")
    timeframe: Mapped[Str20] = mapped_column(comment="Candle length it decides on, like 5m")
    trading_pairs: Mapped[list[str]] = mapped_column(comment="Pairs it trades")
    is_active: Mapped[bool] = mapped_column(server_default=text("false"), comment="Whether it runs")
    is_paper_trading: Mapped[bool] = mapped_column(
        server_default=text("true"), comment="Whether it trades without real money"
    )
    total_trades: Mapped[int] = mapped_column(server_default=text("0"), comment="Closed trades")
    winning_trades: Mapped[int] = mapped_column(
        server_default=text("0"), comment="Closed trades with a profit"
    )
    total_pnl: Mapped[ExactCost] = mapped_column(
        server_default=text("0"), comment="Realised profit and loss in the account's reporting currency"
    )
    max_drawdown: Mapped[Proportion] = mapped_column(
        server_default=text("0"), comment="Largest loss from a peak, as a proportion of it"
    )
    last_executed_at: Mapped[datetime | None] = mapped_column(comment="When it last acted")
    deactivated_at: Mapped[datetime | None] = mapped_column(comment="When it was switched off")


class StrategyState(Recorded, Mutable, AccountKeyed, Base):
    __tablename__ = "strategy_state"
    __table_args__ = (
        Index(None, "strategy_id"),
        {"comment": "A strategy's working state, restored when it starts again"},
    )

    strategy_id: Mapped[Str64] = mapped_column(
        ForeignKey("strategies.strategy_id", ondelete="RESTRICT"),
        primary_key=True,
        comment="Whose state it is",
    )
    key: Mapped[Str128] = mapped_column(primary_key=True, comment="Name of the piece of state")
    value: Mapped[JsonAny] = mapped_column(comment="The state itself")

    strategy: Mapped[Strategy] = relationship(lazy="raise_on_sql")


class StrategyHalt(Recorded, Mutable, AccountKeyed, Base):
    __tablename__ = "strategy_halts"
    __table_args__ = (
        Index(None, "strategy_id"),
        CheckConstraint("(halted_at IS NULL) = (halt_reason IS NULL)", name="halt_has_a_reason"),
        {"comment": "Strategies that were halted in an account, and those that may go on again"},
    )

    strategy_id: Mapped[Str64] = mapped_column(
        ForeignKey("strategies.strategy_id", ondelete="RESTRICT"),
        primary_key=True,
        comment="Strategy concerned",
    )
    halted_at: Mapped[datetime | None] = mapped_column(comment="Since when nothing new may be intended")
    halt_reason: Mapped[str | None] = mapped_column(comment="Why the strategy was halted")
    halted_by: Mapped[Str64 | None] = mapped_column(comment="Who halted the strategy")

    strategy: Mapped[Strategy] = relationship(lazy="raise_on_sql")
