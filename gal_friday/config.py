"""Settings: one frozen tree, read once at the composition root, handed on in slices.

Sources, the first one that names a setting wins: arguments, `GAL_FRIDAY_…` environment variables (nested
with a double underscore), `.env` in the working directory, the file given as `config_file` (TOML or JSON).
"""

import json
import os
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from gal_friday.errors import ConfigurationError

ENV_PREFIX = "GAL_FRIDAY_"
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class _Slice(BaseModel):
    # hide_input_in_errors: a malformed URL may hold a password.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _postgresql_url(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("is not a URL") from None  # no detail: it would quote part of the password
    if url.drivername not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise ValueError("is a URL of another kind of database")
    if not url.database:
        raise ValueError("names no database")
    if isinstance(password := url.query.get("password"), str):
        url = url.set(password=password).difference_update_query(["password"])
    return url.set(drivername="postgresql+asyncpg")


def shown(url: URL) -> str:
    """*url* for a person: without a driver, its secrets masked."""
    masked = {name: "***" for name in ("password", "sslpassword") if name in url.query}
    return url.set(drivername="postgresql").update_query_dict(masked).render_as_string(hide_password=True)


class DatabaseSettings(_Slice):
    """Where PostgreSQL is and how its connections behave."""

    url: SecretStr | None = Field(
        None, description="postgresql://user:password@host:port/database; empty: the embedded server"
    )
    migration_url: SecretStr | None = Field(
        None,
        description="Direct URL to migrate with where `url` leads to PgBouncer or to a trader; empty: `url`",
    )
    pool_size: int = Field(10, ge=1, le=1000, description="Connections kept open")
    max_overflow: int = Field(5, ge=0, le=1000, description="Connections above pool_size under load")
    connect_timeout_seconds: Seconds = Field(10, description="Opening one connection")
    acquire_timeout_seconds: Seconds = Field(5, description="Waiting for a free connection of the pool")
    statement_timeout_seconds: Seconds = Field(30, description="One statement")
    idle_in_transaction_timeout_seconds: Seconds = Field(60, description="An open transaction doing nothing")
    recycle_seconds: Seconds = Field(1800, description="Age at which a connection is replaced")
    retry_timeout_seconds: Seconds = Field(30, description="Riding out a server restart")
    application_name: str = Field(
        "gal_friday", max_length=63, description="Shown in pg_stat_activity and audit"
    )
    ssl_mode: SslMode = Field("prefer", description="TLS, libpq's modes")
    ssl_root_certificate: Path | None = Field(None, description="PEM file of the authorities to trust")
    ssl_certificate: Path | None = Field(None, description="PEM file of the client's certificate")
    ssl_key: Path | None = Field(None, description="PEM file of the client's key")
    server_settings: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="Server parameters for each connection, as JSON"
    )
    pgbouncer: bool = Field(False, description="`url` leads to PgBouncer in transaction mode")
    migrate_on_open: bool = Field(True, description="open_database() applies pending revisions")
    migration_wait_seconds: Seconds = Field(300, description="Waiting while another process migrates")
    role_prefix: str = Field(
        "gal_friday_",
        pattern="^[a-z_][a-z0-9_]*$",
        max_length=48,
        description="What the names of the server's roles begin with: gal_friday_trader …",
    )

    @field_validator("server_settings", mode="before")
    @classmethod
    def _read_json(cls, value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from None

    @field_validator("url", "migration_url")
    @classmethod
    def _check_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        _postgresql_url(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _check_both_urls(self) -> Self:
        if self.migration_url and not self.url:
            raise ValueError("migration_url leads to a server, and url to none; give both")
        return self

    def sqlalchemy_url(self) -> URL | None:
        """`url` for SQLAlchemy's asyncpg dialect; None means the embedded server."""
        return _postgresql_url(self.url.get_secret_value()) if self.url else None

    def sqlalchemy_migration_url(self) -> URL | None:
        """`migration_url`, or `url` where none is set."""
        return (
            _postgresql_url(self.migration_url.get_secret_value())
            if self.migration_url
            else self.sqlalchemy_url()
        )


class EmbeddedSettings(_Slice):
    """The PostgreSQL server of one's own, used when no URL is configured."""

    data_directory: Path = Field(Path(".gal_friday"), description="Where the embedded server keeps its data")
    bin_directory: Path | None = Field(
        None,
        description="PostgreSQL's bin directory; empty: the wheel's, else an installed one of 15 or newer",
    )
    start_timeout_seconds: Seconds = Field(60, description="Starting the server, crash recovery included")
    linger_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        2, description="How long the server outlives its last user"
    )


class JournalSettings(_Slice):
    """Where facts of the exchange wait while the database is away."""

    enabled: bool = Field(True, description="Put facts on disk while the database is away")
    directory: Path | None = Field(
        None, description="Where, on a disk of this machine; empty: journal/ in embedded.data_directory"
    )
    max_bytes: int = Field(
        256 * 1024 * 1024, ge=64 * 1024, description="Most that may wait, in bytes, for each process"
    )
    patience_seconds: Seconds = Field(1, description="How long a fact waits for the database before that")


class InfluxSettings(_Slice):
    """InfluxDB 2.x, where time series go when it is configured."""

    url: str | None = Field(
        None, description="http://host:8086 or https://…; empty: time series stay in PostgreSQL"
    )
    token: SecretStr | None = Field(None, description="Token that may read and write the buckets")
    org: str | None = Field(None, description="Organization the buckets are in")
    bucket: str = Field("market-data", min_length=1, description="Bucket every point goes to")
    long_term_bucket: str | None = Field(
        None,
        min_length=1,
        description="Bucket for hours and days of candles, made from minutes; empty: none",
    )
    retention_days: int = Field(
        0, ge=0, le=36_500, description="Days a bucket made here keeps points; 0: for ever"
    )
    write_timeout_seconds: Seconds = Field(10, description="Waiting for a write to get through")
    query_timeout_seconds: Seconds = Field(30, description="Waiting for the answer to one question")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ValueError("give http://host:port or https://host:port, and the token apart from it")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _check_server(self) -> Self:
        if self.url and not (self.token and self.token.get_secret_value() and self.org):
            raise ValueError("url leads to a server that takes nothing without token and org; give them too")
        if self.long_term_bucket == self.bucket:
            raise ValueError("long_term_bucket is another one than bucket")
        return self


class SpoolSettings(_Slice):
    """How points go to their store in the background, and where they wait while it is away."""

    enabled: bool = Field(True, description="Take points to their store in the background: db.points")
    directory: Path | None = Field(
        None, description="Where, on a disk of this machine; empty: spool/ in embedded.data_directory"
    )
    max_bytes: int = Field(
        256 * 1024 * 1024,
        ge=64 * 1024,
        description="Most that may wait on disk, in bytes, for each process; past it the oldest go",
    )
    max_buffered_bytes: int = Field(
        16 * 1024 * 1024,
        ge=64 * 1024,
        description="Most that may be in memory on its way, in bytes; the rest goes to disk",
    )
    batch_size: int = Field(5_000, ge=1, le=100_000, description="Points that make a batch")
    flush_interval_seconds: Seconds = Field(1, description="Longest a point waits for its batch to fill up")
    patience_seconds: Seconds = Field(1, description="How long a batch waits for the store before the disk")


class ExchangeSettings(_Slice):
    """The exchange that `gal-friday reconcile` and `gal-friday adopt` ask, by way of ccxt."""

    name: str | None = Field(None, max_length=32, description="Its id in ccxt: kraken, binance …")
    api_key: SecretStr | None = Field(None, description="Key that may read orders, trades and balances")
    secret: SecretStr | None = Field(None, description="The key's secret")
    password: SecretStr | None = Field(None, description="Passphrase, where the exchange wants one")
    options: SecretStr | None = Field(
        None, description='What else ccxt is to be given, as a JSON object: {"uid": "…"}'
    )
    answer_timeout_seconds: Seconds = Field(30, description="Waiting for one answer")

    @field_validator("options")
    @classmethod
    def _check_options(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        try:
            is_object = isinstance(json.loads(value.get_secret_value()), dict)
        except ValueError:
            is_object = False
        if not is_object:
            raise ValueError("is no JSON object")  # no detail: it would quote part of a secret
        return value

    def ccxt_config(self) -> dict[str, Any]:
        """What ccxt's class of the exchange is made with; holds secrets."""
        given = {"apiKey": self.api_key, "secret": self.secret, "password": self.password}
        credentials = {name: value.get_secret_value() for name, value in given.items() if value}
        options = json.loads(self.options.get_secret_value()) if self.options else {}
        return {"enableRateLimit": True, **credentials, **options}


class LogSettings(_Slice):
    """What the package's own loggers print."""

    level: LogLevel = Field("INFO", description="Least severe level printed by the command line")


class Settings(BaseSettings):
    """Everything configurable, validated once and then frozen.

    Raises ConfigurationError naming the variable, what is wrong with it and the accepted form; the value
    itself is not repeated, it may be a secret.

    >>> Settings(database={"pool_size": 4}).database.pool_size
    4
    """

    # extra: a bot's .env holds more than what is ours; our own names are checked below.
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        nested_model_default_partial_update=True,
    )

    database: DatabaseSettings = DatabaseSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    journal: JournalSettings = JournalSettings()
    influxdb: InfluxSettings = InfluxSettings()
    spool: SpoolSettings = SpoolSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    log: LogSettings = LogSettings()

    def __init__(self, **values: Any) -> None:
        _refuse_unknown_groups(values, file=None)
        _refuse_unknown_groups(_groups_in_environment(), file=None)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _explained(error) from None
        except SettingsError as error:
            raise ConfigurationError(str(error), accepted="JSON for a nested value") from None

    @classmethod
    def load(cls, config_file: Path | None = None, **overrides: Any) -> Self:
        """Settings with *config_file* (TOML or JSON) below every other source."""
        if config_file is None:
            return cls(**overrides)
        content = _read_file(config_file)
        _refuse_unknown_groups(content, file=str(config_file))

        class WithFile(cls):  # type: ignore[valid-type, misc]  # pydantic-settings takes sources by class
            @classmethod
            def settings_customise_sources(
                cls,
                settings_cls: type[BaseSettings],
                init_settings: PydanticBaseSettingsSource,
                env_settings: PydanticBaseSettingsSource,
                dotenv_settings: PydanticBaseSettingsSource,
                file_secret_settings: PydanticBaseSettingsSource,
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return (
                    init_settings,
                    env_settings,
                    dotenv_settings,
                    InitSettingsSource(settings_cls, content),
                )

        return WithFile(**overrides)


def _groups_in_environment() -> Iterator[str]:
    """The first parts of the names of our variables, in the environment and in `.env`."""
    for name in {*os.environ, *dotenv_values(".env")}:
        if name.upper().startswith(ENV_PREFIX) and "__" in name:
            yield name[len(ENV_PREFIX) :].partition("__")[0].lower()


def _refuse_unknown_groups(names: Iterable[str], file: str | None) -> None:
    for name in names:
        if name not in Settings.model_fields:
            raise ConfigurationError(
                "there is no such group of settings",
                variable=f"{ENV_PREFIX}{name.upper()}",
                file=file,
                accepted="one of " + ", ".join(Settings.model_fields),
            )


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"cannot read it: {error.strerror}", file=str(path)) from None
    except ValueError as error:  # JSONDecodeError, TOMLDecodeError and UnicodeDecodeError are all ValueErrors
        raise ConfigurationError(f"is neither TOML nor JSON: {error}", file=str(path)) from None
    if not isinstance(content, dict):
        raise ConfigurationError("must hold one table of settings", file=str(path))
    return content


def _explained(error: ValidationError) -> ConfigurationError:
    first = error.errors(include_url=False, include_input=False)[0]
    group, *rest = (str(part) for part in first["loc"])
    setting = rest[0] if rest else None
    return ConfigurationError(
        first["msg"].removeprefix("Value error, "),
        variable=ENV_PREFIX + "__".join([group, *rest[:1]]).upper(),
        accepted=_accepted_form(group, setting),
        problems=error.error_count() if error.error_count() > 1 else None,
    )


def _accepted_form(group: str, setting: str | None) -> str | None:
    model = Settings.model_fields[group].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    if setting is None:
        return None
    field = model.model_fields.get(setting)
    if field is None:
        return "one of " + ", ".join(model.model_fields)
    bounds = [
        f"{sign} {bound}"
        for item in field.metadata
        for attribute, sign in _BOUNDS.items()
        if (bound := getattr(item, attribute, None)) is not None
    ]
    return ", ".join([field.description or "", *bounds])


_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "max_length": "at most this long:"}
