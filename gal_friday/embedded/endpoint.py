"""Where the embedded server answers, and what is known about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from pydantic import SecretStr
from sqlalchemy.engine import URL

DATABASE = "gal_friday"
SUPERUSER = "gal_friday"
#: Part of the socket's name; the server listens on no network port.
PORT = 5432

ServerState = Literal["stopped", "running", "busy"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running server: how to connect to it, and what it runs on.

    *host* is the socket's directory where the server is reached over a Unix socket, a host name otherwise;
    *password* is None where the server asks for none.
    """

    socket_directory: Path | None
    host: str
    port: int
    user: str
    database: str
    password: SecretStr | None
    bin_directory: Path
    data_directory: Path
    version: str

    @property
    def url(self) -> URL:
        """For SQLAlchemy's asyncpg dialect."""
        password = self.password.get_secret_value() if self.password else None
        if self.socket_directory is None:
            return URL.create(
                "postgresql+asyncpg", self.user, password, self.host, self.port, database=self.database
            )
        return URL.create(
            "postgresql+asyncpg",
            self.user,
            password,
            database=self.database,
            query={"host": self.host, "port": str(self.port)},
        )

    @property
    def dsn(self) -> str:
        """For libpq's tools and asyncpg.connect; holds the password, if there is one."""
        options = {"host": self.host, "port": self.port, "user": self.user}
        if self.password:
            options["password"] = self.password.get_secret_value()
        return f"postgresql:///{self.database}?{urlencode(options)}"


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What `gal-friday embedded status` reports.

    *state* is "busy" while the server starts, recovers or stops; *in_use* says whether any process holds a
    share, *pinned* whether the server stays without one.
    """

    state: ServerState
    in_use: bool
    pinned: bool
    pid: int | None
    endpoint: Endpoint | None
    data_directory: Path
    log_file: Path | None
