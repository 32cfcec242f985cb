"""Repositories: one module and one class for each table, and the names they go by."""

from gal_friday.dal.execution import Execution
from gal_friday.dal.repositories.account_repository import AccountRepository
from gal_friday.dal.repositories.archived_trade_repository import ArchivedTradeRepository
from gal_friday.dal.repositories.audit_repository import AuditRepository
from gal_friday.dal.repositories.backtest_repository import BacktestRepository
from gal_friday.dal.repositories.cash_flow_repository import CashFlowRepository
from gal_friday.dal.repositories.commit_marker_repository import CommitMarkerRepository
from gal_friday.dal.repositories.configuration_repository import ConfigurationRepository
from gal_friday.dal.repositories.fill_alias_repository import FillAliasRepository
from gal_friday.dal.repositories.fill_repository import FillRepository
from gal_friday.dal.repositories.halt_repository import HaltRepository
from gal_friday.dal.repositories.instance_repository import InstanceRepository
from gal_friday.dal.repositories.instrument_repository import InstrumentRepository
from gal_friday.dal.repositories.lease_repository import LeaseRepository
from gal_friday.dal.repositories.log_repository import LogRepository
from gal_friday.dal.repositories.market_data_repository import MarketDataRepository
from gal_friday.dal.repositories.market_trade_repository import MarketTradeRepository
from gal_friday.dal.repositories.model_repository import ModelRepository
from gal_friday.dal.repositories.order_history_repository import OrderHistoryRepository
from gal_friday.dal.repositories.order_repository import OrderRepository
from gal_friday.dal.repositories.portfolio_position_repository import PortfolioPositionRepository
from gal_friday.dal.repositories.portfolio_repository import PortfolioRepository
from gal_friday.dal.repositories.portfolio_state_repository import PortfolioStateRepository
from gal_friday.dal.repositories.position_mark_repository import PositionMarkRepository
from gal_friday.dal.repositories.position_repository import PositionRepository
from gal_friday.dal.repositories.prediction_repository import PredictionRepository
from gal_friday.dal.repositories.pyramiding_state_repository import PyramidingStateRepository
from gal_friday.dal.repositories.recovery_repository import RecoveryRepository
from gal_friday.dal.repositories.risk_decision_repository import RiskDecisionRepository
from gal_friday.dal.repositories.risk_limit_repository import RiskLimitRepository
from gal_friday.dal.repositories.series_point_repository import SeriesPointRepository
from gal_friday.dal.repositories.signal_log_repository import SignalLogRepository
from gal_friday.dal.repositories.signal_repository import SignalRepository
from gal_friday.dal.repositories.strategy_metric_repository import StrategyMetricRepository
from gal_friday.dal.repositories.strategy_repository import StrategyRepository
from gal_friday.dal.repositories.strategy_state_repository import StrategyStateRepository
from gal_friday.dal.repositories.system_config_repository import SystemConfigRepository
from gal_friday.dal.repositories.trade_repository import TradeRepository
from gal_friday.dal.repositories.unmatched_fill_repository import UnmatchedFillRepository


class Repositories:
    """Every repository by the name it has on a unit of work and on the database: declared here only."""

    accounts: AccountRepository
    instruments: InstrumentRepository
    cash_flows: CashFlowRepository

    strategies: StrategyRepository
    strategy_states: StrategyStateRepository
    strategy_metrics: StrategyMetricRepository
    signals: SignalRepository
    signal_log: SignalLogRepository
    risk_limits: RiskLimitRepository
    risk_decisions: RiskDecisionRepository

    execution: Execution
    orders: OrderRepository
    order_history: OrderHistoryRepository
    fills: FillRepository
    fill_aliases: FillAliasRepository
    unmatched_fills: UnmatchedFillRepository
    trades: TradeRepository
    archived_trades: ArchivedTradeRepository
    positions: PositionRepository
    position_marks: PositionMarkRepository
    portfolio_positions: PortfolioPositionRepository
    portfolio_states: PortfolioStateRepository
    pyramiding_states: PyramidingStateRepository
    snapshots: PortfolioRepository

    market_data: MarketDataRepository
    market_trades: MarketTradeRepository
    series_points: SeriesPointRepository
    backtests: BacktestRepository
    models: ModelRepository
    predictions: PredictionRepository

    instances: InstanceRepository
    leases: LeaseRepository
    halts: HaltRepository
    recoveries: RecoveryRepository
    commit_markers: CommitMarkerRepository
    audit: AuditRepository
    logs: LogRepository
    configurations: ConfigurationRepository
    system_config: SystemConfigRepository
