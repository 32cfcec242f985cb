"""`gal-friday replay` as a person meets it."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import URL

from gal_friday.database import Database
from gal_friday.replay.crash import stored_cursor
from tests.replays import (
    a_database_url,
    a_market,
    environment_of,
    environment_without_settings,
    opened,
    state_of,
)
from tests.servers import PostgresServer
from tests.waiting import until


def started(arguments: Sequence[str | Path], url: URL, directory: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "gal_friday", "replay", *map(str, arguments)],
        cwd=directory,
        env=environment_without_settings(**environment_of(url), COLUMNS="100"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def outcome_of(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, errors = await asyncio.to_thread(process.communicate, timeout=300)
    return process.returncode, output, errors


async def test_rows_and_equity_are_printed_and_a_second_start_does_nothing(
    tmp_path: Path, database_url: URL, database: Database
) -> None:
    file = a_market(tmp_path)
    status, output, _ = await outcome_of(started([file], database_url, tmp_path))
    assert status == 0
    assert "BTC_USD-1m:BTC/USD: 600 of 600 candles" in output
    assert "market_data" in output
    assert "equity, USD" in output
    before = await state_of(database)
    status, output, _ = await outcome_of(started([file], database_url, tmp_path))
    assert status == 0
    assert "finished before; nothing to do" in output
    assert before.first_difference(await state_of(database)) is None


async def test_options_name_the_run_and_its_market(
    tmp_path: Path, database_url: URL, database: Database
) -> None:
    options = [
        "--run",
        "mine",
        "--pair",
        "eth-eur",
        "--exchange",
        "bitstamp",
        "--limit",
        "100",
        "--fast",
        "3",
    ]
    status, _, _ = await outcome_of(started([a_market(tmp_path), *options], database_url, tmp_path))
    assert status == 0
    strategy = await database.strategies.one("mine")
    assert strategy.trading_pairs == ["ETH/EUR"]
    assert (strategy.config["exchange"], strategy.config["fast"]) == ("bitstamp", 3)
    assert await stored_cursor(database, "mine") == 100


async def test_ctrl_c_leaves_nothing_half_done_and_says_how_to_go_on(
    *,
    tmp_path: Path,
    database_url: URL,
    database: Database,
    postgres_server: PostgresServer,
    template_database: str,
) -> None:
    command: list[str | Path] = [a_market(tmp_path, count=1_500), "--run", "interrupted"]
    process = started(command, database_url, tmp_path)

    async def is_under_way() -> bool:
        return await stored_cursor(database, "interrupted") >= 100

    await until(is_under_way, "the first candles", seconds=60)
    process.send_signal(signal.SIGINT)
    status, output, _ = await outcome_of(process)
    assert status == 130
    assert "The same command goes on with run 'interrupted'" in output
    assert 100 <= await stored_cursor(database, "interrupted") < 1_500
    with a_database_url(postgres_server, template_database) as calm_url:
        for url in (database_url, calm_url):
            status, _, errors = await outcome_of(started(command, url, tmp_path))
            assert status == 0, errors
        async with opened(calm_url) as calm:
            assert (await state_of(calm)).first_difference(await state_of(database)) is None


@pytest.mark.parametrize(
    ("content", "options", "complaints"),
    [
        ("[[1, 2, 3]]", [], ["is not a row of", "row 1"]),
        ("time,open,high,low,close,volume\n1,1,1,1,NaN,1\n", [], ["close is not a finite number", "line 2"]),
        ("1,1,1,1,1,1\n61,1,1,1,1,1\n", [], ["give one with --pair"]),
        ("1,1,1,1,1,1\n61,1,1,1,1,1\n", ["--pair", "BTC"], ["BASE/QUOTE", "BTC"]),
        ("1,1,1,1,1,1\n61,1,1,1,1,1\n", ["--pair", "BTC/USD", "--fast", "30"], ["fewer closes"]),
        ("1,1,1,1,1,1\n61,1,1,1,1,1\n", ["--pair", "BTC/USD", "--run", "x" * 65], ["1 to 64 characters"]),
    ],
)
async def test_bad_input_is_a_clear_error_and_writes_nothing(
    *,
    content: str,
    options: list[str],
    complaints: list[str],
    tmp_path: Path,
    database_url: URL,
    database: Database,
) -> None:
    before = await state_of(database)
    path = tmp_path / "candles.txt"
    path.write_text(content)
    status, _, errors = await outcome_of(started([path, *options], database_url, tmp_path))
    assert status == 1
    assert all(complaint in errors for complaint in complaints)
    assert "Traceback" not in errors
    assert before.first_difference(await state_of(database)) is None
