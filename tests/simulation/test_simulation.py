"""Ten seeds of everything that can go wrong, and the same seed twice."""

import pytest
from sqlalchemy import URL

from tests.simulation.run import simulate


@pytest.mark.parametrize("seed", range(2))
async def test_every_promise_holds_in_a_simulation(seed: int, database_url: URL, owner_url: URL) -> None:
    outcome = await simulate(seed, database_url, owner_url)
    assert outcome.violations == ()
