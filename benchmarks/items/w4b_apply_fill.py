"""W4b: the three fills of an order take effect on the books: order, position, trade, equity, history, event.

gal_friday is told what the exchange said; by hand the same rows are read, locked and written in a transaction
of each fill (fill_by_hand.py). Both leave the same books, which a test compares. Every task trades a strategy
of its own; what they share is the account's equity.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from benchmarks.harness.item import CONCURRENCY, Item, Operation
from benchmarks.harness.workbench import Workbench
from benchmarks.items.fill_by_hand import Found, attribution, flat, reads, writes
from benchmarks.rows import MAKE_STRATEGY, Row, fill_row, order_row, store_order_rows
from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import Fill

FILLS_OF_ORDER = 3
#: As many strategies as any variant has tasks.
STRATEGIES = [f"momentum-{number}" for number in range(8)]


async def setup(bench: Workbench) -> None:
    owner = await bench.owner()
    for strategy in STRATEGIES:
        await owner.execute(MAKE_STRATEGY, strategy)
    await owner.close()


async def prepare(bench: Workbench) -> Sequence[list[Row]]:
    """Orders at the exchange, a lane's to buy and to sell in turn, and the fills of each."""
    count = max(bench.size // FILLS_OF_ORDER, 1)
    orders = []
    for number in range(count):
        order = order_row(
            strategy_id=STRATEGIES[number % bench.tasks],
            side="SELL" if number // bench.tasks % 2 else "BUY",
            status="NEW",
        )
        orders.append({**order, "exchange_order_id": order["id"].hex})
    await store_order_rows(bench, orders)
    third = orders[0]["quantity"] / FILLS_OF_ORDER
    return [
        [
            fill_row(order, number * FILLS_OF_ORDER + part, quantity_filled=third)
            for part in range(FILLS_OF_ORDER)
        ]
        for number, order in enumerate(orders)
    ]


ITEM = Item(
    key="W4b",
    title="apply an order's three fills to the books",
    unit="fills/s",
    setup=setup,
    prepare=prepare,
    size=72,
    quick_size=48,
    variants=CONCURRENCY,
)


@ITEM.peer("asyncpg")
@asynccontextmanager
async def by_hand(bench: Workbench) -> AsyncIterator[Operation[list[Row]]]:
    async with bench.peer("asyncpg") as connections:

        async def apply(fills: list[Row]) -> None:
            for fill in fills:
                with connections.lent() as connection:
                    async with connection.transaction():
                        await connection.execute(*flat(attribution(fill)))
                        found = Found(*[await connection.fetchrow(*flat(read)) for read in reads(fill)])
                        for write in writes(found, fill):
                            await connection.execute(*flat(write))

        yield apply


@ITEM.peer("psycopg, pipeline")
@asynccontextmanager
async def psycopg(bench: Workbench) -> AsyncIterator[Operation[list[Row]]]:
    async with bench.peer("psycopg") as pool:

        async def apply(fills: list[Row]) -> None:
            for fill in fills:
                async with pool.connection() as connection, connection.pipeline(), connection.transaction():
                    await connection.execute(*attribution(fill))
                    answers = [await connection.execute(*read) for read in reads(fill)]
                    found = Found(*[await answer.fetchone() for answer in answers])
                    for write in writes(found, fill):
                        await connection.execute(*write)

        yield apply


@ITEM.peer("gal_friday.apply_fill")
@asynccontextmanager
async def ours(bench: Workbench) -> AsyncIterator[Operation[list[Row]]]:
    async with bench.peer("gal_friday") as db:

        async def apply(fills: list[Row]) -> None:
            for fill in fills:
                outcome = await db.execution.apply_fill(Fill(**fill))
                assert outcome.result is FillResult.APPLIED

        yield apply
