"""P02: what was there before process and server died is there after it, field by field."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE

from sqlalchemy import make_url

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.database import Database
from gal_friday.state import DatabaseStateManager
from gal_friday.state.leases import hold_lease
from gal_friday.state.recovery import recover
from tests.conftest import make_template
from tests.restored import PAIRS, everything
from tests.servers import TRADER, PostgresServer


async def test_a_restart_restores_everything_field_by_field(breakable_server: PostgresServer) -> None:
    name = await make_template(breakable_server)
    url = make_url(breakable_server.url(name, user=TRADER))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.restored", url.render_as_string(hide_password=False), stdout=PIPE,
        limit=2**20,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(120):
        before = json.loads(await process.stdout.readline())
    process.kill()
    await process.wait()
    breakable_server.kill()
    breakable_server.start()

    async with DatabaseConnectionPool(DatabaseSettings(), url=url) as pool:
        database = Database(pool)
        async with hold_lease(database, wait_seconds=60) as lease:
            assert lease.epoch == 2
            recovery = await recover(database, lease=lease)
            after = everything(recovery.require())
            manager = DatabaseStateManager(database)
            assert set(await manager.get_all_open_positions()) == {"P1", "P2"}
            assert await manager.check_duplicate_signal(before["signals_seen"][0])
    assert after["counts"].keys() == after["checksums"].keys()
    assert {kind: after[kind] for kind in before} == before
    for kind in RESTORED:
        assert before[kind], f"nothing of {kind} was there to restore"
    assert (len(after["positions"]), len(after["orders"])) == (len(PAIRS), len(PAIRS))


RESTORED = (
    *("account", "positions", "orders", "portfolio_positions", "portfolio_states", "pyramiding_states"),
    *("strategy_states", "strategy_halts", "risk_limits", "signals_seen", "configuration"),
)
