"""Writes the pages that follow from the code: docs/schema.md and .env.example."""

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
    (ROOT / ".env.example").write_text(environment_page(), encoding="utf-8")
