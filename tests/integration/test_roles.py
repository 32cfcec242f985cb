"""The roles of a database are made, compared with what is declared, and put right."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest
from sqlalchemy import URL, make_url

from gal_friday.config import DatabaseSettings, Settings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.migrations.migration_manager import MigrationManager
from gal_friday.dal.migrations.role_manager import RoleManager
from gal_friday.dal.models.privileges import Role
from gal_friday.errors import ConfigurationError, MigrationFailed, PermissionDenied
from tests.conftest import FIRST_VERSION
from tests.factories import a_strategy, an_order
from tests.servers import PostgresServer

PASSWORD = "rather secret"


@dataclass(frozen=True)
class Site:
    """A database, and roles and logins in its server that no other test has."""

    server: PostgresServer
    name: str
    settings: DatabaseSettings

    @property
    def prefix(self) -> str:
        return self.settings.role_prefix

    @property
    def roles(self) -> RoleManager:
        return RoleManager(self.url(), self.settings)

    def url(self, login: str | None = None) -> URL:
        if login is None:
            return make_url(self.server.url(self.name))
        return make_url(self.server.url(self.name, user=f"{self.prefix}{login}", password=PASSWORD))

    def sql(self, *statements: str) -> str:
        """Executed by the superuser, with `the_` for the prefix."""
        commands = [part for each in statements for part in ("-c", each.replace("the_", self.prefix))]
        return self.server.run("psql", "-AtX", "-d", self.name, *commands).strip()

    async def migrate(self, login: str | None = None, to: str = "head") -> None:
        await MigrationManager(self.url(login), self.settings).run_migrations(to)

    async def check(self) -> list[str]:
        """With `the_` for the prefix."""
        return [each.replace(self.prefix, "the_") for each in await self.roles.check()]


@contextmanager
def a_site(server: PostgresServer, *, template: str | None = None) -> Iterator[Site]:
    prefix = f"t{uuid4().hex[:12]}_"
    site = Site(server, f"test_{uuid4().hex}", DatabaseSettings(role_prefix=prefix))
    server.create_database(site.name, template=template)
    yield site
    server.drop_database(site.name)
    made = f"SELECT string_agg(rolname, ', ') FROM pg_roles WHERE starts_with(rolname, '{prefix}')"
    if roles := server.run("psql", "-AtX", "-c", made).strip():
        server.run("psql", "-c", f"DROP OWNED BY {roles}", "-c", f"DROP ROLE {roles}")


@pytest.fixture
def site(any_postgres_server: PostgresServer) -> Iterator[Site]:
    """With an empty database."""
    with a_site(any_postgres_server) as site:
        yield site


LOGINS = {"owner": Role.MIGRATOR, "bot": Role.TRADER, "analyst": Role.READER, "watcher": Role.MONITOR}


def make_logins(site: Site) -> None:
    site.sql(
        *(
            f"CREATE ROLE the_{login} LOGIN PASSWORD '{PASSWORD}' IN ROLE the_{role}"
            for login, role in LOGINS.items()
        )
    )


@pytest.fixture(scope="module")
async def migrated(any_postgres_server: PostgresServer) -> AsyncIterator[Site]:
    """With the schema, to be copied."""
    with a_site(any_postgres_server) as site:
        await site.migrate()
        yield site


@pytest.fixture
async def applied(migrated: Site) -> AsyncIterator[Site]:
    """With the schema, the roles, and their logins: the_owner, the_bot, the_analyst and the_watcher."""
    with a_site(migrated.server, template=migrated.name) as site:
        await site.roles.apply()
        make_logins(site)
        yield site


async def test_what_is_applied_is_as_declared_and_applied_again_changes_nothing(site: Site) -> None:
    await site.migrate()
    before = await site.check()
    first = await site.roles.apply()
    assert set(first.put_right) == {each.replace("the_", site.prefix) for each in before}
    assert first.left == ()
    assert await site.check() == []
    again = await site.roles.apply()
    assert (again.put_right, again.left) == ((), ())


async def test_before_the_first_migration_only_schema_and_database_are_there_to_grant(site: Site) -> None:
    await site.roles.apply()
    assert await site.check() == []
    make_logins(site)
    assert await site.check() == []


async def test_what_a_migrator_makes_is_the_roles_at_once(site: Site) -> None:
    await site.roles.apply()
    make_logins(site)
    await site.migrate("owner")
    assert await site.check() == []
    manager = MigrationManager(site.url("owner"), site.settings)
    await manager.rollback("base")
    assert await site.check() == []
    await manager.run_migrations()
    assert await site.check() == []
    async with DatabaseConnectionPool(site.settings, url=site.url("bot")) as pool, pool.transaction() as uow:
        await uow.accounts.open_account()
        await uow.orders.add(an_order(await uow.strategies.add(a_strategy())))


async def test_where_the_roles_were_never_applied_a_migration_grants_nothing(site: Site) -> None:
    # The server may have them for another database's sake.
    site.sql("CREATE ROLE the_trader NOLOGIN")
    await site.migrate()
    assert "the_trader needs INSERT, SELECT on table fills" in await site.check()


async def test_a_trader_that_finds_revisions_pending_is_told_what_it_may_not(site: Site) -> None:
    await site.roles.apply()
    make_logins(site)
    with pytest.raises(MigrationFailed, match="permission denied for schema public"):
        await site.migrate("bot")


# What was done to it, what `check` says, and whether `apply` puts it right.
TAMPERED = {
    "too much on a table": (
        "GRANT DELETE ON fills TO the_trader",
        "the_trader must not have DELETE on table fills",
        True,
    ),
    "too little on a table": (
        "REVOKE INSERT ON fills FROM the_trader",
        "the_trader needs INSERT on table fills",
        True,
    ),
    "a whole table of which columns are withheld": (
        "GRANT SELECT ON system_config TO the_reader",
        "the_reader must not have SELECT on table system_config",
        True,
    ),
    "a column that is withheld": (
        "GRANT SELECT (value) ON system_config TO the_reader",
        "the_reader must not have SELECT (value) on table system_config",
        True,
    ),
    "a column too few": (
        "REVOKE SELECT (key) ON system_config FROM the_reader",
        "the_reader needs SELECT (key) on table system_config",
        True,
    ),
    "a table for everyone": (
        "GRANT UPDATE ON orders TO PUBLIC",
        "PUBLIC must not have UPDATE on table orders",
        True,
    ),
    "a table for a login by itself": (
        "GRANT TRUNCATE ON orders TO the_bot",
        "the_bot must not have TRUNCATE on table orders",
        True,
    ),
    "a privilege to pass on": (
        "GRANT SELECT ON orders TO the_trader WITH GRANT OPTION",
        "the_trader must not have SELECT WITH GRANT OPTION on table orders",
        True,
    ),
    "a partition": (
        "GRANT INSERT ON audit_log_default TO the_trader",
        "the_trader must not have INSERT on table audit_log_default",
        True,
    ),
    "the sequence of a key": (
        "GRANT UPDATE ON SEQUENCE audit_log_position_seq TO the_trader",
        "the_trader must not have UPDATE on sequence audit_log_position_seq",
        True,
    ),
    "the record's own function": (
        "GRANT EXECUTE ON FUNCTION record_change TO PUBLIC",
        "PUBLIC must not have EXECUTE on function record_change",
        True,
    ),
    "a function too few": (
        "REVOKE EXECUTE ON FUNCTION apply_fills FROM the_trader",
        "the_trader needs EXECUTE on function apply_fills",
        True,
    ),
    "a table that a login owns": (
        "ALTER TABLE orders OWNER TO the_bot",
        "table orders must belong to the_migrator, not to the_bot",
        True,
    ),
    "a function that a login owns": (
        "ALTER FUNCTION record_change OWNER TO the_bot",
        "the_bot must not own function record_change()",
        True,
    ),
    "the schema": (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "PUBLIC must not have CREATE on schema public",
        True,
    ),
    "the schema, too little": (
        "REVOKE USAGE ON SCHEMA public FROM the_monitor",
        "the_monitor needs USAGE on schema public",
        True,
    ),
    "another schema": (
        "CREATE SCHEMA other; GRANT CREATE ON SCHEMA other TO the_trader",
        "the_trader must not have CREATE on schema other",
        False,
    ),
    "a schema of its own": (
        "CREATE SCHEMA AUTHORIZATION the_bot",
        "the_bot must not own schema the_bot",
        False,
    ),
    "a superuser": ("ALTER ROLE the_trader SUPERUSER", "the_trader must not be SUPERUSER", True),
    "a role that makes roles": (
        "ALTER ROLE the_reader CREATEROLE",
        "the_reader must not be CREATEROLE",
        True,
    ),
    "a role that one can log in as": ("ALTER ROLE the_trader LOGIN", "the_trader must not be LOGIN", True),
    "a login that is a superuser": ("ALTER ROLE the_bot SUPERUSER", "the_bot must not be SUPERUSER", False),
    "a login that no policy binds": ("ALTER ROLE the_bot BYPASSRLS", "the_bot must not be BYPASSRLS", False),
    "a trader that is the migrator too": (
        "GRANT the_migrator TO the_bot",
        "the_bot must not be a member of the_migrator",
        False,
    ),
    "a trader with the server's files": (
        "GRANT pg_read_server_files TO the_bot",
        "the_bot must not be a member of pg_read_server_files",
        False,
    ),
    "a trader that may write everything": (
        "GRANT pg_write_all_data TO the_bot",
        "the_bot must not have DELETE on table orders",
        False,
    ),
    "a trader in a role of another power": (
        "CREATE ROLE the_others CREATEDB; GRANT the_others TO the_bot",
        "the_bot must not be a member of the_others, which is CREATEDB",
        False,
    ),
    "a trader in a role that may more": (
        "CREATE ROLE the_others; GRANT UPDATE ON audit_log TO the_others; GRANT the_others TO the_bot",
        "the_bot must not have UPDATE on table audit_log",
        False,
    ),
    "a role in another one": (
        "CREATE ROLE the_others; GRANT the_others TO the_trader",
        "the_trader must not be a member of the_others",
        True,
    ),
    "a monitor that sees no statistics": (
        "REVOKE pg_monitor FROM the_monitor",
        "the_monitor must be a member of pg_monitor",
        True,
    ),
    "triggers that can be turned off": (
        "GRANT SET ON PARAMETER session_replication_role TO the_trader",
        "the_trader must not have SET on parameter session_replication_role",
        False,
    ),
    "a record written with the caller's rights": (
        "ALTER FUNCTION record_change SECURITY INVOKER",
        "function record_change must act with its owner's rights, on a fixed search path",
        False,
    ),
    "a record led astray": (
        "ALTER FUNCTION record_change RESET search_path",
        "function record_change must act with its owner's rights, on a fixed search path",
        False,
    ),
    "a function with rights it does not need": (
        "ALTER FUNCTION raise_row_version SECURITY DEFINER",
        "function raise_row_version must act with its caller's",
        False,
    ),
}


@pytest.mark.parametrize("any_postgres_server", FIRST_VERSION, indirect=True)
@pytest.mark.parametrize("what", TAMPERED)
async def test_what_is_not_as_declared_is_named_and_put_right_where_it_can_be(
    applied: Site, what: str
) -> None:
    statements, difference, can_be_put_right = TAMPERED[what]
    applied.sql(*statements.split("; "))
    assert difference in await applied.check()
    report = await applied.roles.apply()
    left = [each.replace(applied.prefix, "the_") for each in report.left]
    assert left == await applied.check()
    if can_be_put_right:
        assert left == []
    else:
        assert difference in left


async def test_it_can_be_asked_for_by_any_login(applied: Site) -> None:
    for login in LOGINS:
        assert await RoleManager(applied.url(login), applied.settings).check() == []


@pytest.mark.parametrize("login", ["bot", "owner"])
async def test_who_may_not_apply_is_told_which_statement_was_refused(applied: Site, login: str) -> None:
    applied.sql("REVOKE USAGE ON SCHEMA public FROM the_reader", "ALTER ROLE the_reader CREATEDB")
    before = await applied.check()
    with pytest.raises(PermissionDenied) as caught:
        await RoleManager(applied.url(login), applied.settings).apply()
    assert caught.value.facts["statement"] == f'ALTER ROLE "{applied.prefix}reader" NOCREATEDB'
    assert await applied.check() == before


async def test_an_owner_who_may_create_roles_needs_no_superuser(site: Site) -> None:
    site.sql(
        f"CREATE ROLE the_landlord LOGIN CREATEROLE PASSWORD '{PASSWORD}'",
        "GRANT pg_monitor TO the_landlord WITH ADMIN OPTION",
        f"ALTER DATABASE {site.name} OWNER TO the_landlord",
    )
    await site.migrate("landlord")
    report = await RoleManager(site.url("landlord"), site.settings).apply()
    assert report.left == ()
    assert await site.check() == []
    await MigrationManager(site.url("landlord"), site.settings).rollback("base")
    await site.migrate("landlord")
    assert await site.check() == []


async def test_a_schema_of_another_name_is_guarded_as_well(any_postgres_server: PostgresServer) -> None:
    with a_site(any_postgres_server) as public:
        settings = public.settings.model_copy(update={"server_settings": {"search_path": '"Trading"'}})
        site = Site(public.server, public.name, settings)
        site.sql('CREATE SCHEMA "Trading"')
        await site.roles.apply()
        make_logins(site)
        await site.migrate("owner")
        assert await site.check() == []
        async with DatabaseConnectionPool(settings, url=site.url("bot")) as pool:
            async with pool.transaction(actor="bot") as uow:
                await uow.accounts.open_account()
            async with pool.transaction() as uow:
                (entry,) = (await uow.audit.search(table="accounts")).items
                assert entry.actor == "bot"
        paths = "SELECT unnest(proconfig) FROM pg_proc WHERE proname = 'record_change'"
        assert site.sql(paths) == 'search_path="Trading", pg_temp'


async def test_a_mistaken_prefix_is_a_malformed_setting() -> None:
    with pytest.raises(ConfigurationError):
        Settings(database={"role_prefix": "Robert'); DROP"})
