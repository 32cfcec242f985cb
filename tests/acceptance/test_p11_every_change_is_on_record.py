"""P11: every change is on record: who, when, which transaction, old and new values."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Table, text

from gal_friday.dal.models import AuditEntry, Base, OrderStatus, RiskLimit, RiskScope, SystemConfig
from gal_friday.dal.models.auditing import NOISE, NOT_AUDITED, NOT_RECORDED, WITHHELD, is_audited
from gal_friday.dal.models.server_side import triggers_of
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import ConstraintViolated
from tests.factories import a_risk_limit, a_strategy, an_order, an_unmatched_fill
from tests.valid_rows import a_row_of

AUDITED = sorted(name for name, table in Base.metadata.tables.items() if is_audited(table))
#: By name, so that a table which slips into the exclusions is missed.
MONEY_RISK_STRATEGY_CONFIGURATION = {
    *("accounts", "account_leases", "instruments", "orders", "positions", "trades", "trades_archive"),
    *("portfolio_positions", "portfolio_state", "pyramiding_state", "unmatched_fills", "strategy_halts"),
    *("signals", "risk_limits", "strategies", "strategy_state"),
    *("configurations", "system_config", "ml_models"),
}
DEMANDS: dict[str, dict[str, Any]] = {"configurations": {"config_hash": "0" * 64}}
SECRET = "correct-horse-battery"


async def entries(uow: UnitOfWork, table: str, key: Any = None) -> list[AuditEntry]:
    return list((await uow.audit.search(table=table, key=key, limit=1_000)).items)


def test_every_table_is_its_own_record_or_audited_or_left_out_for_a_reason() -> None:
    assert set(AUDITED) == MONEY_RISK_STRATEGY_CONFIGURATION
    tables = Base.metadata.tables
    assert NOT_AUDITED.keys() <= tables.keys()
    assert not [name for name in NOT_AUDITED if tables[name].info["append_only"]]
    for name, columns in NOT_RECORDED.items():
        assert name in AUDITED
        assert columns.keys() <= set(tables[name].columns.keys()) - set(NOISE)
    for name, withheld in WITHHELD.items():
        assert name in AUDITED
        assert set(withheld) <= set(tables[name].columns.keys())


def test_every_audited_table_has_its_triggers() -> None:
    for name, table in Base.metadata.tables.items():
        assert ("record_change" in {trigger.name for trigger in triggers_of(table)}) == (name in AUDITED)


@pytest.mark.parametrize("name", AUDITED)
async def test_a_row_of_every_audited_table_is_on_record_from_insert_to_delete(
    owner_uow: UnitOfWork, name: str
) -> None:
    (model,) = (each.class_ for each in Base.registry.mappers if each.class_.__tablename__ == name)
    if name == "account_leases":  # every account has had one since it was opened
        await owner_uow.session.execute(text("DELETE FROM account_leases"))
    row = await a_row_of(model, owner_uow, **DEMANDS.get(name, {}))
    owner_uow.session.add(row)
    await owner_uow.flush()
    table = model.__table__
    assert isinstance(table, Table)
    known = await entries(owner_uow, name)
    assert [entry.operation for entry in known][-1] == "INSERT"
    after = known[-1].after
    assert after is not None
    assert after.keys() == set(table.columns.keys()) - {*NOISE, *NOT_RECORDED.get(name, {})}
    assert (known[-1].actor, known[-1].before) == ("test", None)
    if name in {"orders", "accounts"}:
        return  # their history refers to them: never deleted
    await owner_uow.session.delete(row)
    await owner_uow.flush()
    gone = (await entries(owner_uow, name, known[-1].row_key))[-1]
    assert (gone.operation, gone.before, gone.after) == ("DELETE", after, None)


@pytest.mark.parametrize("name", AUDITED)
async def test_an_audited_table_is_not_emptied_at_once(owner_uow: UnitOfWork, name: str) -> None:
    with pytest.raises(ConstraintViolated, match="TRUNCATE"):
        await owner_uow.session.execute(text(f"TRUNCATE {name} CASCADE"))


async def test_an_update_is_on_record_with_what_changed_and_nothing_else(uow: UnitOfWork) -> None:
    order = await uow.orders.add(an_order(await uow.strategies.add(a_strategy())))
    order.limit_price = Decimal("49000.50")
    order.extra = {"note": "x"}
    await uow.orders.update(order)
    entry = (await entries(uow, "orders", order.id))[-1]
    assert entry.before == {"limit_price": "50000", "metadata": {}}
    assert entry.after == {"limit_price": "49000.5", "metadata": {"note": "x"}}
    transaction = await uow.session.scalar(text("SELECT pg_current_xact_id()::text"))
    assert (str(entry.transaction_id), entry.account_id) == (transaction, "default")


async def test_amounts_are_on_record_to_the_last_decimal(uow: UnitOfWork) -> None:
    amount = Decimal("12345678901234567890.123456789012345678")
    limit = await uow.risk_limits.add(a_risk_limit(max_notional=amount))
    entry = (await entries(uow, "risk_limits"))[-1]
    assert entry.after is not None
    assert entry.after["max_notional"] == str(amount)
    assert entry.after["max_open_positions"] == limit.max_open_positions


async def test_a_key_of_several_columns_is_a_list_in_the_keys_order(uow: UnitOfWork) -> None:
    await uow.risk_limits.add(a_risk_limit(scope=RiskScope.PAIR, key='Ω"/USD'))
    (entry,) = await entries(uow, "risk_limits", ["default", "PAIR", 'Ω"/USD'])
    assert entry.operation == "INSERT"


@pytest.mark.parametrize("column", ["retry_count", "row_version"])
async def test_what_is_left_out_leaves_no_entry(uow: UnitOfWork, column: str) -> None:
    order = await uow.orders.add(an_order(await uow.strategies.add(a_strategy())))
    await uow.session.execute(text(f"UPDATE orders SET {column} = {column} + 1"))
    assert len(await entries(uow, "orders", order.id)) == 1


async def test_raw_sql_is_on_record_with_the_login_role_and_its_application(
    database: Database, database_url: URL
) -> None:
    async with database.pool.sessionmaker() as session:
        await session.execute(text("SET application_name = 'by hand'"))
        await session.execute(text("UPDATE accounts SET exchange = 'kraken'"))
        await session.commit()
    entry = (await database.audit.search(table="accounts", key="default")).items[-1]
    assert (entry.actor, entry.application) == (database_url.username, "by hand")
    assert (entry.before, entry.after) == ({"exchange": None}, {"exchange": "kraken"})


async def test_what_was_rolled_back_is_not_on_record(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        await _fail_after_adding(database)
    assert (await database.audit.search(table="strategies")).items == []


async def _fail_after_adding(database: Database) -> None:
    async with database.transaction() as uow:
        await uow.strategies.add(a_strategy())
        raise ZeroDivisionError


async def test_a_secret_never_reaches_the_record(owner_uow: UnitOfWork) -> None:
    await owner_uow.session.execute(
        text(
            "INSERT INTO system_config (key, value, data_type, is_sensitive)"
            " VALUES ('api', to_jsonb(CAST(:secret AS text)), 'string', true)"
        ),
        {"secret": SECRET},
    )
    for change in (
        "UPDATE system_config SET value = to_jsonb(value #>> '{}' || '2') WHERE key = 'api'",
        "UPDATE system_config SET value = '\"public\"', is_sensitive = false WHERE key = 'api'",
        "UPDATE system_config SET value = '\"correct-horse-battery\"', is_sensitive = true WHERE key = 'api'",
        "DELETE FROM system_config WHERE key = 'api'",
    ):
        await owner_uow.session.execute(text(change))
    record = await entries(owner_uow, "system_config", "api")
    assert [entry.operation for entry in record] == ["INSERT", "UPDATE", "UPDATE", "UPDATE", "DELETE"]
    assert record[1].after == {"value": "(withheld)"}
    assert not [entry for entry in record if SECRET in f"{entry.before}{entry.after}"]


async def test_a_plain_setting_is_on_record_with_its_value(uow: UnitOfWork) -> None:
    setting = SystemConfig(key="leverage", value="2", data_type="string")
    await uow.system_config.add(setting)
    (entry,) = await entries(uow, "system_config", "leverage")
    assert entry.after is not None
    assert entry.after["value"] == "2"


async def test_the_content_of_a_configuration_is_withheld(uow: UnitOfWork) -> None:
    uow.session.add(
        await a_row_of(_model("configurations"), uow, config_hash="0" * 64, config_content={"key": SECRET})
    )
    await uow.flush()
    (entry,) = await entries(uow, "configurations")
    assert entry.after is not None
    assert entry.after["config_content"] == "(withheld)"


def _model(name: str) -> type[Base]:
    return next(mapper.class_ for mapper in Base.registry.mappers if mapper.class_.__tablename__ == name)


async def test_the_record_is_searched_by_row_actor_and_time_page_by_page(database: Database) -> None:
    async with database.transaction(actor="alice") as uow:
        order = await uow.orders.add(an_order(await uow.strategies.add(a_strategy())))
        await uow.unmatched_fills.add_once(an_unmatched_fill())
    async with database.transaction(actor="bob") as uow:
        await uow.orders.transition(order.id, OrderStatus.NEW)
        await uow.orders.transition(order.id, OrderStatus.CANCELED)
    search = database.audit.search
    everything = (await search(table="orders", key=order.id)).items
    assert [(entry.actor, entry.operation) for entry in everything] == [
        ("alice", "INSERT"),
        ("bob", "UPDATE"),
        ("bob", "UPDATE"),
    ]
    assert [entry.table_name for entry in (await search(actor="alice")).items] == [
        "strategies",
        "orders",
        "unmatched_fills",
    ]
    later = everything[1].recorded_at
    assert len((await search(actor="bob", since=later)).items) == 2
    assert not (await search(actor="alice", since=later)).items
    assert len((await search(until=later, table="orders")).items) == 1
    first = await search(table="orders", limit=2)
    rest = await search(table="orders", limit=2, after=first.next)
    paged = [entry.position for entry in [*first.items, *rest.items]]
    assert paged == [entry.position for entry in everything]
    assert (len(first.items), rest.next) == (2, None)


def audit_show(url: URL, directory: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    (directory / "database.toml").write_text(
        f'[database]\nurl = "{url.set(drivername="postgresql").render_as_string(hide_password=False)}"\n'
    )
    command = [sys.executable, "-m", "gal_friday", "--db-config", "database.toml", "audit", "show", *options]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, check=False)


async def test_a_rows_story_is_printed(database: Database, database_url: URL, tmp_path: Path) -> None:
    async with database.transaction(actor="alice") as uow:
        limit: RiskLimit = await uow.risk_limits.add(a_risk_limit(max_leverage=Decimal(2)))
    async with database.transaction(actor="bob") as uow:
        (await uow.risk_limits.one(("default", limit.scope, limit.key))).max_leverage = Decimal("2.5")
    row = ("--table", "risk_limits", "--row", '["default","ACCOUNT", "default"]')
    story = audit_show(database_url, tmp_path, *row)
    assert story.returncode == 0, story.stderr
    assert story.stdout.index("alice") < story.stdout.index("INSERT risk_limits") < story.stdout.index("bob")
    assert "    max_leverage: 2 → 2.5\n" in story.stdout

    by_alice = audit_show(database_url, tmp_path, *row, "--actor", "alice")
    assert "UPDATE" not in by_alice.stdout
    nothing = audit_show(database_url, tmp_path, *row, "--since", "2100-01-01T00:00+00:00")
    assert nothing.stdout == "Nothing on record.\n"


@pytest.mark.parametrize("option", [("--since", "yesterday"), ("--since", "2026-11-21"), ("--row", "[1")])
async def test_an_option_that_makes_no_sense_is_refused(
    database_url: URL, tmp_path: Path, option: tuple[str, str]
) -> None:
    done = audit_show(database_url, tmp_path, *option)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
