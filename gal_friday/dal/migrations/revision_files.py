"""The revisions of an installation, read from their files; importing Alembic takes longer than a boot."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_BODY = re.compile(r"^(?:def|async def|class|@)\b", re.MULTILINE)
_DECLARED = ("revision", "down_revision", "branch_labels", "depends_on", "oldest_code")


class NotPlain(Exception):
    """Revisions that only Alembic understands: branches, or values that are not written out."""


@dataclass(frozen=True, slots=True)
class RevisionFile:
    """A revision as its file declares it."""

    id: str
    previous: str | None
    message: str
    oldest_code: str
    path: Path


def read_revisions(directories: Iterable[Path]) -> list[RevisionFile]:
    """The revisions in *directories*, oldest first: one line without branches.

    Raises NotPlain where Alembic is to be asked.
    """
    followers: dict[str | None, RevisionFile] = {}
    count = 0
    for path in _files(directories):
        declared = _read(path)
        followers[declared.previous] = declared
        count += 1
    revisions = list(_line(followers))
    if len(revisions) != count:
        raise NotPlain
    return revisions


def _files(directories: Iterable[Path]) -> Iterator[Path]:
    """The files Alembic takes for revisions."""
    try:
        for directory in directories:
            for path in directory.iterdir():
                if path.suffix == ".py" and not path.name.startswith((".#", "__init__")):
                    yield path
    except OSError as error:
        raise NotPlain from error


def _line(followers: dict[str | None, RevisionFile]) -> Iterator[RevisionFile]:
    previous = None
    while (revision := followers.pop(previous, None)) is not None:
        yield revision
        previous = revision.id


def _read(path: Path) -> RevisionFile:
    try:
        text = path.read_text(encoding="utf-8")
        body = _BODY.search(text)
        # What a revision does is most of its text, and none of what it declares.
        head = ast.parse(text[: body.start()] if body else text)
    except (OSError, ValueError, SyntaxError) as error:
        raise NotPlain from error
    if body and any(text.find(f"\n{name}", body.start()) >= 0 for name in _DECLARED):
        raise NotPlain
    match dict(_declarations(head)):
        case {
            "revision": str() as revision,
            "down_revision": str() | None as previous,
            "oldest_code": str() as oldest_code,
            **others,
        } if not (others.get("branch_labels") or others.get("depends_on")):
            message = (ast.get_docstring(head, clean=False) or "").strip().split("\n\n")[0]
            return RevisionFile(revision, previous, message, oldest_code, path)
        case _:
            raise NotPlain


def _declarations(head: ast.Module) -> Iterator[tuple[str, object]]:
    for statement in head.body:
        match statement:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                pass
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value))
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value))
            ):
                yield name, value
            case _:
                raise NotPlain
