"""`gal-friday recover`."""

import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.journal.slots import directory_name
from gal_friday.dal.models import Order
from gal_friday.database import Database
from gal_friday.durable_log import DurableLog
from tests.commands import gal_friday
from tests.factories import a_fill, a_strategy, an_order


@pytest.fixture
async def order(database: Database) -> Order:
    strategy = await database.strategies.add(a_strategy())
    order = await database.orders.add(an_order(strategy, client_order_id="mine-1"))
    await database.execution.apply_fill(a_fill(order, order_id=None, exchange_order_id="X404"))
    return order


async def spoil(owner_url: URL) -> None:
    async with (
        DatabaseConnectionPool(DatabaseSettings(), url=owner_url) as pool,
        pool.transaction() as uow,
    ):
        await uow.session.execute(text("UPDATE portfolio_state SET closed_equity = closed_equity + 7"))


@pytest.mark.usefixtures("order")
async def test_a_dry_run_prints_the_certificate_and_stores_nothing(
    database: Database, database_url: URL, tmp_path: Path
) -> None:
    done = gal_friday(database_url, tmp_path, "recover", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "mine-1" in done.stdout
    assert "X404" in done.stdout
    assert "default may trade (dry run, nothing stored)." in done.stdout
    assert await database.recoveries.latest() is None


async def test_a_dry_run_tells_what_the_journal_holds_and_who_halted_the_account(
    database: Database, database_url: URL, tmp_path: Path, journal_directory: Path
) -> None:
    slot = journal_directory / directory_name(database_url) / "0"
    log = await DurableLog.open(slot, max_bytes=10**6)
    await log.append([b"{}"])
    await log.close()
    before = sorted((path, path.stat().st_size) for path in slot.rglob("*"))
    async with database.transaction() as uow:
        await uow.halts.halt(reason="holidays", by="alice")
    done = gal_friday(database_url, tmp_path, "recover", "--dry-run")
    assert done.returncode == 1, done.stderr
    assert "pending 1, refused 0" in done.stdout
    assert "by alice: holidays" in done.stdout
    assert sorted((path, path.stat().st_size) for path in slot.rglob("*")) == before
    shutil.rmtree(slot)


async def test_a_refusal_is_explained_and_overridden_by_name(
    database: Database, database_url: URL, owner_url: URL, tmp_path: Path
) -> None:
    await spoil(owner_url)
    refused = gal_friday(database_url, tmp_path, "recover")
    assert refused.returncode == 1
    assert "stored 5000007, rebuilt 5000000" in refused.stdout
    assert (await database.accounts.one("default")).halted_by == "recovery"
    unnamed = gal_friday(database_url, tmp_path, "recover", "--override", "equity")
    assert unnamed.returncode == 1
    assert "reason" in unnamed.stderr
    overridden = gal_friday(database_url, tmp_path, "recover", "--override", "equity", "--reason", "known")
    assert overridden.returncode == 0, overridden.stderr
    assert "overridden: known" in overridden.stdout
    certificate = await database.recoveries.latest()
    assert certificate is not None
    assert f"certificate {certificate.id}" in overridden.stdout
    assert (await database.accounts.one("default")).halted_at is None


async def test_long_findings_are_counted(
    database: Database, database_url: URL, owner_url: URL, tmp_path: Path
) -> None:
    strategy = await database.strategies.add(a_strategy())
    orders = await database.orders.add_many([an_order(strategy) for _ in range(25)])
    await database.execution.apply_fills([a_fill(each, quantity_filled=Decimal(1)) for each in orders])
    async with (
        DatabaseConnectionPool(DatabaseSettings(), url=owner_url) as pool,
        pool.transaction() as uow,
    ):
        await uow.session.execute(text("UPDATE orders SET filled_quantity = filled_quantity / 2"))
    done = gal_friday(database_url, tmp_path, "recover", "--dry-run")
    assert done.returncode == 1
    assert "and 5 more" in done.stdout
