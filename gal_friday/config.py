"""Settings: one frozen tree, read once at the composition root, handed on in slices.

Sources, the first one that names a setting wins: arguments, `GAL_FRIDAY_…` environment variables (nested
with a double underscore), `.env` in the working directory, the file given as `config_file` (TOML or JSON).
"""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
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
    except ArgumentError:
        raise ValueError("is not a URL") from None
    if url.drivername not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise ValueError(f"names the driver {url.drivername!r}")
    if not url.database:
        raise ValueError("names no database")
    return url.set(drivername="postgresql+asyncpg")


class DatabaseSettings(_Slice):
    """Where PostgreSQL is and how its connections behave."""

    url: SecretStr | None = Field(
        None, description="postgresql://user:password@host:port/database; empty: the embedded server"
    )
    migration_url: SecretStr | None = Field(
        None, description="Direct URL for migrations where `url` leads to PgBouncer; empty: `url`"
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

    @field_validator("server_settings", mode="before")
    @classmethod
    def _read_json(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("url", "migration_url")
    @classmethod
    def _check_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        _postgresql_url(value.get_secret_value())
        return value

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


class LogSettings(_Slice):
    """What the package's own loggers print."""

    level: LogLevel = Field("INFO", description="Least severe level printed by the command line")


class _FileSource(InitSettingsSource):
    """The settings file, below every other source."""


class Settings(BaseSettings):
    """Everything configurable, validated once and then frozen.

    >>> Settings(database={"pool_size": 4}).database.pool_size
    4
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        nested_model_default_partial_update=True,
    )

    database: DatabaseSettings = DatabaseSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def load(cls, config_file: Path | None = None, **overrides: Any) -> Self:
        """Read all sources.

        Raises ConfigurationError naming the variable, what is wrong with it and the accepted form; the value
        itself is not repeated, it may be a secret.
        """
        content = _read_file(config_file) if config_file else {}

        class WithFile(cls):  # type: ignore[valid-type, misc]
            @classmethod
            def settings_customise_sources(
                cls,
                settings_cls: type[BaseSettings],
                init_settings: PydanticBaseSettingsSource,
                env_settings: PydanticBaseSettingsSource,
                dotenv_settings: PydanticBaseSettingsSource,
                file_secret_settings: PydanticBaseSettingsSource,
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return init_settings, env_settings, dotenv_settings, _FileSource(settings_cls, content)

        try:
            return WithFile(**overrides)
        except ValidationError as error:
            raise _explained(error) from None
        except SettingsError as error:
            raise ConfigurationError(str(error), accepted="JSON for a nested value") from None


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
    path = [str(part) for part in first["loc"]]
    variable = ENV_PREFIX + "__".join(path).upper()
    return ConfigurationError(
        first["msg"].removeprefix("Value error, "),
        variable=variable,
        accepted=_accepted_form(path),
        problems=error.error_count() if error.error_count() > 1 else None,
    )


def _accepted_form(path: list[str]) -> str:
    model: type[BaseModel] = Settings
    for part in path[:-1]:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    field = model.model_fields.get(path[-1])
    if field is None:
        return "one of " + ", ".join(model.model_fields)
    constraints = " ".join(str(item) for item in field.metadata)
    form = f"{field.description}; default {field.default!r}" if field.description else "a group of settings"
    return f"{form} {constraints}".strip()
