"""What roles may do to the schema and what is in it, compared with what is declared."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import TextClause, text
from sqlalchemy.engine import Connection

from gal_friday.dal.models import Base
from gal_friday.dal.models.privileges import (
    CANDLE_HOURS,
    RESTRICTED,
    VERSION_TABLE,
    Privilege,
    Role,
    privileges_on_tables,
)
from gal_friday.dal.models.server_side import FUNCTIONS, SECURITY_DEFINERS
from gal_friday.dal.roles.statements import (
    GRANTABLE,
    Difference,
    Thing,
    described,
    grant,
    hand_over,
    revoke,
)

# Partitions, and the sequences behind identity columns, come with their tables. Nobody is given a privilege
# on them: who may use the table uses them through it.
_CONTENT = text("""
    WITH declared AS (
        SELECT oid FROM pg_class
        WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
            AND relkind IN ('r', 'p', 'v') AND relname = ANY (:tables)
    ), own AS (
        TABLE declared
        UNION
        SELECT CAST(relid AS oid) FROM declared, pg_partition_tree(declared.oid)
        UNION
        SELECT objid FROM pg_depend JOIN declared ON declared.oid = refobjid
        WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')
            AND EXISTS (SELECT FROM pg_class WHERE oid = objid AND relkind = 'S')
    ), thing (kind, namespace, name, owner, is_usable, column_name, acl) AS (
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END,
            relnamespace, relname, relowner, pg_class.oid IN (TABLE declared), '',
            coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
        FROM pg_class JOIN own USING (oid)
        UNION ALL
        SELECT 'TABLE', relnamespace, relname, relowner, attrelid IN (TABLE declared), attname, attacl
        FROM pg_attribute JOIN own ON own.oid = attrelid JOIN pg_class ON pg_class.oid = attrelid
        WHERE attacl IS NOT NULL AND NOT attisdropped
        UNION ALL
        SELECT 'FUNCTION', pronamespace, proname, proowner, prorettype <> 'trigger'::regtype, '',
            coalesce(proacl, acldefault('f', proowner))
        FROM pg_proc
        WHERE pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
            AND proname = ANY (:functions)
    )
    SELECT kind, nspname AS schema, name, is_usable, pg_get_userbyid(owner) AS owner, column_name,
        CASE WHEN grantee > 0 THEN pg_get_userbyid(grantee) END AS grantee, privilege_type, is_grantable
    FROM thing JOIN pg_namespace ON pg_namespace.oid = namespace
        LEFT JOIN aclexplode(acl) ON grantee <> owner
    ORDER BY kind DESC, name
""")
_SURROUNDINGS = text("""
    WITH thing (kind, name, owner, acl) AS (
        SELECT 'SCHEMA', nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner))
        FROM pg_namespace WHERE nspname = current_schema()
        UNION ALL
        SELECT 'DATABASE', datname, datdba, coalesce(datacl, acldefault('d', datdba))
        FROM pg_database WHERE datname = current_database()
    )
    SELECT kind, NULL AS schema, name, true AS is_usable, pg_get_userbyid(owner) AS owner, '' AS column_name,
        CASE WHEN grantee > 0 THEN pg_get_userbyid(grantee) END AS grantee, privilege_type, is_grantable
    FROM thing LEFT JOIN aclexplode(acl) ON grantee <> owner
    ORDER BY kind, name
""")
# Otherwise whoever may create things in a schema searched earlier than ours, the temporary one included,
# would have the owner's rights used on them.
_LAX_FUNCTIONS = text("""
    SELECT proname FROM pg_proc
    WHERE pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
        AND (proname = ANY (:definers) OR prosecdef AND proname = ANY (:functions))
        AND NOT (prosecdef AND proname = ANY (:definers) AND coalesce(
            ('search_path=' || quote_ident(current_schema()) || ', pg_temp') = ANY (proconfig), false
        ))
    ORDER BY proname
""")

_ON_SURROUNDINGS: Mapping[str, Mapping[Role, frozenset[Privilege]]] = {
    "SCHEMA": {
        Role.MIGRATOR: frozenset({Privilege("USAGE"), Privilege("CREATE")}),
        **dict.fromkeys(RESTRICTED, frozenset({Privilege("USAGE")})),
    },
    "DATABASE": dict.fromkeys(Role, frozenset({Privilege("CONNECT")})),
}
#: Of use to nobody without privileges on what is inside: whether everyone has them is not ours to say.
_TOLERATED = frozenset({Privilege("USAGE"), Privilege("CONNECT")})
_EXECUTE = Privilege("EXECUTE")


@dataclass
class _State:
    owner: str
    is_usable: bool
    #: By who has them; None is PUBLIC. The owner's are left out.
    held: dict[str | None, set[Privilege]] = field(default_factory=lambda: defaultdict(set))


def differences_of_content(
    connection: Connection, names: Mapping[Role, str], logins: Collection[str]
) -> Iterator[Difference]:
    """Where tables, sequences and functions belong to someone else, or someone may do more or less with them.

    *names* are the roles' in the server; *logins* are members of theirs, who are given nothing by themselves.
    """
    tables = [*Base.metadata.tables, VERSION_TABLE, CANDLE_HOURS]
    found = _things(connection, _CONTENT, {"tables": tables, "functions": list(FUNCTIONS)})
    on_tables = {role: privileges_on_tables(role) for role in RESTRICTED}
    for thing, state in found.items():
        owner = names[Role.MIGRATOR]
        if state.owner != owner and thing.kind != "SEQUENCE":  # which follows its table
            yield Difference(
                f"{thing} must belong to {owner}, not to {state.owner}", (hand_over(thing, owner),)
            )
        wanted: dict[str | None, frozenset[Privilege]] = dict.fromkeys([None, *sorted(logins)], frozenset())
        for role in RESTRICTED:
            if thing.kind == "FUNCTION":
                may_call = state.is_usable and role is Role.TRADER
                wanted[names[role]] = frozenset({_EXECUTE}) if may_call else frozenset()
            else:
                declared = on_tables[role].get(thing.name, frozenset())
                wanted[names[role]] = declared if state.is_usable else frozenset()
        yield from _differences(thing, state, wanted)
    lax = {"functions": list(FUNCTIONS), "definers": list(SECURITY_DEFINERS)}
    for name in connection.scalars(_LAX_FUNCTIONS, lax):
        rights = "its owner's rights, on a fixed search path" if name in SECURITY_DEFINERS else "its caller's"
        yield Difference(f"function {name} must act with {rights}")


def differences_of_surroundings(
    connection: Connection, names: Mapping[Role, str], logins: Collection[str]
) -> Iterator[Difference]:
    """The same for the schema and the database themselves; who owns them is for a person to say."""
    for thing, state in _things(connection, _SURROUNDINGS, {}).items():
        wanted: dict[str | None, frozenset[Privilege]] = dict.fromkeys([None, *sorted(logins)], frozenset())
        wanted |= {names[role]: privileges for role, privileges in _ON_SURROUNDINGS[thing.kind].items()}
        wanted.pop(state.owner, None)
        yield from _differences(thing, state, wanted)


def is_in_use(connection: Connection, names: Mapping[Role, str]) -> bool:
    """Whether the roles were ever given their privileges in this schema."""
    surroundings = _things(connection, _SURROUNDINGS, {})
    return any(
        names[Role.TRADER] in state.held for thing, state in surroundings.items() if thing.kind == "SCHEMA"
    )


def _things(
    connection: Connection, statement: TextClause, binds: Mapping[str, list[str]]
) -> dict[Thing, _State]:
    found: dict[Thing, _State] = {}
    for row in connection.execute(statement, binds):
        thing = Thing(row.kind, row.name, row.schema)
        state = found.setdefault(thing, _State(row.owner, row.is_usable))
        if row.privilege_type is not None:
            name = row.privilege_type + (GRANTABLE if row.is_grantable else "")
            state.held[row.grantee].add(Privilege(name, row.column_name))
    return found


def _differences(
    thing: Thing, state: _State, wanted: Mapping[str | None, frozenset[Privilege]]
) -> Iterator[Difference]:
    for role, privileges in wanted.items():
        held = state.held.get(role, set())
        excess = held - privileges - (_TOLERATED if thing.kind in _ON_SURROUNDINGS else frozenset())
        who = role or "PUBLIC"
        if excess:
            repair = [revoke(excess, thing, role)]
            if role is not None and privileges:
                # To take SELECT away from a table takes it away from its columns, too.
                repair.append(grant(privileges, thing, role))
            yield Difference(f"{who} must not have {described(excess)} on {thing}", tuple(repair))
        if role is not None and (missing := privileges - held):
            yield Difference(f"{who} needs {described(missing)} on {thing}", (grant(missing, thing, role),))
