"""What every table keeps to, read from the models alone."""

import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Constraint,
    ForeignKeyConstraint,
    Index,
    Table,
    UniqueConstraint,
)
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import Mapper, configure_mappers

import gal_friday.dal.models
from gal_friday.dal.models import Base, enums, types
from gal_friday.dal.models.models_base import CLOSED_SETS, AccountScoped, AppendOnly, Mutable
from gal_friday.dal.models.server_side import triggers_of

for module in pkgutil.iter_modules(gal_friday.dal.models.__path__, "gal_friday.dal.models."):
    import_module(module.name)
configure_mappers()

MAPPERS: list[Mapper[object]] = sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__name__)
TABLES = Base.metadata.sorted_tables
PARTITIONED = [table for table in TABLES if table.dialect_options["postgresql"]["partition_by"]]
FOREIGN_KEYS = sorted(
    (key for table in TABLES for key in table.foreign_key_constraints), key=lambda key: str(key.name)
)
OURS = tuple(
    value
    for value in vars(types).values()
    if isinstance(value, type) and value.__module__ == types.__name__ and not value.__name__.startswith("_")
)
#: Knows of no limit, so that names which would be cut short are seen whole.
ANY_DATABASE = DefaultDialect(max_identifier_length=1_000)
LONGEST_NAME = 63  # PostgreSQL cuts what is longer, without an error

each_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
each_partitioned_table = pytest.mark.parametrize("table", PARTITIONED, ids=lambda table: table.name)
each_foreign_key = pytest.mark.parametrize("key", FOREIGN_KEYS, ids=lambda key: key.name)
each_mapper = pytest.mark.parametrize("mapper", MAPPERS, ids=lambda mapper: mapper.class_.__name__)


def named(table: Table) -> Iterator[Constraint | Index]:
    yield from table.constraints
    yield from table.indexes


def name_of(thing: Constraint | Index) -> str:
    """The name PostgreSQL is given, convention applied."""
    return str(ANY_DATABASE.identifier_preparer.format_constraint(thing)).strip('"')


def leading_columns(table: Table) -> Iterator[list[str]]:
    """Columns of everything that can find all rows with a value: keys and indexes that leave none out."""
    yield [column.name for column in table.primary_key.columns]
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield [column.name for column in constraint.columns]
    for index in table.indexes:
        columns = [column.name for column in index.columns]
        condition = index.dialect_options["postgresql"]["where"]
        if condition is None or str(condition) == f"{columns[0]} IS NOT NULL":
            yield columns


def referring(key: ForeignKeyConstraint) -> list[str]:
    return [column.name for column in key.columns]


def test_no_table_of_the_data_dictionary_is_missing() -> None:
    assert set(Base.metadata.tables) == {
        *("accounts", "instruments", "cash_flows"),
        *("strategies", "strategy_state", "signals", "risk_limits", "risk_decisions"),
        *("orders", "order_history", "fills", "fill_aliases", "unmatched_fills", "trades", "trades_archive"),
        *("positions", "position_marks"),
        *("portfolio_positions", "portfolio_state", "pyramiding_state", "signal_log"),
        *("instance_metadata", "account_leases", "commit_markers", "strategy_halts", "recovery_certificates"),
        *("strategy_metrics", "backtests", "ml_models", "predictions"),
        *("market_data", "market_trades", "series_points", "portfolio_snapshots"),
        *("system_logs", "configurations", "system_config", "schema_revisions"),
        *("event_log", "event_subscriptions", "audit_log", "audit_seals"),
    }


def test_every_model_is_exported() -> None:
    exported = set(gal_friday.dal.models.__all__)
    assert {mapper.class_.__name__ for mapper in MAPPERS} <= exported
    assert {"TradeSignal", "MarketData", "SystemLog"} <= exported


@each_table
def test_table_and_columns_say_what_they_are(table: Table) -> None:
    assert table.comment
    assert [column.name for column in table.columns if not column.comment] == []


@each_table
def test_every_column_has_a_type_of_ours(table: Table) -> None:
    assert [column.name for column in table.columns if not isinstance(column.type, OURS)] == []


@each_table
def test_every_limit_of_a_closed_set_or_json_kind_is_declared(table: Table) -> None:
    checks = {name_of(check) for check in table.constraints if isinstance(check, CheckConstraint)}
    for column in table.columns:
        if isinstance(column.type, types.ClosedSet):
            assert f"ck_{table.name}_{column.name}" in checks
        elif isinstance(column.type, types.Json) and column.type.kind != "any":
            assert f"ck_{table.name}_{column.name}_is_{column.type.kind}" in checks


def test_every_closed_set_is_used_and_checked_with_its_own_members() -> None:
    used = set()
    for table in TABLES:
        checks = {name_of(each): each for each in table.constraints if isinstance(each, CheckConstraint)}
        for column in table.columns:
            if isinstance(column.type, types.ClosedSet):
                used.add(column.type.enum)
                check = checks[f"ck_{table.name}_{column.name}"].sqltext
                members = ", ".join(f"'{member}'" for member in column.type.enum)
                assert str(check.compile(compile_kwargs={"literal_binds": True})).endswith(f" IN ({members})")
    assert used == set(CLOSED_SETS)
    assert set(enums.WORKING_ORDER_STATUSES) < set(enums.OrderStatus)


@each_table
def test_names_fit_postgresql_and_follow_the_convention(table: Table) -> None:
    assert len(table.name) <= LONGEST_NAME
    assert [column.name for column in table.columns if len(column.name) > LONGEST_NAME] == []
    for thing in named(table):
        name = name_of(thing)
        match thing:
            case Index(unique=True):
                prefix = f"uq_{table.name}_"
            case Index():
                prefix = f"ix_{table.name}_"
            case CheckConstraint():
                prefix = f"ck_{table.name}_"
            case UniqueConstraint():
                prefix = f"uq_{table.name}_"
            case ForeignKeyConstraint():
                prefix = f"fk_{table.name}_"
            case _:
                prefix = f"pk_{table.name}"
        assert name.startswith(prefix)
        assert len(name) <= LONGEST_NAME
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)


def test_no_name_is_given_twice() -> None:
    # Indexes share one namespace with tables; constraint names are told apart in errors by nothing else.
    names = Counter(
        [table.name for table in TABLES] + [name_of(thing) for table in TABLES for thing in named(table)]
    )
    assert [name for name, times in names.items() if times > 1] == []


@each_table
def test_no_index_is_the_beginning_of_another(table: Table) -> None:
    whole = list(leading_columns(table))
    for index in table.indexes:
        options = index.dialect_options["postgresql"]
        if index.unique or options["where"] is not None or options["using"]:
            continue
        columns = [column.name for column in index.columns]
        covering = [other for other in whole if other[: len(columns)] == columns]
        assert covering == [columns]


@each_foreign_key
def test_every_foreign_key_has_an_index(key: ForeignKeyConstraint) -> None:
    columns = referring(key)
    assert any(set(candidate[: len(columns)]) == set(columns) for candidate in leading_columns(key.table)), (
        f"{key.table.name} ({', '.join(columns)})"
    )


@each_foreign_key
def test_no_row_disappears_with_the_one_it_refers_to(key: ForeignKeyConstraint) -> None:
    may_forget = {"fk_pyramiding_state_account_id_base_position_id": "SET NULL (base_position_id)"}
    assert key.ondelete == may_forget.get(name_of(key), "RESTRICT")
    assert key.onupdate is None


@each_foreign_key
def test_a_relationship_orders_the_inserts_of_every_foreign_key(key: ForeignKeyConstraint) -> None:
    if key.referred_table.name == "accounts":
        return  # made by the first boot, in a transaction of its own
    (mapper,) = (mapper for mapper in MAPPERS if mapper.local_table is key.table)
    followed = {
        frozenset(column.name for column in relationship.local_columns)
        for relationship in mapper.relationships
        if not relationship.viewonly
    }
    assert frozenset(referring(key)) in followed


def test_references_run_one_way() -> None:
    order = [table.name for table in TABLES]  # sorted_tables warns of a cycle, and a warning is an error
    for key in FOREIGN_KEYS:
        assert key.referred_table is key.table or order.index(key.referred_table.name) < order.index(
            key.table.name
        )


@each_mapper
def test_no_attribute_loads_behind_the_back(mapper: Mapper[object]) -> None:
    assert [each.key for each in mapper.relationships if each.lazy != "raise_on_sql"] == []


@each_mapper
def test_rows_that_may_change_are_guarded_against_lost_updates(mapper: Mapper[object]) -> None:
    if issubclass(mapper.class_, Mutable):
        version = mapper.version_id_col
        assert isinstance(version, Column)
        assert version.name == "row_version"
        assert version.server_onupdate is not None
        assert mapper.version_id_generator is False
    else:
        assert mapper.version_id_col is None
        assert "updated_at" not in mapper.columns


@each_mapper
def test_tables_that_call_themselves_append_only_are_and_no_others(mapper: Mapper[object]) -> None:
    table = mapper.local_table
    assert isinstance(table, Table)
    assert issubclass(mapper.class_, AppendOnly) == (table.comment or "").startswith("Append-only")
    assert not issubclass(mapper.class_, AppendOnly) or not issubclass(mapper.class_, Mutable)
    assert (
        "refuse_change" in {trigger.name for trigger in triggers_of(table)} or not table.info["append_only"]
    )


@each_mapper
def test_account_is_part_of_every_row_that_has_one(mapper: Mapper[object]) -> None:
    has_account = "account_id" in mapper.local_table.columns
    assert has_account or not issubclass(mapper.class_, AccountScoped)
    if has_account and mapper.class_.__name__ not in {"Account", "AuditEntry"}:
        assert issubclass(mapper.class_, AccountScoped)
        assert not mapper.local_table.columns["account_id"].nullable


@each_partitioned_table
def test_partitioned_tables_have_their_time_in_every_key(table: Table) -> None:
    partition_by = table.dialect_options["postgresql"]["partition_by"]
    (time,) = re.findall(r'^RANGE \("?(\w+)"?\)$', partition_by)
    assert isinstance(table.columns[time].type, types.UtcDateTime)
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint) or constraint is table.primary_key:
            assert time in constraint.columns
    for index in table.indexes:
        assert not index.unique or time in index.columns


def test_what_grows_without_end_is_partitioned() -> None:
    assert {table.name for table in PARTITIONED} == {
        "audit_log",
        "market_data",
        "market_trades",
        "portfolio_snapshots",
        "predictions",
        "series_points",
        "system_logs",
    }


@each_table
def test_generated_columns_are_stored(table: Table) -> None:
    # PostgreSQL 18 would otherwise make them virtual, which can be neither indexed nor read by older servers.
    assert [
        column.name for column in table.columns if column.computed and not column.computed.persisted
    ] == []
