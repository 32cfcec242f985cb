"""Facts of the exchange while the database is away: on disk at once, in the database once it is back."""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gal_friday.config import DatabaseSettings, JournalSettings, Settings
from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import OrderStatus
from gal_friday.database import open_database
from gal_friday.errors import DatabaseUnavailable, NotYetStored
from gal_friday.services import ExecutionHandler
from gal_friday.state.verification import verify
from tests.exchanges import Exchange
from tests.factories import a_fill, a_strategy, an_order
from tests.servers import PostgresServer

ONE = Decimal(1)


def settings_of(server: PostgresServer, directory: Path, **journal: Any) -> Settings:
    return Settings(
        database=DatabaseSettings(url=server.url(), retry_timeout_seconds=5),
        journal=JournalSettings(directory=directory, **{"patience_seconds": 0.2, **journal}),
    )


async def test_what_the_exchange_says_while_the_server_is_away_is_applied_when_it_is_back(
    breakable_server: PostgresServer, tmp_path: Path
) -> None:
    exchange = Exchange()
    async with open_database(settings_of(breakable_server, tmp_path / "journal")) as db:
        strategy = await db.strategies.add(a_strategy())
        handler = ExecutionHandler(db, exchange, actor="bot")
        order = await handler.submit(an_order(strategy, quantity=Decimal(100)))
        other = await handler.submit(an_order(strategy))
        fills = [a_fill(order, fill_id=f"t{n}") for n in range(20)]
        assert [(await handler.fill(each)).result for each in fills[:5]] == [FillResult.APPLIED] * 5
        breakable_server.stop()
        first = await handler.fill(fills[5])
        assert first.result is FillResult.JOURNALED
        started = time.monotonic()
        for each in fills[5:]:
            assert (await handler.fill(each)).result is FillResult.JOURNALED
        assert time.monotonic() - started < 1
        report = await handler.expired(other.id)
        assert report.is_journaled
        with pytest.raises(NotYetStored):
            _ = report.order
        canceled = await handler.cancel(order.id, reason="protect")
        assert exchange.asked[-1] == ("cancel", canceled)
        with pytest.raises(DatabaseUnavailable):
            await handler.submit(an_order(strategy))
        assert [what for what, _ in exchange.asked] == ["submit", "submit", "cancel"]
        assert db.journal.pending() == 19
        breakable_server.start()
        stats = await db.journal.drain()
        assert (stats.pending, stats.journaled, stats.refused) == (0, 19, 0)
        assert stats.duplicates == 2  # the first was told twice, and so was the cancel
        stored = await db.orders.one(order.id)
        assert stored.filled_quantity == 20
        assert stored.status is OrderStatus.PENDING_CANCEL
        assert (await db.orders.one(other.id)).status is OrderStatus.EXPIRED
        numbers = {each.fill_id: each.applied_seq for each in await db.fills.find_all()}
        assert [numbers[f"t{n}"] for n in range(20)] == list(range(1, 21))
        async with db.transaction() as uow:
            assert (await verify(uow)).is_balanced
    assert not (tmp_path / "journal").exists()
