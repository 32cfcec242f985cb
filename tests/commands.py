"""Commands as a person runs them, against a database of one's own."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import URL


def gal_friday(url: URL, directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """What `gal-friday` with *arguments* did, run in *directory* with the database of *url* configured."""
    (directory / "database.toml").write_text(
        f'[database]\nurl = "{url.set(drivername="postgresql").render_as_string(hide_password=False)}"\n'
    )
    command = [sys.executable, "-m", "gal_friday", "--db-config", "database.toml", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
