"""Ten seeds of everything that can go wrong, and the same seed twice."""

import pytest
from sqlalchemy import URL

from tests.replays import a_database_url
from tests.servers import TRADER, PostgresServer
from tests.simulation.run import simulate

TICKS = 10


@pytest.mark.parametrize("seed", range(5, 15))
async def test_every_promise_holds_in_a_simulation(seed: int, database_url: URL, owner_url: URL) -> None:
    outcome = await simulate(seed, database_url, owner_url, ticks=TICKS)
    assert outcome.violations == (), f"python -m tests.simulation {seed} --ticks {TICKS} --trace"


async def test_a_seed_replays_exactly(postgres_server: PostgresServer, template_database: str) -> None:
    traces = []
    for _ in range(2):
        with a_database_url(postgres_server, template_database) as url:
            assert url.username == TRADER
            traces.append((await simulate(12, url, url.set(username="postgres"), ticks=TICKS)).trace)
    assert traces[0] == traces[1]
