"""Revisions read from their files: as Alembic reads them, or left to Alembic."""

from pathlib import Path

import pytest

from gal_friday.dal.migrations.alembic_configuration import alembic_config, revisions_by_alembic
from gal_friday.dal.migrations.revision_files import NotPlain, read_revisions
from gal_friday.dal.migrations.revisions import default_script_location, version_directories
from gal_friday.errors import MigrationFailed

OURS = '''\
"""{id}, as written here

More of it.
"""

import sqlalchemy as sa

revision = "{id}"
down_revision = {down!r}
branch_labels = None
depends_on = None

# Why so old.
oldest_code = "0.1.0"


def upgrade() -> None:
    revision = "not this one"


def downgrade() -> None:
    pass
'''
ALEMBICS = '''\
"""{id}

Revision ID: {id}
"""
from typing import Sequence, Union

from alembic import op


# revision identifiers, used by Alembic.
revision: str = '{id}'
down_revision: Union[str, Sequence[str], None] = {down!r}
branch_labels: Union[str, Sequence[str], None] = None
depends_on: Union[str, Sequence[str], None] = None
oldest_code: str = '0.0.9'


def upgrade() -> None:
    """Upgrade schema."""
'''


class Directory:
    """A script directory to write revisions into."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.versions = path / "versions"
        self.versions.mkdir(parents=True)

    def write(self, revision: str, down: str | None, template: str = OURS) -> None:
        (self.versions / f"{revision}.py").write_text(template.format(id=revision, down=down))


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "scripts")


def test_the_packages_own_revisions_are_read_as_alembic_reads_them() -> None:
    location = default_script_location()
    read = read_revisions(version_directories(location))
    assert read == revisions_by_alembic(alembic_config(location))
    assert read


@pytest.mark.parametrize("template", [OURS, ALEMBICS])
def test_a_line_of_revisions_is_read_as_alembic_reads_it(template: str, directory: Directory) -> None:
    # Names of files say nothing of the order.
    for revision, down in (("c", None), ("a", "c"), ("b", "a")):
        directory.write(revision, down, template)
    (directory.versions / "__init__.py").touch()
    (directory.versions / "notes.txt").touch()
    read = read_revisions([directory.versions])
    assert [revision.id for revision in read] == ["c", "a", "b"]
    assert read == revisions_by_alembic(alembic_config(directory.path))


def test_revisions_of_several_directories_are_one_line(directory: Directory, tmp_path: Path) -> None:
    other = Directory(tmp_path / "other")
    directory.write("first", None)
    other.write("second", "first")
    directory.write("third", "second")
    locations = [directory.versions, other.versions]
    read = read_revisions(version_directories(directory.path, locations))
    assert [revision.id for revision in read] == ["first", "second", "third"]
    assert read == revisions_by_alembic(alembic_config(directory.path, locations))


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ('revision = "{id}"', 'revision = "".join(["{id}"])'),
        ('revision = "{id}"', 'if sa:\n    revision = "{id}"'),
        ('revision = "{id}"', 'revision, other = "{id}", None'),
        ("branch_labels = None", 'branch_labels = "mine"'),
        ("branch_labels = None", "branch_labels = ()"),
        ("# Why so old.", "why = len([])"),
        ("def downgrade() -> None:\n    pass", 'revision = "{id}"'),
        ("import sqlalchemy as sa", "import sqlalchemy as sa\n\n'''A string\nclass of its own'''"),
    ],
)
def test_what_only_python_can_tell_is_left_to_alembic(
    written: str, instead: str, directory: Directory
) -> None:
    assert written in OURS
    directory.write("first", None, OURS.replace(written, instead))
    with pytest.raises(NotPlain):
        read_revisions([directory.versions])
    assert [each.id for each in revisions_by_alembic(alembic_config(directory.path))] == ["first"]


def test_branches_are_left_to_alembic_which_refuses_them(directory: Directory) -> None:
    for revision, down in (("root", None), ("left", "root"), ("right", "root")):
        directory.write(revision, down)
    with pytest.raises(NotPlain):
        read_revisions([directory.versions])
    with pytest.raises(MigrationFailed, match="branches"):
        revisions_by_alembic(alembic_config(directory.path))


def test_a_dependency_is_left_to_alembic(directory: Directory) -> None:
    directory.write("first", None)
    directory.write("second", "first", OURS.replace("depends_on = None", 'depends_on = "first"'))
    with pytest.raises(NotPlain):
        read_revisions([directory.versions])
    read = revisions_by_alembic(alembic_config(directory.path))
    assert [(each.id, each.previous) for each in read] == [("first", None), ("second", "first")]


@pytest.mark.parametrize("content", ["", "revision = 'x'", "def broken(:", "\0", "# coding: latin-1\n\xe4"])
def test_a_file_that_is_no_revision_is_left_to_alembic(content: str, directory: Directory) -> None:
    (directory.versions / "x.py").write_bytes(content.encode("latin-1"))
    with pytest.raises(NotPlain):
        read_revisions([directory.versions])


def test_a_revision_whose_predecessor_is_missing_is_left_to_alembic(directory: Directory) -> None:
    directory.write("second", "first")
    with pytest.raises(NotPlain):
        read_revisions([directory.versions])


def test_a_directory_that_is_not_there_is_left_to_alembic(tmp_path: Path) -> None:
    with pytest.raises(NotPlain):
        read_revisions([tmp_path / "nowhere"])
