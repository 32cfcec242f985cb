"""What a recovery restored, as text that can be compared; and a program that has something to restore.

`python -m tests.restored URL` leads the default account, builds up a state of every kind, says it in one line
of JSON, and waits to be killed.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
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


async def stored(database: Database) -> dict[str, Any]:
    """The same, asked for piece by piece, by other questions than a recovery's."""
    limits = await database.risk_limits.find_all()
    seen = await database.signal_log.find_all()
    strategies = await database.strategies.find_all()
    return {
        "account": spelled(await database.accounts.one("default")),
        "positions": _by_id(await database.positions.get_active_positions()),
        "orders": _by_id(await database.orders.get_active_orders()),
        "portfolio_positions": _by(await database.portfolio_positions.get_open_positions(), "position_id"),
        "portfolio_states": _by(await database.portfolio_states.of_account(), "currency"),
        "pyramiding_states": _by(await database.pyramiding_states.of_account("default"), "instrument"),
        "strategy_states": {
            each.strategy_id: spelled(await database.strategy_states.all_of(each.strategy_id))
            for each in strategies
        },
        "strategy_halts": _by(await database.halts.in_force(), "strategy_id"),
        "risk_limits": [spelled(limit) for limit in limits],
        "signals_seen": sorted(each.fingerprint for each in seen),
        "configuration": spelled(await database.configurations.get_active()),
    }


def _by(rows: Sequence[Base], name: str) -> dict[str, Any]:
    return {str(getattr(row, name)): spelled(row) for row in rows}


def _by_id(rows: Sequence[Any]) -> list[Any]:
    return [spelled(row) for row in sorted(rows, key=lambda row: row.id)]


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
            (await recover(database, lease=lease)).require()
            sys.stdout.write(json.dumps(await stored(database)) + "\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
