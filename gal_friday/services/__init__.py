"""What a trading system asks of its state: decisions and effects, each in the transaction it is given."""

from gal_friday.services.risk_manager import RiskManager

__all__ = ["RiskManager"]
