"""What was stored in an append-only table stays as it is, whoever asks."""

from typing import Any

import pytest
from sqlalchemy import Table, literal_column, table, text, update

from gal_friday.dal.migrations.autogenerate import partitions
from gal_friday.dal.models import Base, Fill
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import AppendOnlyViolated, ConstraintViolated
from tests.factories import a_cash_flow, a_fill, a_log, a_strategy, an_order
from tests.valid_rows import a_row_of

#: What a table's rules ask for beyond the types of its columns.
DEMANDS: dict[str, dict[str, Any]] = {
    "audit_log": {"after": {"quantity": "1"}},
    "audit_seals": {"root_hash": "0" * 64},
}

APPEND_ONLY = sorted(name for name, each in Base.metadata.tables.items() if each.info["append_only"])
#: By name, so that a model which loses its mixin is missed.
EVIDENCE = {"fills", "cash_flows", "order_history", "risk_decisions", "event_log", "audit_log", "audit_seals"}


def test_all_evidence_is_append_only() -> None:
    assert set(APPEND_ONLY) >= EVIDENCE


@pytest.mark.parametrize("name", APPEND_ONLY)
async def test_its_rows_are_neither_changed_nor_removed(owner_uow: UnitOfWork, name: str) -> None:
    (mapper,) = (mapper for mapper in Base.registry.mappers if mapper.local_table.name == name)  # type: ignore[attr-defined]  # each is a Table
    owner_uow.session.add(await a_row_of(mapper.class_, owner_uow, **DEMANDS.get(name, {})))
    await owner_uow.flush()
    declared = mapper.local_table
    assert isinstance(declared, Table)
    identity = {column.name for column in declared.columns if column.identity is not None}
    column = next(column for column in declared.columns if column.name not in identity)
    for operation, statement in {
        "UPDATE": update(declared).values({column.name: column}),
        "DELETE": declared.delete(),
    }.items():
        with pytest.raises(AppendOnlyViolated) as caught:
            async with owner_uow.savepoint():
                await owner_uow.session.execute(statement)
        assert str(caught.value.facts["table"]).startswith(name)
        assert caught.value.facts["operation"] == operation


@pytest.mark.parametrize("name", APPEND_ONLY)
async def test_neither_it_nor_a_partition_of_it_is_emptied(owner_uow: UnitOfWork, name: str) -> None:
    connection = await owner_uow.session.connection()
    of_its_own = await connection.run_sync(partitions)
    for each in [name, *(partition for partition, root in of_its_own.items() if root == name)]:
        with pytest.raises(AppendOnlyViolated) as caught:
            async with owner_uow.savepoint():
                await owner_uow.session.execute(text(f"TRUNCATE {each} CASCADE"))
        assert caught.value.facts["operation"] == "TRUNCATE"


async def test_nor_are_they_through_the_table_they_refer_to(owner_uow: UnitOfWork) -> None:
    with pytest.raises(ConstraintViolated):
        await owner_uow.session.execute(text("TRUNCATE accounts CASCADE"))


async def test_a_partition_is_guarded_when_it_is_addressed_itself(owner_uow: UnitOfWork) -> None:
    await owner_uow.logs.add(a_log())
    partition = table("system_logs_default")
    with pytest.raises(AppendOnlyViolated) as caught:
        await owner_uow.session.execute(partition.delete().where(literal_column("true")))
    assert caught.value.facts["table"] == "system_logs_default"


async def test_the_orm_meets_the_same_guard(owner_uow: UnitOfWork) -> None:
    cash_flow = await owner_uow.cash_flows.add(a_cash_flow())
    cash_flow.reason = "on second thought"
    with pytest.raises(ConstraintViolated, match="never changed or removed"):
        await owner_uow.cash_flows.update(cash_flow)


async def test_a_fill_reported_again_is_no_change(owner_uow: UnitOfWork) -> None:
    order = await owner_uow.orders.add(an_order(await owner_uow.strategies.add(a_strategy())))
    fill = await owner_uow.fills.add(a_fill(order))
    again = a_fill(order, fill_id=fill.fill_id)
    assert await owner_uow.fills.add_once(again) is None
    assert await owner_uow.fills.count(Fill.order_id == order.id) == 1
