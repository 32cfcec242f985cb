"""What a bot asks for in its own words, over repositories and units of work."""

from gal_friday.services.portfolio_manager import PortfolioManager, PortfolioStateManager

__all__ = ["PortfolioManager", "PortfolioStateManager"]
