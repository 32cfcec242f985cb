"""`gal-friday import` and `export` as a person meets them."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from sqlalchemy import URL

from gal_friday.database import Database
from tests.commands import gal_friday
from tests.factories import a_candle
from tests.market_files import NOON_SECONDS
from tests.replays import environment_of, environment_without_settings
from tests.waiting import until

BATCH = 10_000


def candles(directory: Path, count: int, name: str = "BTC_USD-1m.csv") -> Path:
    path = directory / name
    lines = (f"{NOON_SECONDS + 60 * minute},1,2,0.5,1.5,{minute}" for minute in range(count))
    path.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    return path


async def test_an_import_prints_what_became_of_the_rows_of_each_file(
    tmp_path: Path, database_url: URL, database: Database
) -> None:
    (tmp_path / "BCHEUR.csv").write_text("1672531436,90.54,1.1\n1672531436,90.54,1.1\n")
    (tmp_path / "worse.csv").write_text("1672531436,90.54,1.1\n1672531436,nan,1.1\n")
    (tmp_path / "none.csv").write_text("")
    command = ("import", "trades", "BCHEUR.csv", "none.csv", "worse.csv", "--pair", "BCH/EUR")
    done = gal_friday(database_url, tmp_path, *command, "--on-error", "keep")
    assert done.returncode == 1
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line
    ]
    assert rows == [
        ["BCHEUR.csv", "Kraken CSV", "2", "2", "0", "0", "0"],
        ["none.csv", "refused", "0", "0", "0", "0", "0"],
        ["worse.csv", "Kraken CSV", "2", "0", "0", "1", "1"],
    ]
    assert "BCHEUR.csv: 42 of 42 bytes" in done.stdout
    refused = [line for line in done.stderr.splitlines() if line.startswith("refused: ")]
    assert refused == [
        "refused: A file is not what it was taken for: is empty (file='none.csv')",
        "refused: worse.csv, line 2: price is not a finite number ('nan')",
    ]
    assert await database.market_trades.count() == 2


async def test_many_refused_rows_are_counted_rather_than_printed(tmp_path: Path, database_url: URL) -> None:
    (tmp_path / "c.csv").write_text("timestamp,open,high,low,close,volume\n" + "1,2,3,4,5,6\n" * 25)
    options = ("--exchange", "kraken", "--pair", "BTC/USD", "--timeframe", "1m")
    done = gal_friday(database_url, tmp_path, "import", "candles", "c.csv", *options)
    assert done.returncode == 1
    assert done.stderr.count("refused: c.csv, line") == 20
    assert "refused: 5 more in c.csv" in done.stderr


async def test_what_is_exported_is_imported_by_the_same_program(
    tmp_path: Path, database_url: URL, database: Database
) -> None:
    await database.market_data.store_candles([a_candle(), a_candle(exchange="binance", timeframe="1h")])
    options = ("--exchange", "kraken", "--start", "2020-01-01", "--end", "2090-01-01T00:00:00+00:00")
    done = gal_friday(database_url, tmp_path, "export", "candles", "--to", "csv", "-o", "out.csv", *options)
    assert (done.returncode, done.stdout) == (0, "1 candles in out.csv\n")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2
    assert gal_friday(database_url, tmp_path, "import", "candles", "out.csv").returncode == 0
    done = gal_friday(database_url, tmp_path, "export", "trades", "--to", "parquet", "-o", "t.parquet")
    assert (done.returncode, done.stdout) == (0, "0 trades in t.parquet\n")
    done = gal_friday(database_url, tmp_path, "export", "trades", "--to", "csv", "-o", "t", "--start", "noon")
    assert done.returncode == 1
    assert "not a time in ISO 8601" in done.stderr
    done = gal_friday(database_url, tmp_path, "export", "candles", "--to", "arrow", "-o", "no/directory")
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr


def started(url: URL, directory: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "gal_friday", "import", "candles", *arguments],
        cwd=directory,
        env=environment_without_settings(**environment_of(url)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_ctrl_c_leaves_everything_whole_and_the_same_command_goes_on(
    tmp_path: Path, database_url: URL, database: Database
) -> None:
    count = 5 * BATCH
    command = (candles(tmp_path, count).name, "--exchange", "kraken", "--on-error", "keep")
    process = started(database_url, tmp_path, *command)

    async def is_under_way() -> bool:
        return process.poll() is not None or await database.market_data.count() >= BATCH

    try:
        await until(is_under_way, "the first candles", seconds=60)
    finally:
        process.send_signal(signal.SIGINT)
        output, errors = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 130, errors
    assert "The same command goes on" in output
    stored = await database.market_data.count()
    assert BATCH <= stored < count
    assert stored % BATCH == 0
    assert f"{stored:,}" in output

    process = started(database_url, tmp_path, *command)
    output, errors = await asyncio.to_thread(process.communicate, timeout=120)
    assert process.returncode == 0, errors
    assert f"{count - stored:,}" in output
    assert await database.market_data.count() == count
