"""The lists of what roles may do are about tables and columns that exist."""

from gal_friday.dal.models import Base
from gal_friday.dal.models.privileges import (
    NEVER_CHANGED,
    RESTRICTED,
    ROWS_ARE_REMOVED,
    VERSION_TABLE,
    WATCHED,
    WRITTEN_BY_OTHERS,
    Privilege,
    Role,
    privileges_on_tables,
)
from gal_friday.dal.models.server_side import FUNCTIONS, SECURITY_DEFINERS
from gal_friday.dal.roles.statements import Thing, described, grant, revoke

TABLES = {*Base.metadata.tables, VERSION_TABLE}
ADDED = [name for name, table in Base.metadata.tables.items() if table.info["append_only"]]


def test_exceptions_are_about_tables_that_exist_and_give_a_reason() -> None:
    assert {*WRITTEN_BY_OTHERS, *ROWS_ARE_REMOVED, *NEVER_CHANGED, *WATCHED} <= TABLES
    assert all([*WRITTEN_BY_OTHERS.values(), *ROWS_ARE_REMOVED.values()])
    assert not WRITTEN_BY_OTHERS.keys() & ROWS_ARE_REMOVED.keys()
    assert not ROWS_ARE_REMOVED.keys() & set(ADDED)
    assert set(FUNCTIONS) >= SECURITY_DEFINERS


def test_what_is_watched_is_a_column() -> None:
    for name, columns in WATCHED.items():
        if name != VERSION_TABLE:
            assert set(columns) <= set(Base.metadata.tables[name].columns.keys())


def test_what_is_only_added_to_is_only_added_to_by_everyone() -> None:
    for role in RESTRICTED:
        for name in ADDED:
            held = {privilege.name for privilege in privileges_on_tables(role).get(name, ())}
            assert held <= {"SELECT", "INSERT"}


def test_only_the_trader_writes_and_the_owner_needs_no_grant() -> None:
    assert privileges_on_tables(Role.MIGRATOR) == {}
    for role in (Role.READER, Role.MONITOR):
        given = {privilege.name for held in privileges_on_tables(role).values() for privilege in held}
        assert given == {"SELECT"}


def test_names_are_quoted_whatever_they_are_called() -> None:
    table = Thing("TABLE", 'or"ders', "pub%lic")
    some = [Privilege("SELECT", 'a"b'), Privilege("SELECT", "c"), Privilege("INSERT")]
    assert described(some) == 'INSERT, SELECT (a"b, c)'
    given = grant(some, table, 'x" TO y')
    assert (given.statement % given.context) == (
        'GRANT INSERT, SELECT ("a""b", "c") ON TABLE "pub%lic"."or""ders" TO "x"" TO y"'
    )
    taken = revoke([Privilege("UPDATE WITH GRANT OPTION")], table, None)
    assert (taken.statement % taken.context) == (
        'REVOKE UPDATE ON TABLE "pub%lic"."or""ders" FROM PUBLIC CASCADE'
    )
