"""Where the server's roles are not as declared, and putting it right."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import DDL, text
from sqlalchemy.engine import Connection

from gal_friday.dal.models.privileges import Role
from gal_friday.dal.roles.objects import differences_of_content, differences_of_surroundings, is_in_use
from gal_friday.dal.roles.standing import Standing, differences_of_logins, differences_of_roles
from gal_friday.dal.roles.statements import Difference, grant_role
from gal_friday.errors import PermissionDenied

# Whoever makes the migrator joins it, to hand the tables over and to go on migrating them. Of an outsider the
# server would take GRANTs with no more than a warning, and do nothing.
_OUTSIDER = text("""
    SELECT current_user FROM pg_roles
    WHERE rolname = current_user AND NOT rolsuper AND NOT pg_has_role(CAST(:migrator AS name), 'USAGE')
""")


@dataclass(frozen=True, slots=True)
class RolesReport:
    """What `put_right` did, and what it found that is for a person to change."""

    put_right: tuple[str, ...]
    left: tuple[str, ...]


def names_of_roles(prefix: str) -> Mapping[Role, str]:
    """What the roles are called in the server."""
    return {role: f"{prefix}{role}" for role in Role}


def differences(connection: Connection, names: Mapping[Role, str]) -> list[str]:
    """Where the roles are not as declared, one phrase each; empty if nowhere."""
    standing = Standing.of(connection, names)
    found = [
        *differences_of_roles(standing),
        *differences_of_surroundings(connection, names, standing.logins),
        *differences_of_content(connection, names, standing.logins),
        *differences_of_logins(connection, standing),
    ]
    return list(dict.fromkeys(each.text for each in found))


def put_right(connection: Connection, names: Mapping[Role, str]) -> RolesReport:
    """Make missing roles, grant and revoke, and hand tables and functions over to the migrator.

    Commits nothing. Raises PermissionDenied, with the statement, where the login may not do it.
    """
    standing = Standing.of(connection, names)
    migrator = names[Role.MIGRATOR]
    done = _repair(connection, differences_of_roles(standing))
    if login := connection.scalar(_OUTSIDER, {"migrator": migrator}):
        if migrator in standing.attributes:
            raise PermissionDenied("it is neither superuser nor migrator", login=login, migrator=migrator)
        _execute(connection, grant_role(migrator, login))
    logins = Standing.of(connection, names).logins
    done += _repair(connection, differences_of_surroundings(connection, names, logins))
    done += _repair(connection, differences_of_content(connection, names, logins))
    left = differences(connection, names)
    return RolesReport(tuple(each for each in done if each not in left), tuple(left))


def follow_schema(connection: Connection, names: Mapping[Role, str]) -> None:
    """Bring the privileges up to date with what a migration made, where the roles are in use."""
    if is_in_use(connection, names):
        logins = Standing.of(connection, names).logins
        _repair(connection, differences_of_content(connection, names, logins))


def _repair(connection: Connection, differences: Iterable[Difference]) -> list[str]:
    # All of them are found before the first is put right.
    to_do = [each for each in list(differences) if each.repair]
    for each in to_do:
        for statement in each.repair:
            _execute(connection, statement)
    return [each.text for each in to_do]


def _execute(connection: Connection, statement: DDL) -> None:
    try:
        connection.execute(statement)
    except PermissionDenied as error:
        whole = {"statement": statement.statement % statement.context}
        raise PermissionDenied(error.explanation, **{**error.facts, **whole}) from error
