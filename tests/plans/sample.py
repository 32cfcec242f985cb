"""The rows of filling.py that questions are about, and new ones like them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from gal_friday.dal.models import Order, OrderOrigin, Strategy
from gal_friday.dal.unit_of_work import UnitOfWork
from tests.factories import an_order
from tests.plans.filling import MANY, PAIRS

Call = Callable[[UnitOfWork], Awaitable[Any]]


def identifier(n: int) -> UUID:
    """The id of row *n*, and of what belongs to it in other tables."""
    return UUID(int=n)


def pair(n: int) -> str:
    """The pair of row *n*."""
    return f"P{(n + n // PAIRS) % PAIRS}/USD"


def hexadecimal(n: int) -> str:
    """The fingerprint of row *n*."""
    return f"{n:064x}"


#: Rows of the default account, in the middle of the table: one that is open, one that has ended.
OPEN, ENDED = MANY // 2, MANY // 2 + 4
NOW = datetime.now(UTC)
HOUR_AGO, DAY_AGO, TWO_DAYS_AGO = (NOW - timedelta(hours=hours) for hours in (1, 24, 48))
STRATEGY = Strategy(strategy_id="strategy0")
STRATEGY_ID = STRATEGY.strategy_id
PAIR, EXCHANGE = pair(ENDED), "kraken"
MARKS: dict[str | tuple[str, str], Decimal] = {
    f"P{OPEN}/USD": Decimal(2),
    (EXCHANGE, f"P{OPEN + 400}/USD"): Decimal(3),
}


def an_order_here(**overrides: Any) -> Order:
    return an_order(STRATEGY, **{"trading_pair": PAIR, **overrides})


def an_external_order(**overrides: Any) -> Order:
    values = {"origin": OrderOrigin.EXTERNAL, "client_order_id": None, "strategy_id": None}
    return an_order_here(**{**values, "exchange_order_id": "new", **overrides})
