"""`gal-friday` and `python -m gal_friday`: the command line, and how its errors are told."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; exit 1 for an error of ours, 2 for a malformed setting, 130 for Ctrl-C."""
    if sys.argv[1:] == ["db", "check", "--at-head"]:
        _answer_at_once()
    try:
        from gal_friday.cli import app  # noqa: PLC0415 -- the extra may be missing, and that is worth a sentence
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"typer", "rich"}:
            raise
        sys.stderr.write("The command line needs its extra: pip install 'gal_friday[cli]'\n")
        sys.exit(2)
    from gal_friday.errors import ConfigurationError, PersistenceError  # noqa: PLC0415

    try:
        app()
    except PersistenceError as error:
        hint = f"\nTry: {error.hint}" if error.hint else ""
        sys.stderr.write(f"gal-friday: {error}{hint}\n")
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _answer_at_once() -> None:
    """Exit 0 where the database is at the head for certain; return where that takes the command to tell."""
    from gal_friday.dal.migrations.head_check import head_if_there  # noqa: PLC0415 -- of no use to other commands

    if head := head_if_there():
        sys.stdout.write(f"The database is at {head}.\n")
        sys.exit(0)


if __name__ == "__main__":
    main()
