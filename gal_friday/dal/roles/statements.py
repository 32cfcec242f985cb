"""GRANT, REVOKE and their like, every name quoted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import DDL
from sqlalchemy.dialects.postgresql.base import PGDialect

from gal_friday.dal.models.privileges import Privilege

#: How a privilege that may be passed on is told from one that may not.
GRANTABLE = " WITH GRANT OPTION"


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """What privileges are on: a TABLE, VIEW, SEQUENCE or FUNCTION in *schema*, a SCHEMA or a DATABASE."""

    kind: str
    name: str
    schema: str | None = None

    def __str__(self) -> str:
        return f"{self.kind.lower()} {self.name}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as it should be, and the statements that put it right: none where a person has to."""

    text: str
    repair: tuple[DDL, ...] = ()


def grant(privileges: Iterable[Privilege], on: Thing, to: str) -> DDL:
    return _about(on, "GRANT %(privileges)s ON %(kind)s %(thing)s TO %(role)s", privileges, to)


def revoke(privileges: Iterable[Privilege], on: Thing, of: str | None) -> DDL:
    """*of* None: of everyone, which is what PUBLIC means."""
    return _about(on, "REVOKE %(privileges)s ON %(kind)s %(thing)s FROM %(role)s CASCADE", privileges, of)


def hand_over(what: Thing, to: str) -> DDL:
    if what.kind == "VIEW":  # what lies behind the one there is follows if it is called what it was made as
        return _about(what, "ALTER MATERIALIZED VIEW %(thing)s OWNER TO %(role)s", (), to)
    return _about(what, "ALTER %(kind)s %(thing)s OWNER TO %(role)s", (), to)


def create_role(role: str) -> DDL:
    return _ddl("CREATE ROLE %(role)s NOLOGIN", role=_quoted(role))


def forbid(attribute: str, role: str) -> DDL:
    """*attribute* is one of ALTER ROLE's, like SUPERUSER."""
    return _ddl("ALTER ROLE %(role)s NO%(attribute)s", role=_quoted(role), attribute=attribute)


def grant_role(role: str, to: str) -> DDL:
    return _ddl("GRANT %(role)s TO %(member)s", role=_quoted(role), member=_quoted(to))


def revoke_role(role: str, of: str) -> DDL:
    return _ddl("REVOKE %(role)s FROM %(member)s", role=_quoted(role), member=_quoted(of))


def described(privileges: Iterable[Privilege]) -> str:
    """For a person, in the words of GRANT: `INSERT, SELECT (key, category)`."""
    return _words(privileges, str)


def _about(thing: Thing, statement: str, privileges: Iterable[Privilege], role: str | None) -> DDL:
    plain = {Privilege(each.name.removesuffix(GRANTABLE), each.column) for each in privileges}
    return _ddl(
        statement,
        privileges=_words(plain, _quoted),
        kind="TABLE" if thing.kind == "VIEW" else thing.kind,
        thing=".".join(_quoted(part) for part in (thing.schema, thing.name) if part is not None),
        role="PUBLIC" if role is None else _quoted(role),
    )


def _words(privileges: Iterable[Privilege], shown: Callable[[str], str]) -> str:
    phrases = []
    for (name, of_columns), group in groupby(sorted(privileges), lambda each: (each.name, bool(each.column))):
        columns = ", ".join(shown(each.column) for each in group)
        phrases.append(f"{name} ({columns})" if of_columns else name)
    return ", ".join(phrases)


def _ddl(statement: str, **words: str) -> DDL:
    return DDL(statement, context=words)  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


_quoted = PGDialect(paramstyle="named").identifier_preparer.quote_identifier  # type: ignore[no-untyped-call]  # as above
