"""What a trading system asks of its state: decisions and effects, each in the transaction it is given."""

from gal_friday.services.execution_handler import ExecutionHandler
from gal_friday.services.live.terms import Contract, EntryTerms, Intended
from gal_friday.services.live_engine import LiveTradingEngine
from gal_friday.services.portfolio_manager import PortfolioManager, PortfolioStateManager
from gal_friday.services.risk_manager import RiskManager
from gal_friday.services.strategy_metrics import Basis, Benchmark, StrategyMetrics

__all__ = [
    "Basis",
    "Benchmark",
    "Contract",
    "EntryTerms",
    "ExecutionHandler",
    "Intended",
    "LiveTradingEngine",
    "PortfolioManager",
    "PortfolioStateManager",
    "RiskManager",
    "StrategyMetrics",
]
