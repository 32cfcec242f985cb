"""The command line: `gal-friday …`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from gal_friday import __version__
from gal_friday.cli import (
    audit,
    books,
    db,
    demo,
    embedded,
    exchange,
    exporting,
    halts,
    importing,
    journal,
    recovery,
    replay,
    roles,
    spool,
    timescale,
    upkeep,
)
from gal_friday.config import Settings

app = typer.Typer(
    name="gal-friday",
    help="The persistence layer of a trading bot: its database, its server, and a trial run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
db.app.add_typer(roles.app, name="roles", help="Least privilege: who may migrate, trade, read and watch.")
db.app.add_typer(timescale.app, name="timescale", help="Hypertables, where the server offers them.")
app.add_typer(db.app, name="db", help="The schema and its migrations.")
app.add_typer(audit.app, name="audit", help="The record of every change.")
app.add_typer(embedded.app, name="embedded", help="The PostgreSQL server of one's own.")
app.add_typer(journal.app, name="journal", help="Facts that wait on disk for the database.")
app.add_typer(upkeep.app, name="upkeep", help="Partitions, retention, down-sampling.")
app.add_typer(upkeep.partitions_app, name="partitions", help="The partitions there are.")
app.add_typer(spool.app, name="spool", help="Points that wait on disk for their store.")
app.add_typer(importing.app, name="import", help="Files of candles and trades into the database.")
app.add_typer(exporting.app, name="export", help="Candles and trades of the database into a file.")
app.command("verify")(books.verify)
app.command("rebuild")(books.rebuild)
app.command("recover")(recovery.recover)
app.command("reconcile")(exchange.reconcile)
app.command("adopt")(exchange.adopt)
app.command("halt")(halts.halt)
app.command("resume")(halts.resume)
app.command("halts")(halts.halts)
app.command("replay")(replay.replay)
app.command("demo")(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    db_config: Annotated[
        Path | None, typer.Option("--db-config", help="TOML or JSON file of settings; see .env.example.")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    settings = Settings.load(db_config)
    handler = logging.StreamHandler()
    handler.setFormatter(_WithFacts("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=settings.log.level, handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)  # the MigrationManager says what happens
    context.obj = settings


class _WithFacts(logging.Formatter):
    """Prints what a record was logged with (`extra=`) behind its message."""

    _STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        facts = {name: value for name, value in vars(record).items() if name not in self._STANDARD}
        line = super().format(record)
        return f"{line} ({', '.join(f'{name}={value}' for name, value in facts.items())})" if facts else line
