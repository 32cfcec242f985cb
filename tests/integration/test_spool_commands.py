"""`gal-friday spool`, and the store and writer that settings lead to."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import URL
from typer.testing import CliRunner, Result

from gal_friday.cli import app
from gal_friday.config import DatabaseSettings, InfluxSettings, Settings, SpoolSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.influxdb_client import TimeSeriesDB
from gal_friday.durable_log.slots import slot_directories
from gal_friday.errors import ConfigurationError
from gal_friday.timeseries.batches import Batch
from gal_friday.timeseries.opening import open_store, open_time_series, open_writer, spool_name, spool_root
from gal_friday.timeseries.points import Point
from gal_friday.timeseries.postgres_store import PostgresTimeSeriesStore
from gal_friday.timeseries.spool import Spool
from tests.influx.endpoint import BUCKET, InfluxEndpoint
from tests.journaling import only_segment

POINT = Point("m", {"exchange": "kraken"}, {"value": 1.5}, 7)
LINES = b"m,exchange=kraken value=1.5 7\nm,exchange=kraken value=2i 8"


@pytest.fixture
async def endpoint() -> AsyncIterator[InfluxEndpoint]:
    async with InfluxEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAL_FRIDAY_SPOOL__DIRECTORY", str(tmp_path / "spool"))
    return tmp_path / "spool"


@pytest.fixture
def settings(endpoint: InfluxEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("GAL_FRIDAY_SPOOL__DIRECTORY")  # it would win over the file
    (tmp_path / "settings.toml").write_text(
        "[influxdb]\n"
        + "".join(f'{name} = "{value}"\n' for name, value in endpoint.settings.items())
        + f'[spool]\ndirectory = "{tmp_path / "spool"}"\n'
    )
    return Settings.load(tmp_path / "settings.toml")


def directory_of(settings: Settings) -> Path:
    return spool_root(settings) / spool_name(settings)


async def left_behind(settings: Settings, *batches: Batch) -> None:
    spool = await Spool.open(directory_of(settings), max_bytes=1_000_000)
    for batch in batches or (Batch.of(LINES, 2),):
        await spool.keep(batch)
    await spool.close()


def shown(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--db-config", str(tmp_path / "settings.toml"), "spool", *arguments])


async def flushed(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own; the server it brings points to runs in this one, which goes on meanwhile."""
    options = ["--db-config", "settings.toml", "spool", "flush", *arguments]
    command = [sys.executable, "-m", "gal_friday", *options]
    return await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )


async def test_what_waits_is_shown_exported_and_brought_to_the_store(
    settings: Settings, endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    assert "Nothing waits." in shown(tmp_path, "status").stdout
    await left_behind(settings)
    status = shown(tmp_path, "status")
    assert status.exit_code == 0, status.output
    assert status.stdout.startswith(spool_name(settings))
    assert [cell.strip() for cell in status.stdout.splitlines()[-2].split("│")[1:4]] == ["0", "ended", "1"]
    assert shown(tmp_path, "export").stdout_bytes.strip() == LINES
    done = await flushed(tmp_path)
    assert done.returncode == 1, done.stderr
    assert "1 delivered, 1 refused." in done.stdout
    assert list(endpoint.points) == [("m", (("exchange", "kraken"),), 7)]
    assert slot_directories(directory_of(settings)) == []
    assert "1 refused: " in shown(tmp_path, "status").stdout


async def test_points_of_a_server_that_has_moved_are_brought_to_where_it_is(
    settings: Settings, endpoint: InfluxEndpoint, tmp_path: Path
) -> None:
    await left_behind(settings, Batch.of(LINES.splitlines()[0], 1))
    directory_of(settings).rename(tmp_path / "spool" / "elsewhere")
    done = await flushed(tmp_path, "--from", str(tmp_path / "spool" / "elsewhere"))
    assert done.returncode == 0, done.stderr
    assert "1 delivered, 0 refused." in done.stdout
    assert len(endpoint.points) == 1


async def test_a_damaged_file_is_named_and_exported_around(settings: Settings, tmp_path: Path) -> None:
    await left_behind(settings, Batch.of(b"m v=1 1", 1), Batch(0, 0, b"no gzip"), Batch.of(b"m v=2 2", 1))
    segment = only_segment(directory_of(settings) / "0")
    content = bytearray(segment.read_bytes())
    content[60] ^= 1
    segment.write_bytes(content)
    status = shown(tmp_path, "status")
    assert status.exit_code == 1
    assert "damaged: " in status.stdout
    exported = shown(tmp_path, "export")
    assert exported.stdout_bytes.strip() == b"m v=2 2"
    assert "not gzip'd line protocol" in exported.stderr
    done = await flushed(tmp_path)
    assert done.returncode == 1
    assert segment.exists()


async def test_without_an_influxdb_points_go_to_the_database(database_url: URL, tmp_path: Path) -> None:
    url = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    (tmp_path / "settings.toml").write_text(f'[database]\nurl = "{url}"\n')
    settings = Settings.load(tmp_path / "settings.toml")
    await left_behind(settings, Batch.of(LINES.splitlines()[0], 1))
    done = await flushed(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 delivered, 0 refused." in done.stdout
    async with (
        DatabaseConnectionPool(DatabaseSettings(), url=database_url) as pool,
        open_time_series(settings, pool) as series,
    ):
        assert isinstance(series.store, PostgresTimeSeriesStore)
        assert await series.store.latest("m") == POINT
        assert series.writer is not None
        series.writer.write(Point("m", {"exchange": "kraken"}, {"value": 2.5}, 9))
        await series.writer.drain()
        assert len(await series.store.query_data("m", start=0, end=100)) == 2


async def test_with_an_influxdb_its_bucket_is_made_and_a_server_that_is_away_holds_nothing_up(
    settings: Settings, endpoint: InfluxEndpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.buckets.clear()
    async with open_store(settings, None) as store:
        assert isinstance(store, TimeSeriesDB)
        assert list(endpoint.buckets) == [BUCKET]
    endpoint.fall_silent()
    hasty = settings.model_copy(
        update={"spool": SpoolSettings(directory=tmp_path / "b", patience_seconds=0.05)}
    )
    async with open_store(hasty, None) as store:
        writer = await open_writer(hasty, store)
        writer.write(POINT)
        await writer.flush()
        assert writer.stats().pending == 1
        endpoint.answer()
        await writer.drain()
        await writer.close()
    assert "the bucket was not looked after" in caplog.text


async def test_a_place_where_nothing_can_be_written_is_named(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = settings.model_copy(update={"spool": SpoolSettings(directory=tmp_path / "file")})
    async with open_store(settings, None) as store:
        with pytest.raises(ConfigurationError, match="GAL_FRIDAY_SPOOL__DIRECTORY"):
            await open_writer(wrong, store)


def test_stores_have_directories_of_their_own(endpoint: InfluxEndpoint) -> None:
    given = endpoint.settings
    names = {
        spool_name(Settings(influxdb=InfluxSettings(**{**given, **other})))
        for other in ({}, {"bucket": "b"}, {"org": "o"}, {"url": "http://127.0.0.1:1"})
    }
    assert len(names) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://host"},
        {"url": "http://user:secret@host"},
        {"url": "http://host:8086"},
        {"url": "http://host:8086", "token": "t"},
        {"long_term_bucket": "market-data"},
        {"retention_days": -1},
    ],
)
def test_settings_that_lead_nowhere_are_refused_without_their_secrets(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings(influxdb=wrong)
    assert "secret" not in str(raised.value)
