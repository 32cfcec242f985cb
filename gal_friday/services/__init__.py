"""What a bot asks for in its own words, over repositories and units of work."""

from gal_friday.services.portfolio_manager import PortfolioManager, PortfolioStateManager
from gal_friday.services.strategy_metrics import Basis, Benchmark, StrategyMetrics

__all__ = ["Basis", "Benchmark", "PortfolioManager", "PortfolioStateManager", "StrategyMetrics"]
