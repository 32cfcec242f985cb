"""P22: secrets are never shown, in logs, repr or errors."""

import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gal_friday.config import Settings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.errors import ConfigurationError, ConnectionRejected, DatabaseUnavailable, PersistenceError
from tests.servers import PostgresServer

PASSWORD = "correct-horse-battery"
SECRET = "my-api-key"
ROLE = "CREATE ROLE p22_trader LOGIN PASSWORD 'correct-horse-battery'"


@pytest.fixture(scope="module")
def secured_server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    postgres_server.run("psql", "-c", ROLE)
    yield postgres_server
    postgres_server.run("psql", "-c", "DROP ROLE p22_trader")


@pytest.fixture
def every_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    loggers = [logging.getLogger(name) for name in ("sqlalchemy.engine", "sqlalchemy.pool", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG):
        yield caplog
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def settings_for(server: PostgresServer, *, password: str = PASSWORD, database: str = "postgres") -> Settings:
    url = server.url(database, user="p22_trader", password=password)
    return Settings(database={"url": url, "migration_url": url, "retry_timeout_seconds": 0.1})


def shown_by(error: BaseException) -> str:
    """All that a person could see of *error*, with what it was raised from."""
    shown = "".join(traceback.format_exception(error))
    chain: BaseException | None = error
    while chain is not None:
        shown += f"{chain!s} {chain!r} {chain.args!r} {getattr(chain, 'facts', None)!r}"
        chain = chain.__cause__ or chain.__context__
    return shown


def shown_in(log: pytest.LogCaptureFixture) -> str:
    return "\n".join(f"{record.getMessage()} {record.__dict__!r}" for record in log.records)


def test_settings_show_no_password(postgres_server: PostgresServer) -> None:
    settings = settings_for(postgres_server)
    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())):
        assert PASSWORD not in shown
        assert "*****" in shown


@pytest.mark.parametrize(
    "url", [f"mysql://me:{PASSWORD}@host/db", f"postgresql://me:{PASSWORD}@host:port/db"]
)
@pytest.mark.parametrize("source", ["argument", "environment", "file"])
def test_a_malformed_url_is_refused_without_being_repeated(
    url: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides: dict[str, Any] = {}
    config_file = None
    if source == "argument":
        overrides = {"database": {"url": url}}
    elif source == "environment":
        monkeypatch.setenv("GAL_FRIDAY_DATABASE__URL", url)
    else:
        config_file = tmp_path / "settings.json"
        config_file.write_text(json.dumps({"database": {"url": url}}))
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(config_file, **overrides)
    assert PASSWORD not in shown_by(caught.value)


async def test_an_open_pool_and_its_log_show_no_password(
    secured_server: PostgresServer, every_log: pytest.LogCaptureFixture
) -> None:
    async with (
        DatabaseConnectionPool(settings_for(secured_server).database) as pool,
        pool.session() as session,
    ):
        assert await session.scalar(text("SELECT current_user")) == "p22_trader"
        shown = f"{pool!r} {pool.engine!r} {pool.stats()!r} {await pool.health_check()!r}"
    assert "p22_trader" in shown
    assert PASSWORD not in shown
    assert "SELECT current_user" in shown_in(every_log)
    assert PASSWORD not in shown_in(every_log)


@pytest.mark.parametrize("given", [{"password": "hunter2-is-wrong"}, {"database": "no_such_database"}])
async def test_a_refused_login_shows_no_password(
    secured_server: PostgresServer, every_log: pytest.LogCaptureFixture, given: dict[str, str]
) -> None:
    pool = DatabaseConnectionPool(settings_for(secured_server, **given).database)
    with pytest.raises(ConnectionRejected) as caught:
        await pool.initialize()
    for shown in (shown_by(caught.value), shown_in(every_log), repr(pool)):
        assert PASSWORD not in shown
        assert "hunter2" not in shown


async def test_a_server_that_is_away_shows_no_password(
    breakable_server: PostgresServer, every_log: pytest.LogCaptureFixture
) -> None:
    breakable_server.stop()
    pool = DatabaseConnectionPool(settings_for(breakable_server).database)
    with pytest.raises(DatabaseUnavailable) as caught:
        await pool.initialize()
    assert str(breakable_server.port) in str(caught.value)
    report = await pool.health_check()
    for shown in (shown_by(caught.value), shown_in(every_log), repr(report)):
        assert PASSWORD not in shown


async def test_a_failed_statement_shows_no_password_and_no_parameter_in_the_log(
    secured_server: PostgresServer, every_log: pytest.LogCaptureFixture
) -> None:
    async with (
        DatabaseConnectionPool(settings_for(secured_server).database) as pool,
        pool.session() as session,
    ):
        with pytest.raises(PersistenceError) as caught:
            await session.execute(text("SELECT CAST(:secret AS text), 1 / 0"), {"secret": SECRET})
    for shown in (shown_by(caught.value), shown_in(every_log)):
        assert PASSWORD not in shown
        assert SECRET not in shown
