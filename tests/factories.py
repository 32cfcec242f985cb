"""Entities as a bot would make them: valid, with ids of their own, any value overridden by name."""

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from gal_friday.dal.models import (
    ArchivedTrade,
    Backtest,
    BacktestStatus,
    Candle,
    CashFlow,
    CashFlowKind,
    EntryType,
    Fill,
    Instance,
    Instrument,
    Log,
    MachineLearningModel,
    MarketTrade,
    Order,
    OrderHistory,
    OrderStatus,
    OrderType,
    PortfolioPosition,
    PortfolioSnapshot,
    Position,
    PositionSide,
    Prediction,
    ReportSource,
    RiskDecision,
    RiskLimit,
    RiskScope,
    RiskVerdict,
    SeriesPoint,
    Severity,
    Side,
    Signal,
    SignalLog,
    Strategy,
    StrategyMetric,
    Trade,
    TradeStatus,
    UnmatchedFill,
    new_id,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PAIR = "BTC/USD"
EXCHANGE = "kraken"


def a_fingerprint() -> str:
    """A SHA-256 nothing else has."""
    return hashlib.sha256(new_id().bytes).hexdigest()


def a_strategy(**overrides: Any) -> Strategy:
    name = f"momentum-{new_id().hex[-12:]}"
    values = {"strategy_id": name, "name": name, "version": "1", "timeframe": "5m", "trading_pairs": [PAIR]}
    return Strategy(**{**values, **overrides})


def an_instrument(**overrides: Any) -> Instrument:
    values = {
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "base_currency": "BTC",
        "quote_currency": "USD",
        "price_step": Decimal("0.1"),
    }
    return Instrument(**{**values, **overrides})


def a_cash_flow(**overrides: Any) -> CashFlow:
    values = {
        "currency": "USD",
        "amount": Decimal(100),
        "kind": CashFlowKind.DEPOSIT,
        "venue_id": new_id().hex,
        "occurred_at": NOON,
    }
    return CashFlow(**{**values, **overrides})


def a_signal(strategy: Strategy, **overrides: Any) -> Signal:
    values = {
        "strategy_id": strategy.strategy_id,
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "side": Side.BUY,
        "entry_type": EntryType.MARKET,
        "confidence": Decimal("0.75"),
        "fingerprint": a_fingerprint(),
    }
    return Signal(**{**values, **overrides})


def a_risk_limit(**overrides: Any) -> RiskLimit:
    values = {"scope": RiskScope.ACCOUNT, "key": "default", "max_open_positions": 3}
    return RiskLimit(**{**values, **overrides})


def a_risk_decision(**overrides: Any) -> RiskDecision:
    values = {
        "decision": RiskVerdict.APPROVED,
        "checks": [{"limit": "max_open_positions", "value": 1, "passed": True}],
        "decided_by": "risk-manager",
        "decided_at": NOON,
    }
    return RiskDecision(**{**values, **overrides})


def an_order(strategy: Strategy, **overrides: Any) -> Order:
    values = {
        "client_order_id": new_id().hex,
        "strategy_id": strategy.strategy_id,
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": Decimal(2),
        "limit_price": Decimal(50_000),
    }
    return Order(**{**values, **overrides})


def an_order_history(order: Order, **overrides: Any) -> OrderHistory:
    values = {
        "order_id": order.id,
        "from_status": OrderStatus.PENDING_NEW,
        "to_status": OrderStatus.NEW,
        "occurred_at": NOON,
    }
    return OrderHistory(**{**values, **overrides})


def a_fill(order: Order, **overrides: Any) -> Fill:
    values = {
        "order_id": order.id,
        "fill_id": new_id().hex,
        "exchange_order_id": order.exchange_order_id or order.id.hex,
        "exchange": order.exchange,
        "trading_pair": order.trading_pair,
        "side": order.side,
        "quantity_filled": Decimal(1),
        "fill_price": Decimal(50_000),
        "quote_currency": "USD",
        "commission": Decimal(13),
        "commission_asset": "USD",
        "filled_at": NOON,
    }
    return Fill(**{**values, **overrides})


def an_unmatched_fill(**overrides: Any) -> UnmatchedFill:
    values = {
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "exchange_order_id": new_id().hex,
        "fill_id": new_id().hex,
        "payload": {"price": Decimal(50_000), "quantity": Decimal(1)},
        "source": ReportSource.STREAM,
    }
    return UnmatchedFill(**{**values, **overrides})


def a_position(strategy: Strategy | None = None, **overrides: Any) -> Position:
    values = {
        "strategy_id": strategy and strategy.strategy_id,
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "quote_currency": "USD",
        "side": PositionSide.LONG,
        "quantity": Decimal(2),
        "cost": Decimal(100_000),
        "entry_price": Decimal(50_000),
        "opened_at": NOON,
    }
    return Position(**{**values, **overrides})


def a_portfolio_position(**overrides: Any) -> PortfolioPosition:
    values = {
        "position_id": new_id().hex,
        "instrument": "GOLD_MINI",
        "currency": "INR",
        "entry_timestamp": NOON,
        "entry_price": Decimal(72_000),
        "lots": 3,
        "quantity": Decimal(300),
    }
    return PortfolioPosition(**{**values, **overrides})


def a_trade(strategy: Strategy | None = None, **overrides: Any) -> Trade:
    return Trade(**_trade_values(strategy, overrides))


def an_archived_trade(strategy: Strategy | None = None, **overrides: Any) -> ArchivedTrade:
    return ArchivedTrade(**_trade_values(strategy, _closed(overrides)))


def a_closed_trade(strategy: Strategy | None = None, **overrides: Any) -> Trade:
    return Trade(**_trade_values(strategy, _closed(overrides)))


def _trade_values(strategy: Strategy | None, overrides: dict[str, Any]) -> dict[str, Any]:
    return {
        "strategy_id": strategy and strategy.strategy_id,
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "quote_currency": "USD",
        "side": Side.BUY,
        "entry_timestamp": NOON,
        "quantity": Decimal(2),
        "average_entry_price": Decimal(50_000),
        **overrides,
    }


def _closed(overrides: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": TradeStatus.CLOSED,
        "exit_timestamp": overrides.get("entry_timestamp", NOON) + 30 * MINUTE,
        "average_exit_price": Decimal(51_000),
        "realized_pnl": Decimal(2_000),
        "exit_reason": "TAKE_PROFIT",
        **overrides,
    }


def a_signal_log(**overrides: Any) -> SignalLog:
    values = {
        "fingerprint": a_fingerprint(),
        "instrument": "GOLD_MINI",
        "signal_type": "BASE_ENTRY",
        "signal_timestamp": NOON,
    }
    return SignalLog(**{**values, **overrides})


def an_instance(**overrides: Any) -> Instance:
    values = {"instance_id": new_id().hex, "hostname": "host", "pid": 4711, "app_version": "0.1.0"}
    return Instance(**{**values, **overrides})


def a_candle(**overrides: Any) -> Candle:
    values = {
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "timeframe": "1m",
        "timestamp": NOON,
        "open": Decimal(100),
        "high": Decimal(110),
        "low": Decimal(90),
        "close": Decimal(105),
        "volume": Decimal("12.5"),
    }
    return Candle(**{**values, **overrides})


def a_market_trade(**overrides: Any) -> MarketTrade:
    values = {
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "traded_at": NOON,
        "trade_id": new_id().hex,
        "price": Decimal(100),
        "quantity": Decimal("0.5"),
    }
    return MarketTrade(**{**values, **overrides})


def a_series_point(**overrides: Any) -> SeriesPoint:
    values = {
        "measurement": "system_metrics",
        "series_hash": new_id(),
        "timestamp": NOON,
        "tags": {"host": "a"},
        "fields": {"cpu_usage_pct": 12.5},
    }
    return SeriesPoint(**{**values, **overrides})


def a_snapshot(**overrides: Any) -> PortfolioSnapshot:
    values = {
        "snapshot_timestamp": NOON,
        "currency": "USD",
        "total_equity": Decimal(5_000_000),
        "available_balance": Decimal(4_900_000),
    }
    return PortfolioSnapshot(**{**values, **overrides})


def a_strategy_metric(strategy: Strategy, **overrides: Any) -> StrategyMetric:
    values = {"strategy_id": strategy.strategy_id, "date": NOON.date(), "currency": "USD"}
    return StrategyMetric(**{**values, **overrides})


def a_backtest(strategy: Strategy, **overrides: Any) -> Backtest:
    values = {
        "strategy_id": strategy.strategy_id,
        "name": "last year",
        "trading_pair": PAIR,
        "timeframe": "5m",
        "start_date": NOON - timedelta(days=365),
        "end_date": NOON,
        "currency": "USD",
        "initial_capital": Decimal(10_000),
        "status": BacktestStatus.COMPLETED,
        "config_hash": a_fingerprint(),
        "code_version": "1",
        "data_fingerprint": a_fingerprint(),
    }
    return Backtest(**{**values, **overrides})


def a_model(**overrides: Any) -> MachineLearningModel:
    values = {"model_name": "direction", "version": new_id().hex, "prediction_target": "close_in_5m"}
    return MachineLearningModel(**{**values, **overrides})


def a_prediction(model: MachineLearningModel, **overrides: Any) -> Prediction:
    values = {
        "model_id": model.id,
        "predicted_at": NOON,
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "prediction_target": model.prediction_target,
        "prediction_value": Decimal("0.62"),
    }
    return Prediction(**{**values, **overrides})


def a_log(**overrides: Any) -> Log:
    values = {"source_module": "risk", "log_level": Severity.INFO, "message": "all is well"}
    return Log(**{**values, **overrides})
