"""What a recovery restored, as text that can be compared; and a program that has something to restore.

`python -m tests.restored URL` leads the default account, builds up a state of every kind, says it in one line
of JSON, and waits to be killed.
"""

import asyncio
import json
import sys
from decimal import Decimal
from typing import Any

from sqlalchemy import inspect, make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import Base, Order, OrderStatus, PyramidingState, RiskScope, Side, Strategy
from gal_friday.database import Database
from gal_friday.state.leases import hold_lease
from gal_friday.state.recovery import RestoredState, recover
from tests.factories import a_fill, a_portfolio_position, a_risk_limit, a_signal_log, a_strategy, an_order

TTL_SECONDS = 2.0
PAIRS = ("BTC/USD", "ETH/USD", "SOL/USD")


def spelled(value: Any) -> Any:
    """*value* in JSON, entities field by field."""
    match value:
        case Base():
            columns = inspect(type(value)).column_attrs.keys()
            return {name: spelled(getattr(value, name)) for name in columns}
        case dict():
            return {str(key): spelled(item) for key, item in value.items()}
        case list() | tuple():
            return [spelled(item) for item in value]
        case frozenset():
            return sorted(value)
        case int() | None:
            return value
        case _:
            return str(value)


def everything(state: RestoredState) -> dict[str, Any]:
    return {name: spelled(getattr(state, name)) for name in RestoredState.__dataclass_fields__}


async def build(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    for number, pair in enumerate(PAIRS, start=1):
        await _trade(database, strategy, pair, Decimal(number) / 7)
    await database.portfolio_positions.add(
        a_portfolio_position(position_id="P1", is_base_position=True, current_stop=Decimal("71234.5"))
    )
    await database.portfolio_positions.add(a_portfolio_position(position_id="P2"))
    await database.pyramiding_states.add(
        PyramidingState(
            instrument="GOLD_MINI",
            base_position_id="P1",
            pyramid_count=1,
            last_pyramid_price=Decimal("72000.000000000000000001"),
        )
    )
    await database.strategy_states.set_value(strategy.strategy_id, "window", [Decimal("1.10"), None, "x"])
    await database.signal_log.record(a_signal_log())
    await database.risk_limits.add(a_risk_limit(scope=RiskScope.ACCOUNT, max_notional=Decimal(10**9)))
    loaded = await database.configurations.load({"risk": {"max": Decimal("1.50")}})
    await database.configurations.activate(loaded.config_hash)
    async with database.transaction() as uow:
        await uow.halts.halt(reason="it lost too much", by="alice", strategy_id=strategy.strategy_id)


async def _trade(database: Database, strategy: Strategy, pair: str, quantity: Decimal) -> Order:
    exact = quantity.quantize(Decimal("1e-18"))
    order = await database.orders.add(
        an_order(strategy, trading_pair=pair, exchange_order_id=f"X-{pair}", quantity=Decimal(2))
    )
    await database.orders.transition(order.id, OrderStatus.NEW)
    await database.execution.apply_fill(a_fill(order, quantity_filled=exact, side=Side.BUY))
    return order


async def main(url: str) -> None:
    async with DatabaseConnectionPool(DatabaseSettings(), url=make_url(url)) as pool:
        database = Database(pool)
        async with hold_lease(database, ttl_seconds=TTL_SECONDS) as lease:
            await build(database)
            state = (await recover(database, lease=lease)).require()
            sys.stdout.write(json.dumps(everything(state)) + "\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
