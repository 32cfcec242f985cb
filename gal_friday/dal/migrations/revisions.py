"""The history of revisions: which there are, and what lies between two of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gal_friday
from gal_friday.dal.migrations.revision_files import RevisionFile
from gal_friday.errors import NotFound

MAX_ID_LENGTH = 32  # of alembic_version.version_num

#: Where the wheel has the migrations, inside the package.
WHEEL_DIRECTORY = "_alembic"


@dataclass(frozen=True, slots=True)
class Revision:
    """A step of the schema's history; *oldest_code* is the oldest version that works with its result."""

    id: str
    previous: str | None
    message: str
    oldest_code: str
    path: Path
    is_applied: bool


def default_script_location() -> Path:
    """`gal_friday/_alembic` where the package is installed from a wheel, `alembic_env` in a checkout."""
    package = Path(gal_friday.__file__).parent
    installed = package / WHEEL_DIRECTORY
    return installed if installed.is_dir() else package.parent / "alembic_env"


def version_directories(script_location: Path, version_locations: Sequence[Path] = ()) -> Sequence[Path]:
    """Where Alembic looks for revisions, so configured."""
    return version_locations or (script_location / "versions",)


class RevisionHistory:
    """The revisions of a script directory, given oldest first: one line without branches."""

    def __init__(self, files: Sequence[RevisionFile]) -> None:
        self._files = files
        self._ids = [file.id for file in files]

    def __contains__(self, revision: object) -> bool:
        return revision is None or revision in self._ids

    def listed(self, current: str | None) -> list[Revision]:
        """All revisions, oldest first, in a database that stands at *current*."""
        applied = self._applied(current)
        return [
            Revision(
                id=file.id,
                previous=file.previous,
                message=file.message,
                oldest_code=file.oldest_code,
                path=file.path,
                is_applied=position < applied,
            )
            for position, file in enumerate(self._files)
        ]

    def upgrades(self, current: str | None, target: str) -> list[str]:
        """Ids of the revisions to apply, in this order, to get from *current* to *target*."""
        return self._ids[self._applied(current) : self._target(current, target)]

    def downgrades(self, current: str | None, target: str) -> list[str]:
        """Ids of the revisions to undo, in this order, to get from *current* to *target*."""
        return self._ids[self._target(current, target) : self._applied(current)][::-1]

    def resolve(self, target: str) -> str | None:
        """The id that *target* means; None for "base"."""
        position = self._target(None, target)
        return self._ids[position - 1] if position else None

    def next_id(self, message: str) -> str:
        """An id for a new revision: its number and its message."""
        slug = "_".join(re.findall(r"[a-z0-9]+", message.lower()))
        return f"{len(self._ids) + 1:04d}_{slug}"[:MAX_ID_LENGTH].rstrip("_")

    def before(self, revision: str) -> str | None:
        """The revision that *revision* builds on."""
        position = self._ids.index(revision)
        return self._ids[position - 1] if position else None

    def _applied(self, current: str | None) -> int:
        return 0 if current is None else self._ids.index(current) + 1

    def _target(self, current: str | None, target: str) -> int:
        match target:
            case "head" | "heads":
                return len(self._ids)
            case "base":
                return 0
            case _ if re.fullmatch(r"[+-]\d+", target):
                position = self._applied(current) + int(target)
                if 0 <= position <= len(self._ids):
                    return position
            case _:
                found = [number for number, name in enumerate(self._ids, 1) if name.startswith(target)]
                if len(found) == 1 or target in self._ids:
                    return found[0] if len(found) == 1 else self._ids.index(target) + 1
        raise NotFound("no such revision, or more than one", revision=target, known=self._ids)
