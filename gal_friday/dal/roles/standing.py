"""What roles are in the whole server: who is a member of whom, and who could do more than the grants say."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.engine import Connection

from gal_friday.dal.models import Base
from gal_friday.dal.models.privileges import (
    RESTRICTED,
    VERSION_TABLE,
    Privilege,
    Role,
    privileges_on_tables,
)
from gal_friday.dal.roles.statements import Difference, create_role, forbid, grant_role, revoke_role

_ROLES = text("""
    SELECT rolname AS name, array_remove(ARRAY[
        CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
        CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
        CASE WHEN rolreplication THEN 'REPLICATION' END, CASE WHEN rolcanlogin THEN 'LOGIN' END
    ], NULL) AS attributes
    FROM pg_roles
""")
# From PostgreSQL 16 on whoever makes a role may give it away without being able to act as it.
_MEMBERSHIPS = text("""
    SELECT member.rolname AS member, held.rolname AS role
    FROM pg_auth_members AS membership JOIN pg_roles AS member ON member.oid = membership.member
        JOIN pg_roles AS held ON held.oid = roleid
    WHERE 'true' IN (
        coalesce(to_jsonb(membership) ->> 'inherit_option', 'true'), to_jsonb(membership) ->> 'set_option'
    )
""")
# Whichever way it came by it: another role's privileges, PUBLIC's, a predefined role.
_POWERS = text("""
    SELECT who, 'table ' || relname AS what, privilege
    FROM unnest(CAST(:who AS text[])) AS who, pg_class,
        unnest(CAST(:privileges AS text[])) AS privilege
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
        AND relname = ANY (:tables) AND has_table_privilege(who, pg_class.oid, privilege)
    UNION ALL
    SELECT who, 'schema ' || nspname, 'CREATE'
    FROM unnest(CAST(:who AS text[])) AS who, pg_namespace
    WHERE nspname NOT LIKE 'pg\\_%' AND has_schema_privilege(who, pg_namespace.oid, 'CREATE')
    UNION ALL
    SELECT who, 'database ' || current_database(), privilege
    FROM unnest(CAST(:who AS text[])) AS who, unnest(ARRAY['CREATE', 'TEMPORARY']) AS privilege
    WHERE has_database_privilege(who, current_database(), privilege)
    UNION ALL
    SELECT who, 'parameter session_replication_role', 'SET'
    FROM unnest(CAST(:who AS text[])) AS who
    WHERE has_parameter_privilege(who, 'session_replication_role', 'SET')
    ORDER BY who, what, privilege
""")
_OWNED = text("""
    SELECT rolname AS owner, pg_describe_object(classid, objid, objsubid) AS what
    FROM pg_shdepend JOIN pg_roles ON pg_roles.oid = refobjid
    WHERE refclassid = 'pg_authid'::regclass AND deptype = 'o' AND rolname = ANY (:who)
        AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    ORDER BY owner, what
""")

_ON_TABLES = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]
_MONITORING = "pg_monitor"
#: Roles of PostgreSQL's own whose members do what they please with the server's machine.
_MIGHTY = frozenset({"pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"})


@dataclass(frozen=True, slots=True)
class Standing:
    """The roles of a server: their attributes, and the roles each is a direct member of."""

    names: Mapping[Role, str]
    attributes: Mapping[str, frozenset[str]]
    memberships: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, connection: Connection, names: Mapping[Role, str]) -> "Standing":
        memberships = defaultdict(set)
        for member, role in connection.execute(_MEMBERSHIPS):
            memberships[member].add(role)
        return cls(
            names,
            {name: frozenset(attributes) for name, attributes in connection.execute(_ROLES)},
            {member: frozenset(roles) for member, roles in memberships.items()},
        )

    def held_by(self, member: str) -> set[str]:
        """Every role *member* is a member of, directly or through others."""
        found: set[str] = set()
        to_do = {member}
        while to_do:
            to_do = {role for each in to_do for role in self.memberships.get(each, ())} - found
            found |= to_do
        return found

    @property
    def logins(self) -> list[str]:
        """Members of the restricted roles, those roles left out."""
        restricted = {self.names[role] for role in RESTRICTED}
        members = self.memberships.keys() - set(self.names.values())
        return sorted(member for member in members if self.held_by(member) & restricted)


def differences_of_roles(standing: Standing) -> Iterator[Difference]:
    """Roles that are missing, and what the others are or are members of too much."""
    for role, name in standing.names.items():
        if name not in standing.attributes:
            yield Difference(f"role {name} does not exist", (create_role(name),))
        for attribute in sorted(standing.attributes.get(name, ())):
            yield Difference(f"{name} must not be {attribute}", (forbid(attribute, name),))
        due = {_MONITORING} if role is Role.MONITOR else set()
        held = standing.memberships.get(name, frozenset())
        for other in sorted(due - held):
            yield Difference(f"{name} must be a member of {other}", (grant_role(other, name),))
        for other in sorted(held - due):
            yield Difference(f"{name} must not be a member of {other}", (revoke_role(other, name),))


def differences_of_logins(connection: Connection, standing: Standing) -> Iterator[Difference]:
    """What members of the restricted roles could do beyond them: for a person to judge and to change."""
    weak = []
    for login in standing.logins:
        excess = sorted(_strong(standing, login))
        if not excess:
            weak.append(login)
        for what in excess:
            yield Difference(f"{login} must not be {what}")
    restricted = [standing.names[role] for role in RESTRICTED]
    everyone = [*weak, *(name for name in restricted if name in standing.attributes)]
    binds = {"who": everyone, "tables": [*Base.metadata.tables, VERSION_TABLE], "privileges": _ON_TABLES}
    for who, what, privilege in connection.execute(_POWERS, binds):
        kind, _, name = what.partition(" ")
        if kind != "table" or Privilege(privilege) not in _due(standing, who, name):
            yield Difference(f"{who} must not have {privilege} on {what}")
    for owner, what in connection.execute(_OWNED, {"who": [*standing.logins, *restricted]}):
        yield Difference(f"{owner} must not own {what}")


def _strong(standing: Standing, login: str) -> Iterator[str]:
    yield from standing.attributes[login] - {"LOGIN"}
    for role in standing.held_by(login):
        powers = ", ".join(sorted(standing.attributes[role] - {"LOGIN"}))
        if powers or role in _MIGHTY or role == standing.names[Role.MIGRATOR]:
            yield f"a member of {role}{f', which is {powers}' if powers else ''}"


def _due(standing: Standing, who: str, table: str) -> Iterable[Privilege]:
    held = {who, *standing.held_by(who)}
    for role in RESTRICTED:
        if standing.names[role] in held:
            yield from privileges_on_tables(role).get(table, ())
