"""How asyncpg is told to connect: TLS, timeouts, server parameters, PgBouncer."""

from typing import Any
from urllib.parse import urlencode

from sqlalchemy.engine import URL

from gal_friday.config import DatabaseSettings
from gal_friday.errors import ConfigurationError

# The server cancels a statement that takes too long; when not even that arrives, the network hangs.
SILENCE_SECONDS = 5.0

# asyncpg takes these as arguments of their own; the rest of a URL's query is libpq's.
_HOST_OPTIONS = frozenset({"host", "port"})


def connect_arguments(settings: DatabaseSettings, url: URL) -> tuple[URL, dict[str, Any]]:
    """*url* and `connect_args` for SQLAlchemy's asyncpg dialect.

    What the URL's query says (sslmode=…, application_name=…) is understood as libpq does and wins over
    *settings*. Raises ConfigurationError for a certificate that is not there.
    """
    options = {"sslmode": settings.ssl_mode, **_certificates(settings), **_libpq_options(url)}
    arguments: dict[str, Any] = {
        # asyncpg builds the TLS context of each sslmode from a DSN; host and login come with the URL.
        "dsn": f"postgresql://?{urlencode(options)}",
        "timeout": settings.connect_timeout_seconds,
        "command_timeout": settings.statement_timeout_seconds + SILENCE_SECONDS,
        "server_settings": {"application_name": settings.application_name},
    }
    if settings.pgbouncer:
        # Another client's transaction may run on the same server connection in between: nothing may be left
        # there, and PgBouncer accepts no other start-up parameter.
        arguments |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": str,  # the unnamed statement, ""
        }
    else:
        arguments["server_settings"] |= server_parameters(settings)
    for name in url.query:
        arguments["server_settings"].pop(name, None)
    query = {name: value for name, value in url.query.items() if name in _HOST_OPTIONS}
    return url.set(drivername="postgresql+asyncpg", query=query), arguments


def server_parameters(settings: DatabaseSettings) -> dict[str, str]:
    """Parameters each connection runs with; `settings.server_settings` win."""
    return {
        "timezone": "UTC",
        "statement_timeout": _milliseconds(settings.statement_timeout_seconds),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout_seconds),
        **settings.server_settings,
    }


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))  # 0 would mean: no limit


def _certificates(settings: DatabaseSettings) -> dict[str, str]:
    certificates = {
        "sslrootcert": settings.ssl_root_certificate,
        "sslcert": settings.ssl_certificate,
        "sslkey": settings.ssl_key,
    }
    for option, path in certificates.items():
        if path is not None and not path.is_file():
            raise ConfigurationError("no such file", option=option, file=str(path))
    return {option: str(path) for option, path in certificates.items() if path is not None}


def _libpq_options(url: URL) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else value[-1]
        for name, value in url.query.items()
        if name not in _HOST_OPTIONS
    }
