"""Where the server's roles are not as declared, and putting it right."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.engine import Connection

from gal_friday.dal.models.privileges import Role
from gal_friday.dal.roles.objects import differences_of_content, differences_of_surroundings, is_in_use
from gal_friday.dal.roles.standing import Standing, differences_of_logins, differences_of_roles
from gal_friday.dal.roles.statements import Difference, grant_role
from gal_friday.errors import PermissionDenied

# As its member, whoever hands the tables over can go on migrating them.
_MUST_JOIN = text("""
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
    done = _repair(connection, differences_of_roles(Standing.of(connection, names)))
    if joins := connection.scalar(_MUST_JOIN, {"migrator": names[Role.MIGRATOR]}):
        _execute(connection, Difference("", (grant_role(names[Role.MIGRATOR], joins),)))
    logins = Standing.of(connection, names).logins
    done += _repair(connection, differences_of_surroundings(connection, names, logins))
    done += _repair(connection, differences_of_content(connection, names, logins))
    return RolesReport(tuple(done), tuple(differences(connection, names)))


def follow_schema(connection: Connection, names: Mapping[Role, str]) -> None:
    """Bring the privileges up to date with what a migration made, where the roles are in use."""
    if is_in_use(connection, names):
        logins = Standing.of(connection, names).logins
        _repair(connection, differences_of_content(connection, names, logins))


def _repair(connection: Connection, differences: Iterable[Difference]) -> list[str]:
    # All of them are found before the first is put right.
    to_do = [each for each in list(differences) if each.repair]
    for each in to_do:
        _execute(connection, each)
    return [each.text for each in to_do]


def _execute(connection: Connection, difference: Difference) -> None:
    for statement in difference.repair:
        try:
            connection.execute(statement)
        except PermissionDenied as error:
            whole = {"statement": statement.statement % statement.context}
            raise PermissionDenied(error.explanation, **{**error.facts, **whole}) from error
