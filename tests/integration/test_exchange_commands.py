"""`gal-friday reconcile` and `gal-friday adopt`, asking ccxt's kraken on the loopback."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL

from gal_friday.database import Database
from tests.kraken import Kraken
from tests.ledger import equity
from tests.replays import environment_of, environment_without_settings

HELD = """{
    "balances": {"USDT": "1000", "BTC": "0.5"},
    "positions": [{"pair": "BTC/USDT", "side": "LONG", "quantity": "0.5", "entry_price": "29500"}]
}"""


async def gal_friday(
    url: URL, directory: Path, *arguments: str, kraken_url: str | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run in a thread, while this process answers as Kraken."""
    if kraken_url is not None:
        environment |= {
            "GAL_FRIDAY_EXCHANGE__NAME": "kraken",
            "GAL_FRIDAY_EXCHANGE__API_KEY": "the-key",
            "GAL_FRIDAY_EXCHANGE__SECRET": "dG9wc2VjcmV0",
            "GAL_FRIDAY_EXCHANGE__OPTIONS": json.dumps(
                {
                    "enableRateLimit": False,
                    "urls": {"api": {"public": kraken_url, "private": kraken_url}},
                }
            ),
        }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "gal_friday", *arguments],
        cwd=directory,
        env=environment_without_settings(**environment_of(url), COLUMNS="140", **environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


async def test_a_reconciliation_is_rehearsed_and_then_done(
    database: Database, database_url: URL, tmp_path: Path
) -> None:
    kraken = Kraken.generated()
    command = (database_url, tmp_path, "reconcile", "--since", "2023-07-01T00:00:00Z")
    async with kraken.listening() as kraken_url:
        rehearsed = await gal_friday(*command, "--dry-run", kraken_url=kraken_url)
        assert "4 orders, 2 fills, 3 balances read; would be stored: 2 FILL, 4 ORDER_ADOPTED." in (
            rehearsed.stdout
        ), rehearsed.stderr
        assert "FILLS_IN_EXCESS" in rehearsed.stdout
        assert await database.orders.count() == 0
        done = await gal_friday(*command, "--json", kraken_url=kraken_url)
    assert await database.fills.count() == 2
    report = json.loads(done.stdout)
    assert (len(report["repairs"]), report["is_complete"], len(report["differences"])) == (6, True, 7)
    assert (rehearsed.returncode, done.returncode) == (1, 1)
    for output in (rehearsed, done):
        assert "dG9wc2VjcmV0" not in output.stdout + output.stderr
        assert "the-key" not in output.stdout + output.stderr


async def test_a_recovery_asks_the_exchange_that_is_configured(
    database: Database, database_url: URL, tmp_path: Path
) -> None:
    kraken = Kraken.generated()
    async with kraken.listening() as kraken_url:
        rehearsed = await gal_friday(database_url, tmp_path, "recover", "--dry-run", kraken_url=kraken_url)
        assert "differs at the exchange" in rehearsed.stdout, rehearsed.stderr
        assert await database.orders.count() == 0
        done = await gal_friday(database_url, tmp_path, "recover", kraken_url=kraken_url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert await database.orders.count() > 0
    certificate = await database.recoveries.latest()
    assert certificate is not None
    assert certificate.reconciliation is not None
    assert certificate.reconciliation["is_complete"]


async def test_an_account_is_taken_over_from_the_exchange_and_agrees_with_it(
    database: Database, database_url: URL, tmp_path: Path
) -> None:
    kraken = Kraken(balance={"USDT": "1000.5", "XXBT": "0.25"})
    async with kraken.listening() as kraken_url:
        done = await gal_friday(
            *(database_url, tmp_path, "adopt", "--account", "main", "--currency", "USDT"),
            kraken_url=kraken_url,
        )
        assert done.returncode == 0, done.stderr
        assert "Account 'main' taken over: 0 open positions." in done.stdout
        agreed = await gal_friday(
            database_url, tmp_path, "reconcile", "--account", "main", kraken_url=kraken_url
        )
    assert agreed.returncode == 0, agreed.stdout + agreed.stderr
    assert "Exchange and books agree." in agreed.stdout
    assert {name: str(amount.normalize()) for name, amount in (await equity(database, "main")).items()} == {
        "BTC": "0.25",
        "USDT": "1000.5",
    }


async def test_an_account_is_taken_over_from_a_file(
    database: Database, database_url: URL, tmp_path: Path
) -> None:
    (tmp_path / "held.json").write_text(HELD)
    done = await gal_friday(
        *(database_url, tmp_path, "adopt", "--account", "paper", "--file", "held.json", "--mode", "PAPER"),
        GAL_FRIDAY_EXCHANGE__NAME="kraken",
    )
    assert done.returncode == 0, done.stderr
    assert "15750" in done.stdout
    assert "Account 'paper' taken over: 1 open positions." in done.stdout
    assert (await equity(database, "paper"))["USDT"] == 15_750


async def test_an_exchange_that_is_away_exits_with_1(database_url: URL, tmp_path: Path) -> None:
    kraken = Kraken(errors={"OpenOrders": "EService:Unavailable"})
    async with kraken.listening() as kraken_url:
        done = await gal_friday(database_url, tmp_path, "reconcile", kraken_url=kraken_url)
    assert done.returncode == 1
    assert "fetch_open_orders: " in done.stdout
    assert "Not everything could be compared" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("adopt", "--account", "a"), "no exchange is named"),
        (("reconcile", "--since", "noon"), "write a time with its zone"),
    ],
)
async def test_what_is_not_said_is_named_and_exits_with_2(
    database_url: URL, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = await gal_friday(database_url, tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
