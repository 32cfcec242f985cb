import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.errors import ConfigurationError, ConnectionRejected
from tests.conftest import BIN_DIRECTORIES
from tests.servers import PostgresServer

IS_ENCRYPTED = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
CURRENT_USER = text("SELECT current_user")


class Certificates:
    """A certificate authority in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root.crt"
        self._openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=authority"
            " -keyout root.key -out root.crt"
        )

    def issue(self, name: str, extension: str) -> tuple[Path, Path]:
        (self.directory / "extension").write_text(extension)
        self._openssl(
            f"req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name}"
            f" -keyout {name}.key -out {name}.csr"
        )
        self._openssl(
            f"x509 -req -in {name}.csr -CA root.crt -CAkey root.key -CAcreateserial"
            f" -extfile extension -out {name}.crt"
        )
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"

    def _openssl(self, arguments: str) -> None:
        subprocess.run(["openssl", *arguments.split()], cwd=self.directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[PostgresServer]:
    certificate, key = certificates.issue("server", "subjectAltName=IP:127.0.0.1")
    with PostgresServer(next(iter(BIN_DIRECTORIES.values()))) as server:
        server.write("data/server.crt", certificate.read_text())
        server.write("data/server.key", key.read_text())
        server.write("data/root.crt", certificates.root.read_text())
        server.configure({"ssl": "on", "ssl_ca_file": "root.crt"})
        rules = (server.data_directory / "pg_hba.conf").read_text()
        server.write("data/pg_hba.conf", f"hostssl all trader 127.0.0.1/32 cert\n{rules}")
        server.restart()
        server.run("createuser", "trader")
        yield server


def a_pool(url: str, **settings: Any) -> DatabaseConnectionPool:
    return DatabaseConnectionPool(DatabaseSettings(url=url, **settings))


@pytest.mark.parametrize(
    ("mode", "is_encrypted"),
    [("disable", False), ("prefer", True), ("require", True), ("verify-ca", True), ("verify-full", True)],
)
async def test_each_mode_encrypts_as_libpq_does(
    server: PostgresServer, certificates: Certificates, mode: str, is_encrypted: bool
) -> None:
    root = certificates.root if mode.startswith("verify") else None
    async with (
        a_pool(server.url(), ssl_mode=mode, ssl_root_certificate=root) as pool,
        pool.session() as session,
    ):
        assert await session.scalar(IS_ENCRYPTED) is is_encrypted


async def test_the_mode_in_the_url_wins(server: PostgresServer) -> None:
    async with (
        a_pool(f"{server.url()}?sslmode=require", ssl_mode="disable") as pool,
        pool.session() as session,
    ):
        assert await session.scalar(IS_ENCRYPTED) is True


async def test_a_server_nobody_vouches_for_is_rejected_at_once(
    server: PostgresServer, tmp_path: Path
) -> None:
    stranger = Certificates(tmp_path)
    with pytest.raises(ConnectionRejected):
        await a_pool(server.url(), ssl_mode="verify-full", ssl_root_certificate=stranger.root).initialize()


async def test_a_client_can_log_in_with_its_certificate(
    server: PostgresServer, certificates: Certificates
) -> None:
    certificate, key = certificates.issue("trader", "extendedKeyUsage=clientAuth")
    pool = a_pool(server.url(user="trader"), ssl_mode="require", ssl_certificate=certificate, ssl_key=key)
    async with pool, pool.session() as session:
        assert await session.scalar(CURRENT_USER) == "trader"


async def test_a_client_without_its_certificate_is_rejected(server: PostgresServer) -> None:
    with pytest.raises(ConnectionRejected):
        await a_pool(server.url(user="trader"), ssl_mode="require").initialize()


@pytest.mark.parametrize("setting", ["ssl_root_certificate", "ssl_certificate", "ssl_key"])
async def test_a_certificate_that_is_not_there_is_a_configuration_error(
    server: PostgresServer, tmp_path: Path, setting: str
) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        await a_pool(server.url(), **{setting: tmp_path / "missing.pem"}).initialize()
