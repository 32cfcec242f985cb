"""Every Python snippet of the documentation runs as it stands."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gal_friday.config import DatabaseSettings, Settings
from gal_friday.database import open_database
from tests.embedded_servers import a_data_directory, embedded_settings, end_everything

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SNIPPETS = [
    pytest.param(page, snippet, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, snippet in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
]


def test_there_is_something_to_run() -> None:
    assert SNIPPETS


@pytest.fixture(scope="module")
async def used_data_directory() -> AsyncIterator[Path]:
    """To be copied for what is read after the start: that is faster than to make a database for each."""
    with a_data_directory(".gal_friday") as directory:
        settings = Settings(database=DatabaseSettings(url=None), embedded=embedded_settings(directory))
        async with open_database(settings):
            pass
        end_everything(directory)
        yield directory


@pytest.mark.parametrize(("page", "snippet"), SNIPPETS)
def test_the_snippet_runs(page: Path, snippet: str, used_data_directory: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GAL_FRIDAY_")}
    with a_data_directory(".gal_friday") as directory:
        if page.parent != ROOT:
            subprocess.run(["cp", "-Rp", used_data_directory, directory], check=True)
        done = subprocess.run(
            [sys.executable, "-c", snippet],
            cwd=directory.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
