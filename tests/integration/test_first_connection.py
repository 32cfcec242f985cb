"""The first connection of a process breaks at any of its requests: it is made again."""

from collections.abc import Sequence

import pytest
from sqlalchemy import URL

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from tests.simulation.chance import Chance
from tests.simulation.gate import Fault, Gate
from tests.simulation.wire import Wire


class OneFault(Gate):
    """Lets everything pass but one request."""

    def __init__(self, fault: Fault, place: int) -> None:
        super().__init__(Chance(0), "first", 1, self._happened)
        self._fault, self._due = fault, place

    def _happened(self, fault: Fault, place: int) -> None:
        self.is_calm = True


async def nothing(_backend: int) -> None:
    pass


async def opened(url: URL, gate: Gate) -> Sequence[bool]:
    settings = DatabaseSettings(application_name="first")
    async with Wire(url, gate, nothing).url() as way, DatabaseConnectionPool(settings, url=way) as pool:
        return [gate.is_calm, (await pool.health_check()).ok]


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.CUT_AFTER])
async def test_a_pool_opens_whichever_request_of_its_first_connection_breaks(
    fault: Fault, database_url: URL
) -> None:
    for place in range(1, 9):
        assert await opened(database_url, OneFault(fault, place)) == [True, True], place
