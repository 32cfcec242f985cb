"""What strategies achieved and models foretold."""

import datetime as dt
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from gal_friday.dal.models.enums import BacktestStatus, ModelStage
from gal_friday.dal.models.models_base import (
    AppendOnly,
    Base,
    Identified,
    JsonArray,
    JsonObject,
    LongInt,
    Mutable,
    Proportion,
    Str20,
    Str32,
    Str64,
    Str100,
    Str128,
)
from gal_friday.dal.models.strategies import Strategy


class StrategyMetric(Identified, Mutable, Base):
    __tablename__ = "strategy_metrics"
    __table_args__ = (
        UniqueConstraint("strategy_id", "date"),
        Index(None, "total_pnl", "sharpe_ratio"),
        Index(None, "max_drawdown", "var_95"),
        CheckConstraint(
            "least(winning_trades, losing_trades) >= 0 AND winning_trades + losing_trades <= total_trades",
            name="trades_add_up",
        ),
        CheckConstraint("win_rate BETWEEN 0 AND 1", name="win_rate_within_0_1"),
        {"comment": "Performance of a strategy on one UTC day, computed from its trades"},
    )

    strategy_id: Mapped[Str64] = mapped_column(
        ForeignKey("strategies.strategy_id", ondelete="RESTRICT"), comment="Strategy measured"
    )
    date: Mapped[dt.date] = mapped_column(comment="UTC day the trades were closed on")
    currency: Mapped[Str20] = mapped_column(comment="Currency of the amounts")
    total_trades: Mapped[int] = mapped_column(server_default=text("0"), comment="Trades closed")
    winning_trades: Mapped[int] = mapped_column(server_default=text("0"), comment="Closed with a profit")
    losing_trades: Mapped[int] = mapped_column(server_default=text("0"), comment="Closed with a loss")
    total_pnl: Mapped[Decimal] = mapped_column(server_default=text("0"), comment="Realised profit and loss")
    gross_profit: Mapped[Decimal] = mapped_column(server_default=text("0"), comment="Sum of the profits")
    gross_loss: Mapped[Decimal] = mapped_column(
        server_default=text("0"), comment="Sum of the losses, zero or less"
    )
    win_rate: Mapped[Proportion | None] = mapped_column(comment="Winners over trades; empty without trades")
    profit_factor: Mapped[Proportion | None] = mapped_column(
        comment="Gross profit over gross loss; empty without losses"
    )
    max_drawdown: Mapped[Proportion] = mapped_column(
        server_default=text("0"), comment="Largest loss from a peak, as a proportion of it"
    )
    max_drawdown_duration_minutes: Mapped[int | None] = mapped_column(
        comment="Longest time below a peak, in minutes"
    )
    sharpe_ratio: Mapped[Proportion | None] = mapped_column(comment="Annualised excess return over deviation")
    sortino_ratio: Mapped[Proportion | None] = mapped_column(
        comment="Annualised excess return over downside deviation"
    )
    calmar_ratio: Mapped[Proportion | None] = mapped_column(comment="Annualised return over largest drawdown")
    avg_trade_duration_minutes: Mapped[int | None] = mapped_column(
        comment="Mean time from entry to exit, in minutes"
    )
    max_trade_duration_minutes: Mapped[int | None] = mapped_column(
        comment="Longest time from entry to exit, in minutes"
    )
    avg_win: Mapped[Decimal | None] = mapped_column(comment="Mean profit of the winners")
    avg_loss: Mapped[Decimal | None] = mapped_column(comment="Mean loss of the losers")
    largest_win: Mapped[Decimal | None] = mapped_column(comment="Largest profit")
    largest_loss: Mapped[Decimal | None] = mapped_column(comment="Largest loss")
    var_95: Mapped[Decimal | None] = mapped_column(comment="Value at risk at 95 %")
    cvar_95: Mapped[Decimal | None] = mapped_column(comment="Mean loss beyond the value at risk at 95 %")
    market_correlation: Mapped[Proportion | None] = mapped_column(comment="Correlation with the benchmark")
    beta: Mapped[Proportion | None] = mapped_column(comment="Sensitivity to the benchmark")
    alpha: Mapped[Proportion | None] = mapped_column(comment="Return beyond what beta explains")

    strategy: Mapped[Strategy] = relationship(lazy="raise_on_sql")


class Backtest(Identified, Mutable, Base):
    __tablename__ = "backtests"
    __table_args__ = (
        Index(None, "strategy_id", "created_at"),
        Index(
            "ix_backtests_performance",
            "sharpe_ratio",
            "total_return",
            postgresql_where=text("status = 'COMPLETED'"),
        ),
        Index(None, "trading_pair", "timeframe"),
        Index(None, "config_hash", "code_version", "data_fingerprint"),
        CheckConstraint("start_date < end_date", name="starts_before_it_ends"),
        CheckConstraint("timeframe ~ '^[1-9][0-9]*[smhdwM]$'", name="timeframe"),
        CheckConstraint("initial_capital > 0", name="capital_positive"),
        CheckConstraint("winning_trades BETWEEN 0 AND total_trades", name="wins_within_trades"),
        CheckConstraint("win_rate BETWEEN 0 AND 1", name="win_rate_within_0_1"),
        CheckConstraint("status <> 'FAILED' OR error_message IS NOT NULL", name="failed_has_a_message"),
        {"comment": "A strategy run over past data: what went in, what came out"},
    )

    strategy_id: Mapped[Str64] = mapped_column(
        ForeignKey("strategies.strategy_id", ondelete="RESTRICT"), comment="Strategy tested"
    )
    name: Mapped[Str128] = mapped_column(comment="Name of the run")
    description: Mapped[str | None] = mapped_column(comment="What it was meant to find out")
    trading_pair: Mapped[Str64] = mapped_column(comment="Canonical pair, BASE/QUOTE")
    timeframe: Mapped[Str20] = mapped_column(comment="Candle length it ran on, like 5m")
    start_date: Mapped[datetime] = mapped_column(comment="First instant of the data")
    end_date: Mapped[datetime] = mapped_column(comment="Instant after the last of the data")
    currency: Mapped[Str20] = mapped_column(comment="Currency of the capital")
    initial_capital: Mapped[Decimal] = mapped_column(comment="Capital it started with")
    commission: Mapped[Proportion] = mapped_column(
        server_default=text("0"), comment="Commission assumed, as a proportion of a trade's value"
    )
    slippage: Mapped[Proportion] = mapped_column(
        server_default=text("0"), comment="Slippage assumed, as a proportion of the price"
    )
    total_return: Mapped[Proportion | None] = mapped_column(comment="Final over initial capital, less one")
    annualized_return: Mapped[Proportion | None] = mapped_column(comment="The same for a year")
    volatility: Mapped[Proportion | None] = mapped_column(comment="Annualised deviation of the returns")
    max_drawdown: Mapped[Proportion | None] = mapped_column(
        comment="Largest loss from a peak, as a proportion of it"
    )
    sharpe_ratio: Mapped[Proportion | None] = mapped_column(comment="Annualised excess return over deviation")
    total_trades: Mapped[int | None] = mapped_column(comment="Trades closed")
    winning_trades: Mapped[int | None] = mapped_column(comment="Closed with a profit")
    win_rate: Mapped[Proportion | None] = mapped_column(comment="Winners over trades; empty without trades")
    profit_factor: Mapped[Proportion | None] = mapped_column(
        comment="Gross profit over gross loss; empty without losses"
    )
    detailed_results: Mapped[JsonObject | None] = mapped_column(comment="Results beyond the columns")
    equity_curve: Mapped[JsonArray | None] = mapped_column(comment="Equity over time")
    trade_list: Mapped[JsonArray | None] = mapped_column(comment="Every trade made")
    config_hash: Mapped[Str64 | None] = mapped_column(comment="SHA-256 of the configuration tested")
    code_version: Mapped[Str64 | None] = mapped_column(comment="Version or commit of the code tested")
    data_fingerprint: Mapped[Str64 | None] = mapped_column(
        comment="SHA-256 of the data; equal configuration, code and data need no second run"
    )
    execution_time_ms: Mapped[LongInt | None] = mapped_column(comment="Run time in milliseconds")
    data_points_processed: Mapped[LongInt | None] = mapped_column(comment="Candles or ticks read")
    status: Mapped[BacktestStatus] = mapped_column(
        server_default=BacktestStatus.PENDING, comment="Where it stands"
    )
    error_message: Mapped[str | None] = mapped_column(comment="Why it failed")
    started_at: Mapped[datetime | None] = mapped_column(comment="When it began")
    completed_at: Mapped[datetime | None] = mapped_column(comment="When it ended, however it ended")

    strategy: Mapped[Strategy] = relationship(lazy="raise_on_sql")


class MachineLearningModel(Identified, Mutable, Base):
    __tablename__ = "ml_models"
    __table_args__ = (
        UniqueConstraint("model_name", "version"),
        Index(
            "uq_ml_models_one_in_production",
            "model_name",
            unique=True,
            postgresql_where=text("stage = 'PRODUCTION'"),
        ),
        Index(None, "stage"),
        CheckConstraint("artifact_sha256 ~ '^[0-9a-f]{64}$'", name="artifact_sha256"),
        {"comment": "A trained model in one version; at most one of a name is in production"},
    )

    model_name: Mapped[Str100] = mapped_column(comment="Name without the version")
    version: Mapped[Str64] = mapped_column(comment="Version of the trained model")
    stage: Mapped[ModelStage] = mapped_column(
        server_default=ModelStage.DEVELOPMENT, comment="How far it has been let"
    )
    prediction_target: Mapped[Str100] = mapped_column(comment="What it foretells")
    feature_set_id: Mapped[Str100 | None] = mapped_column(comment="Features it reads")
    artifact_uri: Mapped[str | None] = mapped_column(comment="Where the trained model is stored")
    artifact_sha256: Mapped[Str64 | None] = mapped_column(comment="SHA-256 of what is stored there")
    hyperparameters: Mapped[JsonObject] = mapped_column(
        server_default=text("'{}'"), comment="Parameters of the training"
    )
    metrics: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"), comment="How well it did")
    training_started_at: Mapped[datetime | None] = mapped_column(comment="When its training began")
    training_completed_at: Mapped[datetime | None] = mapped_column(comment="When its training ended")


class Prediction(Identified, AppendOnly, Base):
    __tablename__ = "predictions"
    __table_args__ = (
        Index(None, "id"),
        Index(None, "model_id", "predicted_at"),
        Index(None, "trading_pair", "predicted_at"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence_within_0_1"),
        {
            "comment": "Append-only: what a model foretold, and from which features",
            "postgresql_partition_by": "RANGE (predicted_at)",
        },
    )

    predicted_at: Mapped[datetime] = mapped_column(
        primary_key=True, sort_order=-100, comment="When it was foretold"
    )
    model_id: Mapped[UUID] = mapped_column(
        ForeignKey("ml_models.id", ondelete="RESTRICT"), comment="Model that foretold it"
    )
    exchange: Mapped[Str32] = mapped_column(comment="Exchange it is about")
    trading_pair: Mapped[Str64] = mapped_column(comment="Canonical pair, BASE/QUOTE")
    prediction_target: Mapped[Str100] = mapped_column(comment="What is foretold")
    prediction_value: Mapped[Proportion] = mapped_column(comment="The value foretold")
    confidence: Mapped[Proportion | None] = mapped_column(comment="Certainty from 0 to 1")
    features: Mapped[JsonObject] = mapped_column(
        server_default=text("'{}'"), comment="Features it was foretold from"
    )

    model: Mapped[MachineLearningModel] = relationship(lazy="raise_on_sql")
