"""Settings from arguments, environment, .env and file."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gal_friday.config import Settings, shown
from gal_friday.errors import ConfigurationError


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("URL", "POOL_SIZE", "SSL_MODE"):
        monkeypatch.delenv(f"GAL_FRIDAY_DATABASE__{name}", raising=False)


def test_no_setting_is_required() -> None:
    settings = Settings.load()
    assert settings.database.url is None
    assert settings.database.sqlalchemy_url() is None
    assert settings.database.sqlalchemy_migration_url() is None


def test_sources_override_each_other_in_the_documented_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "database.toml"
    file.write_text(
        "[database]\npool_size = 2\nmax_overflow = 2\nrecycle_seconds = 2\n[log]\nlevel = 'ERROR'\n"
    )
    (tmp_path / ".env").write_text(
        "GAL_FRIDAY_DATABASE__MAX_OVERFLOW=3\nGAL_FRIDAY_DATABASE__RECYCLE_SECONDS=3\n"
    )
    monkeypatch.setenv("GAL_FRIDAY_DATABASE__RECYCLE_SECONDS", "4")
    settings = Settings.load(file)
    assert settings.database.pool_size == 2
    assert settings.database.max_overflow == 3
    assert settings.database.recycle_seconds == 4
    assert settings.log.level == "ERROR"
    assert Settings.load(file, database={"pool_size": 9}).database.pool_size == 9


def test_a_json_file_serves_as_well(tmp_path: Path) -> None:
    file = tmp_path / "database_config.json"
    file.write_text('{"database": {"url": "postgresql://bot:secret@db.internal:5433/trading"}}')
    url = Settings.load(file).database.sqlalchemy_url()
    assert url is not None
    assert (url.drivername, url.host, url.port, url.database) == (
        "postgresql+asyncpg",
        "db.internal",
        5433,
        "trading",
    )


def test_settings_cannot_be_changed() -> None:
    settings = Settings.load()
    with pytest.raises(ValidationError):
        setattr(settings.database, "pool_size", 3)  # noqa: B010 -- the type checker refuses it already


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("POOL_SIZE", "many", "Connections kept open"),
        ("POOL_SIZE", "0", ">= 1"),
        ("ACQUIRE_TIMEOUT_SECONDS", "-1", "> 0"),
        ("SSL_MODE", "on", "TLS"),
        ("URL", "mysql://bot:secret@host/trading", "postgresql://"),
        ("URL", "postgresql://bot:secret@host", "postgresql://"),
        ("URL", "bot:secret", "postgresql://"),
        ("URL", "postgresql://bot:sec@secret:x@host/trading", "postgresql://"),
        ("SERVER_SETTINGS", "{not json", "JSON"),
        ("POOLSIZE", "3", "pool_size"),
    ],
)
def test_a_malformed_value_is_explained_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, accepted: str
) -> None:
    monkeypatch.setenv(f"GAL_FRIDAY_DATABASE__{name}", value)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    message = str(caught.value)
    assert name in message.upper()
    assert accepted in message
    assert "secret" not in message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", ["[database", "{]", "\x00", "[1, 2]"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: str) -> None:
    for name in ("settings.toml", "settings.json"):
        file = tmp_path / name
        file.write_text(content)
        with pytest.raises(ConfigurationError, match=name):
            Settings.load(file)


def test_the_constructor_explains_itself_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAL_FRIDAY_DATABASE__POOL_SIZE", "many")
    with pytest.raises(ConfigurationError, match="GAL_FRIDAY_DATABASE__POOL_SIZE"):
        Settings()


def test_other_programs_variables_in_the_env_file_are_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KRAKEN_API_KEY=abc\nGAL_FRIDAY_DATABASE__POOL_SIZE=3\n")
    assert Settings().database.pool_size == 3


def test_a_misspelt_group_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("GAL_FRIDAY_DATABSE__POOL_SIZE=3\n")
    with pytest.raises(ConfigurationError, match="DATABSE"):
        Settings()
    (tmp_path / ".env").unlink()
    monkeypatch.setenv("GAL_FRIDAY_DATABSE__POOL_SIZE", "3")
    with pytest.raises(ConfigurationError, match="DATABSE"):
        Settings()
    monkeypatch.delenv("GAL_FRIDAY_DATABSE__POOL_SIZE")
    (tmp_path / "settings.toml").write_text("[databse]\npool_size = 3\n")
    with pytest.raises(ConfigurationError, match="DATABSE"):
        Settings.load(tmp_path / "settings.toml")


def test_a_migration_url_alone_is_half_a_setting() -> None:
    with pytest.raises(ConfigurationError, match="give both"):
        Settings(database={"migration_url": "postgresql://bot@host/trading"})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bot:hunter2@host/trading",
        "postgresql://bot@host/trading?password=hunter2",
        "postgresql://bot@host/trading?sslpassword=hunter2&sslmode=require",
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str) -> None:
    parsed = Settings(database={"url": url}).database.sqlalchemy_url()
    assert parsed is not None
    assert "host/trading" in shown(parsed)
    assert "hunter2" not in shown(parsed)


def test_a_password_in_the_query_is_a_password() -> None:
    parsed = Settings(
        database={"url": "postgresql://bot@host/trading?password=hunter2"}
    ).database.sqlalchemy_url()
    assert parsed is not None
    assert parsed.password == "hunter2"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        Settings.load(tmp_path / "absent.toml")
