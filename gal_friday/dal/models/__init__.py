"""Every table, on one Base."""

from gal_friday.dal.models.accounts import Account, CashFlow, Instrument
from gal_friday.dal.models.fills import Fill, UnmatchedFill
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID, Base, new_id
from gal_friday.dal.models.orders import Order, OrderHistory
from gal_friday.dal.models.positions import Position, PositionMark
from gal_friday.dal.models.signals import RiskDecision, RiskLimit, Signal, TradeSignal
from gal_friday.dal.models.strategies import Strategy, StrategyState
from gal_friday.dal.models.trades import ArchivedTrade, Trade

__all__ = [
    "DEFAULT_ACCOUNT_ID",
    "Account",
    "ArchivedTrade",
    "Base",
    "CashFlow",
    "Fill",
    "Instrument",
    "Order",
    "OrderHistory",
    "Position",
    "PositionMark",
    "RiskDecision",
    "RiskLimit",
    "Signal",
    "Strategy",
    "StrategyState",
    "Trade",
    "TradeSignal",
    "UnmatchedFill",
    "new_id",
]
