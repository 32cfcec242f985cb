"""P23: roles for migrating, trading, reading and watching can do what they must, and nothing else."""

from collections.abc import AsyncIterator, Iterator, Mapping
from decimal import Decimal

import pytest
from sqlalchemy import (
    URL,
    column,
    delete,
    func,
    insert,
    literal_column,
    make_url,
    null,
    select,
    table,
    text,
    update,
)
from sqlalchemy.sql.expression import Executable, false

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.execution import FillResult
from gal_friday.dal.migrations.autogenerate import partitions
from gal_friday.dal.models import Base, OrderStatus
from gal_friday.dal.models.privileges import VERSION_TABLE, WATCHED
from gal_friday.dal.models.server_side import SECURITY_DEFINERS
from gal_friday.dal.models.types import ExactNumeric, Json
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import PermissionDenied
from tests.factories import a_fill, a_strategy, an_order
from tests.servers import TRADER, PostgresServer

#: What the trader may do to each table, by name: one that is not here has not been thought about.
READ = {"alembic_version", "audit_log", "audit_seals", "schema_revisions", "trades_archive"}
ADDED = {
    *("cash_flows", "event_log", "fill_aliases", "fills", "market_trades", "order_history"),
    *("portfolio_snapshots", "predictions", "recovery_certificates", "risk_decisions", "system_logs"),
}
CHANGED = {
    *("account_leases", "accounts", "backtests", "configurations", "event_subscriptions"),
    *("instance_metadata", "instruments", "market_data", "ml_models", "orders", "portfolio_positions"),
    *("portfolio_state", "position_marks", "positions", "pyramiding_state", "risk_limits"),
    *("series_points", "signals", "strategies", "strategy_halts", "strategy_metrics", "system_config"),
    "trades",
}
ADDED_AND_REMOVED = {"commit_markers"}
CHANGED_AND_REMOVED = {"signal_log", "strategy_state", "unmatched_fills"}
TRADER_MAY: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(READ, frozenset({"SELECT"})),
    **dict.fromkeys(ADDED, frozenset({"SELECT", "INSERT"})),
    **dict.fromkeys(CHANGED, frozenset({"SELECT", "INSERT", "UPDATE"})),
    **dict.fromkeys(ADDED_AND_REMOVED, frozenset({"SELECT", "INSERT", "DELETE"})),
    **dict.fromkeys(CHANGED_AND_REMOVED, frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})),
}
TABLES = sorted({*Base.metadata.tables, VERSION_TABLE})
WITHHELD_FROM_READERS = {("configurations", "config_content"), ("system_config", "value")}
EVIDENCE = ("fills", "cash_flows", "order_history", "risk_decisions", "event_log", "audit_log", "audit_seals")

READER, MONITOR = "p23_reader", "p23_monitor"
MAKE_LOGINS = f"""
    CREATE ROLE {READER} LOGIN PASSWORD 'r';
    GRANT gal_friday_reader TO {READER};
    CREATE ROLE {MONITOR} LOGIN PASSWORD 'm';
    GRANT gal_friday_monitor TO {MONITOR};
"""


@pytest.fixture(scope="module")
def logins(
    any_postgres_server: PostgresServer, shared_pool: DatabaseConnectionPool
) -> Iterator[Mapping[str, URL]]:
    """Where each login finds the database of `shared_pool`."""
    name = shared_pool.engine.url.database or ""
    any_postgres_server.run("psql", "-c", MAKE_LOGINS)
    passwords = {TRADER: None, READER: "r", MONITOR: "m"}
    yield {
        user: make_url(any_postgres_server.url(name, user=user, password=password))
        for user, password in passwords.items()
    }
    any_postgres_server.run("psql", "-c", f"DROP ROLE {READER}", "-c", f"DROP ROLE {MONITOR}")


@pytest.fixture
async def reader(logins: Mapping[str, URL]) -> AsyncIterator[UnitOfWork]:
    async with (
        DatabaseConnectionPool(DatabaseSettings(), url=logins[READER]) as pool,
        pool.transaction() as uow,
    ):
        yield uow


@pytest.fixture
async def monitor(logins: Mapping[str, URL]) -> AsyncIterator[UnitOfWork]:
    async with (
        DatabaseConnectionPool(DatabaseSettings(), url=logins[MONITOR]) as pool,
        pool.transaction() as uow,
    ):
        yield uow


def attempts(name: str) -> Mapping[str, Executable]:
    """One statement for each privilege, that would do nothing if it were let."""
    every = (
        [column.name for column in Base.metadata.tables[name].columns]
        if name != VERSION_TABLE
        else ["version_num"]
    )
    writable = [
        c for c in every if name == VERSION_TABLE or not Base.metadata.tables[name].columns[c].identity
    ]
    bare = table(name, *map(column, every))
    one = writable[0]
    return {
        "SELECT": select(bare).where(false()),
        "INSERT": insert(bare).from_select([one], select(null()).where(false())),
        "UPDATE": update(bare).where(false()).values({one: bare.c[one]}),
        "DELETE": delete(bare).where(false()),
        "TRUNCATE": text(f"TRUNCATE {name}"),
    }


async def allowed(uow: UnitOfWork, statements: Mapping[str, Executable]) -> set[str]:
    """Those of *statements* that are not refused."""
    done = set()
    for name, statement in statements.items():
        try:
            async with uow.savepoint():
                await uow.session.execute(statement)
        except PermissionDenied:
            continue
        done.add(name)
    return done


async def refused(uow: UnitOfWork, statement: Executable | str) -> None:
    with pytest.raises(PermissionDenied):
        async with uow.savepoint():
            await uow.session.execute(text(statement) if isinstance(statement, str) else statement)


def test_of_every_table_it_is_decided_what_the_trader_may_do() -> None:
    assert sorted(TRADER_MAY) == TABLES


@pytest.mark.parametrize("name", TABLES)
async def test_the_trader_may_do_what_it_must_to_each_table_and_no_more(uow: UnitOfWork, name: str) -> None:
    assert await allowed(uow, attempts(name)) == TRADER_MAY[name]
    for privilege in ("REFERENCES", "TRIGGER"):
        assert not await uow.session.scalar(select(func.has_any_column_privilege(name, "REFERENCES")))
        assert not await uow.session.scalar(select(func.has_table_privilege(name, privilege)))


@pytest.mark.parametrize("name", TABLES)
async def test_the_reader_reads_each_table_but_its_secrets_and_writes_none(
    reader: UnitOfWork, name: str
) -> None:
    secret = {column for of, column in WITHHELD_FROM_READERS if of == name}
    assert await allowed(reader, attempts(name)) == (set() if secret else {"SELECT"})
    for each in Base.metadata.tables[name].columns if secret else ():
        statement: Executable = select(literal_column(each.name)).select_from(table(name))
        assert await allowed(reader, {each.name: statement}) == {each.name} - secret


@pytest.mark.parametrize("name", TABLES)
async def test_the_monitor_sees_signs_of_life_and_no_more(monitor: UnitOfWork, name: str) -> None:
    assert await allowed(monitor, attempts(name)) <= {"SELECT"}
    declared = Base.metadata.tables.get(name)
    for each in declared.columns if declared is not None else ():
        watched = each.name in WATCHED.get(name, ())
        statement: Executable = select(literal_column(each.name)).select_from(table(name))
        assert await allowed(monitor, {each.name: statement}) == ({each.name} if watched else set())
        assert not (watched and isinstance(each.type, ExactNumeric | Json))


async def test_the_monitor_sees_what_other_sessions_do(monitor: UnitOfWork, uow: UnitOfWork) -> None:
    pid = await uow.session.scalar(select(func.pg_backend_pid()))
    query = text("SELECT query FROM pg_stat_activity WHERE pid = :pid")
    assert "pg_backend_pid" in (await monitor.session.scalar(query, {"pid": pid}) or "")


DDL = (
    "CREATE TABLE mine (id int)",
    "CREATE TEMPORARY TABLE audit_log (id int)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION new_id() RETURNS uuid LANGUAGE sql AS 'SELECT NULL'",
    "CREATE TRIGGER mine BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION raise_row_version()",
    "CREATE INDEX mine ON orders (id)",
    "CREATE ROLE mine",
    "ALTER TABLE orders ADD COLUMN mine int",
    "ALTER TABLE orders DISABLE TRIGGER ALL",
    "ALTER TABLE fills DISABLE TRIGGER refuse_change",
    "ALTER TABLE audit_log_default DISABLE TRIGGER USER",
    "ALTER TABLE orders OWNER TO CURRENT_USER",
    "ALTER FUNCTION record_change() SECURITY INVOKER",
    "ALTER ROLE gal_friday_trader SUPERUSER",
    "DROP TRIGGER record_change ON orders",
    "DROP TABLE orders CASCADE",
    "DROP FUNCTION record_change CASCADE",
    "DROP SCHEMA public CASCADE",
    "SET session_replication_role = replica",
    "SET ROLE gal_friday_migrator",
    "SET SESSION AUTHORIZATION postgres",
    "GRANT gal_friday_migrator TO CURRENT_USER",
    "COPY orders TO PROGRAM 'cat'",
    "SELECT pg_read_file('postgresql.conf')",
)


@pytest.mark.parametrize("statement", DDL)
async def test_the_trader_changes_no_shape_no_trigger_and_no_role(uow: UnitOfWork, statement: str) -> None:
    await refused(uow, statement)


@pytest.mark.parametrize("name", EVIDENCE)
async def test_the_trader_neither_changes_nor_removes_evidence_in_raw_sql(uow: UnitOfWork, name: str) -> None:
    connection = await uow.session.connection()
    of_its_own = await connection.run_sync(partitions)
    for each in [name, *(partition for partition, root in of_its_own.items() if root == name)]:
        await refused(
            uow,
            f"UPDATE {each} SET account_id = account_id"
            if name != "audit_seals"
            else f"UPDATE {each} SET row_count = 0",
        )
        await refused(uow, f"DELETE FROM {each}")
        await refused(uow, f"TRUNCATE {each}")


async def test_a_partition_is_used_through_its_table_only(uow: UnitOfWork) -> None:
    connection = await uow.session.connection()
    of_its_own = await connection.run_sync(partitions)
    assert of_its_own
    for each in of_its_own:
        bare = table(each)
        assert (
            await allowed(uow, {"SELECT": select(func.count()).select_from(bare), "DELETE": delete(bare)})
            == set()
        )


async def test_no_number_is_taken_out_of_the_records_sequence(uow: UnitOfWork) -> None:
    await refused(uow, "SELECT setval('audit_log_position_seq', 1)")
    await refused(uow, "SELECT nextval('event_log_position_seq')")


async def test_what_the_trader_does_is_on_record_though_it_cannot_write_the_record(uow: UnitOfWork) -> None:
    await refused(
        uow,
        "INSERT INTO audit_log (table_name, row_key, operation, actor, after)"
        " VALUES ('orders', '1', 'INSERT', 'me', '{}')",
    )
    order = await uow.orders.add(an_order(await uow.strategies.add(a_strategy())))
    await uow.orders.transition(order.id, OrderStatus.NEW)
    story = (await uow.audit.search(table="orders", key=order.id)).items
    assert [(entry.operation, entry.actor) for entry in story] == [("INSERT", "test"), ("UPDATE", "test")]
    history = await uow.order_history.find_all()
    assert [step.to_status for step in history] == [OrderStatus.PENDING_NEW, OrderStatus.NEW]


@pytest.mark.parametrize("role", ["gal_friday_trader", "NONE"])
async def test_by_whatever_role_it_is_done_the_login_is_on_record(database: Database, role: str) -> None:
    async with database.pool.sessionmaker() as session:
        await session.execute(text(f"SET ROLE {role}"))
        await session.execute(text("UPDATE accounts SET exchange = 'kraken'"))
        await session.commit()
    entry = (await database.audit.search(table="accounts", key="default")).items[-1]
    assert entry.actor == TRADER


async def test_no_table_of_the_traders_own_takes_the_records_place(
    database: Database, owner_url: URL, postgres_server: PostgresServer
) -> None:
    grant = f"GRANT TEMPORARY ON DATABASE {owner_url.database} TO {TRADER}"
    postgres_server.run("psql", "-d", owner_url.database or "", "-c", grant)
    async with database.pool.sessionmaker() as session:
        await session.execute(
            text("CREATE TEMPORARY TABLE audit_log ON COMMIT DROP AS TABLE audit_log WITH NO DATA")
        )
        await session.execute(text("SET LOCAL search_path = pg_temp, public"))
        await session.execute(text("UPDATE accounts SET exchange = 'kraken'"))
        assert await session.scalar(text("SELECT count(*) FROM pg_temp.audit_log")) == 0
        await session.commit()
    record = (await database.audit.search(table="accounts", key="default")).items
    assert [entry.operation for entry in record] == ["INSERT", "UPDATE"]


async def test_no_trigger_of_the_traders_own_writes_the_record(
    database: Database, owner_url: URL, postgres_server: PostgresServer
) -> None:
    grant = f"GRANT TEMPORARY ON DATABASE {owner_url.database} TO {TRADER}"
    postgres_server.run("psql", "-d", owner_url.database or "", "-c", grant)
    async with database.transaction() as uow:
        await uow.session.execute(text("CREATE TEMPORARY TABLE orders (id int) ON COMMIT DROP"))
        await refused(
            uow,
            "CREATE TRIGGER forged AFTER INSERT ON pg_temp.orders"
            " FOR EACH ROW EXECUTE FUNCTION public.record_change('id', '')",
        )


async def test_only_trigger_functions_act_with_their_owners_rights(uow: UnitOfWork) -> None:
    query = text(
        "SELECT proname, prorettype = 'trigger'::regtype AS of_triggers FROM pg_proc"
        " WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    )
    found = {row.proname: row.of_triggers for row in await uow.session.execute(query)}
    assert found == dict.fromkeys(SECURITY_DEFINERS, True)


async def test_the_trader_trades(database: Database) -> None:
    async with database.transaction(actor="bot") as uow:
        order = await uow.orders.add(an_order(await uow.strategies.add(a_strategy())))
        await uow.orders.transition(order.id, OrderStatus.NEW, exchange_order_id="X1")
    outcome = await database.execution.apply_fill(
        a_fill(order, exchange_order_id="X1", quantity_filled=order.quantity)
    )
    assert (outcome.result, outcome.order_status) == (FillResult.APPLIED, OrderStatus.FILLED)
    (position,) = await database.positions.get_active_positions()
    assert position.quantity == Decimal(2)
