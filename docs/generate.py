"""Writes the pages that follow from the code: docs/schema.md, docs/retries.md and .env.example."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from sqlalchemy import CheckConstraint, Table, UniqueConstraint
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateIndex

from gal_friday.config import ENV_PREFIX, Settings
from gal_friday.dal.models import Base
from gal_friday.dal.retry_policy import RETRIED, Work

ROOT = Path(__file__).parent.parent
DIALECT = make_url("postgresql+asyncpg://").get_dialect()()


def schema_page() -> str:
    tables = [Base.metadata.tables[name] for name in sorted(Base.metadata.tables)]
    contents = "\n".join(f"- [{table.name}](#{table.name}): {table.comment}" for table in tables)
    sections = "\n".join(_section(table) for table in tables)
    return (
        "# Schema\n\nGenerated from `gal_friday/dal/models` by `make docs`; do not edit.\n\n"
        f"{contents}\n\n{sections}"
    )


def _section(table: Table) -> str:
    partitioned = table.dialect_options["postgresql"]["partition_by"]
    lines = [f"## {table.name}", "", f"{table.comment}.", ""]
    if partitioned:
        lines += [f"Partitioned by {partitioned}.", ""]
    lines += ["| column | type | null | default | what |", "|---|---|---|---|---|"]
    for column in table.columns:
        kind = column.type.compile(dialect=DIALECT)
        key = " **key**" if column.primary_key else ""
        references = "".join(
            f" → {name}" for name in sorted(key.target_fullname for key in column.foreign_keys)
        )
        default = getattr(getattr(column.server_default, "arg", None), "text", None) or getattr(
            column.server_default, "arg", ""
        )
        lines.append(
            f"| {column.name}{key} | {kind}{references} | {'yes' if column.nullable else ''} | {default} "
            f"| {column.comment} |"
        )
    lines += ["", *_rules(table), *_indexes(table), ""]
    return "\n".join(lines)


def _rules(table: Table) -> Iterator[str]:
    for constraint in sorted(table.constraints, key=lambda item: str(item.name)):
        if isinstance(constraint, CheckConstraint):
            text = constraint.sqltext.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True})
            yield f"- `{constraint.name}`: `{text}`"
        elif isinstance(constraint, UniqueConstraint):
            yield f"- `{constraint.name}`: unique ({', '.join(column.name for column in constraint.columns)})"


def _indexes(table: Table) -> Iterator[str]:
    for index in sorted(table.indexes, key=lambda item: str(item.name)):
        statement = str(CreateIndex(index).compile(dialect=DIALECT)).replace("\n", " ")
        yield f"- `{statement.strip()}`"


def retries_page() -> str:
    kinds = "\n".join(f"- `{work.name}`: {work.value}" for work in Work)
    header = "| error | what it says | " + " | ".join(f"`{work.name}`" for work in Work) + " |"
    rows = "\n".join(
        f"| {error.__name__} | {(error.__doc__ or '').partition(chr(10))[0]} | "
        + " | ".join("again" if work in retried else "" for work in Work)
        + " |"
        for error, retried in RETRIED.items()
        if retried
    )
    never = ", ".join(error.__name__ for error, retried in RETRIED.items() if not retried)
    return (
        "# What is tried again\n\n"
        "Generated from `gal_friday/dal/retry_policy.py` by `make docs`; do not edit.\n\n"
        "Between two tries lies a random time that grows from one to the next. They end with the last error\n"
        "after `GAL_FRIDAY_DATABASE__RETRY_TIMEOUT_SECONDS` (those of a migration after\n"
        "`GAL_FRIDAY_DATABASE__MIGRATION_WAIT_SECONDS`); a unit of work or a save gets 20 at most.\n\n"
        f"{kinds}\n\n{header}\n|{'---|' * (len(Work) + 2)}\n{rows}\n\n"
        f"Reported at once, whatever was being done: {never}.\n"
    )


def environment_page() -> str:
    lines = [
        "# Every setting of gal_friday with its default. Copy to .env and uncomment what you change.",
        "# The same names, nested, without the prefix, serve in the file given with --db-config.",
    ]
    for name, field in Settings.model_fields.items():
        group = field.annotation
        assert isinstance(group, type)
        assert issubclass(group, BaseModel)
        lines += ["", f"# --- {name}: {group.__doc__}"]
        for key, setting in group.model_fields.items():
            default = "" if setting.default in (None, PydanticUndefined) else setting.default
            if setting.default_factory is not None:
                default = "{}"
            choices = get_args(setting.annotation)
            accepted = (
                f" ({' | '.join(choices)})" if choices and all(isinstance(c, str) for c in choices) else ""
            )
            variable = ENV_PREFIX + f"{name}__{key}".upper()
            lines += [f"# {setting.description}{accepted}", f"# {variable}={default}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "schema.md").write_text(schema_page(), encoding="utf-8")
    (ROOT / "docs" / "retries.md").write_text(retries_page(), encoding="utf-8")
    (ROOT / ".env.example").write_text(environment_page(), encoding="utf-8")
