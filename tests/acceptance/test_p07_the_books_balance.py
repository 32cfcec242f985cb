"""P07: positions, trades and equity are what fills and cash flows alone lead to."""

from tests.fills import Trading
from gal_friday.database import Database
from gal_friday.state.verification import verify


async def trade(database: Database, seed: int) -> str:
    trading = Trading(seed)
    async with database.transaction() as uow:
        await uow.accounts.open_account(trading.account_id)
        await uow.strategies.add_many(trading.strategies)
        await uow.orders.add_many(trading.orders)
    for batch in trading.batches(trading.reports()):
        await database.execution.apply_fills(batch)
    return trading.account_id

async def test_x(database: Database) -> None:
    for seed in range(100):
        await trade(database, seed)
    async with database.transaction(read_only=True, snapshot=True) as uow:
        result = await verify(uow)
        print(result)
        assert result.is_balanced
