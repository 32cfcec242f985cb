"""W13: an engine's positions kept by DatabaseStateManager: saved, read from the cache, ten saved at once.

By hand a save is one UPDATE that names the version read; there is no cache, a read asks the server.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count

from benchmarks.harness.item import Item, Operation, Variant
from benchmarks.harness.workbench import Workbench
from benchmarks.rows import with_strategy
from gal_friday.dal.models import PortfolioPosition
from gal_friday.state import DatabaseStateManager

AT_ONCE = 10
GET = "cached get"
SAVE_TOGETHER = "10 saves at once"

ADD = """
    INSERT INTO portfolio_positions (
        account_id, position_id, instrument, currency, entry_timestamp, entry_price, lots, quantity,
        current_stop
    )
    SELECT 'default', $1 || number, 'GOLD_MINI', 'INR', now(), 72000, 3, 300, 70000
    FROM generate_series(0, $2 - 1) AS number
    ON CONFLICT DO NOTHING
"""
SAVE = """
    UPDATE portfolio_positions SET current_stop = $4, highest_close = $5
    WHERE account_id = 'default' AND position_id = $1 AND row_version = $2 AND status = $3
    RETURNING row_version
"""
READ = "SELECT * FROM portfolio_positions WHERE account_id = 'default' AND position_id = $1"


async def own_positions(bench: Workbench, peer: str) -> list[str]:
    """Names of positions that only *peer* changes."""
    owner = await bench.owner()
    await owner.execute(ADD, f"{peer}-", AT_ONCE)
    await owner.close()
    return [f"{peer}-{number}" for number in range(AT_ONCE)]


async def prepare(bench: Workbench) -> Sequence[Sequence[int]]:
    """Numbers of the positions concerned: one after the other, or all of them at once."""
    if bench.variant == SAVE_TOGETHER:
        return [range(AT_ONCE)] * max(bench.size // AT_ONCE, 1)
    return [[number % AT_ONCE] for number in range(bench.size)]


ITEM = Item(
    key="W13",
    title="an engine's positions saved and read",
    unit="µs",
    setup=with_strategy,
    prepare=prepare,
    size=100,
    quick_size=50,
    variants=(
        Variant("save"),
        Variant(GET),
        Variant(SAVE_TOGETHER, connections=AT_ONCE),
    ),
)


@ITEM.peer("asyncpg")
@asynccontextmanager
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[Sequence[int]]]:
    names = await own_positions(bench, "asyncpg")
    prices = count(70_000)
    async with bench.peer("asyncpg") as connections:
        with connections.lent() as connection:
            versions = {name: (await connection.fetchrow(READ, name))["row_version"] for name in names}

        async def save(number: int) -> None:
            name, price = names[number], Decimal(next(prices))
            with connections.lent() as connection:
                versions[name] = await connection.fetchval(SAVE, name, versions[name], "open", price, price)
            assert versions[name] is not None

        async def get(numbers: Sequence[int]) -> None:
            with connections.lent() as connection:
                assert await connection.fetchrow(READ, names[numbers[0]])

        async def save_all(numbers: Sequence[int]) -> None:
            if len(numbers) == 1:
                await save(numbers[0])
            else:
                await asyncio.gather(*map(save, numbers))

        yield get if bench.variant == GET else save_all


@ITEM.peer("gal_friday")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[Sequence[int]]]:
    names = await own_positions(bench, "gal_friday")
    prices = count(70_000)
    async with bench.peer("gal_friday") as db:
        manager = DatabaseStateManager(db)
        positions: dict[str, PortfolioPosition] = await manager.get_all_open_positions()

        async def save(number: int) -> None:
            position = positions[names[number]]
            position.current_stop = position.highest_close = Decimal(next(prices))
            await manager.save_position(position)

        async def get(numbers: Sequence[int]) -> None:
            assert await manager.get_position(names[numbers[0]])

        async def save_all(numbers: Sequence[int]) -> None:
            if len(numbers) == 1:
                await save(numbers[0])
            else:
                await asyncio.gather(*map(save, numbers))

        yield get if bench.variant == GET else save_all
