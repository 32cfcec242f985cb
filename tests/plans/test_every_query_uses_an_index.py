"""Every query of every repository reaches its rows through an index, whatever the size of the table.

A statement is judged by its plan on tables with ten thousands of rows, as the server carried it out: no table
that grows is read whole, and few rows are looked at for nothing.
"""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import Order
from gal_friday.dal.unit_of_work import repository_classes
from tests.conftest import Undo
from tests.plans.cases import BASE_CALLS, CALLS, READS_ALL
from tests.plans.explained import ExplainedLog, Plan
from tests.plans.filling import BIG
from tests.plans.sample import Call
from tests.servers import PostgresServer

#: Rows one step may look at and pass over.
FEW_IN_VAIN = 2_000


def queries() -> Iterator[str]:
    """The methods of all repositories, by repository and name; those all have in common by name."""
    yield from _methods(BaseRepository)
    for name, repository in repository_classes().items():
        for method in _methods(repository):
            if getattr(repository, method) is not getattr(BaseRepository, method, None):
                yield f"{name}.{method}"


def _methods(repository: type[Any]) -> Iterator[str]:
    for name, _ in inspect.getmembers(repository, inspect.isroutine):
        if not name.startswith("_"):
            yield name


def faults(plan: Plan) -> Iterator[str]:
    """What in *plan* would take longer the more rows there are."""
    for node in plan.nodes():
        table = node.get("Relation Name", "").removesuffix("_default")
        if table not in BIG:
            continue
        if node["Node Type"] == "Seq Scan":
            yield f"reads all of {table}"
        in_vain = sum(node.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Index Recheck"))
        if in_vain * node["Actual Loops"] > FEW_IN_VAIN:
            yield f"looks at {in_vain} rows of {table} in vain, by {node.get('Index Name')}"


def test_every_query_has_a_case_here() -> None:
    assert set(queries()) == BASE_CALLS.keys() | CALLS.keys() | READS_ALL.keys()


async def test_reading_a_big_table_whole_is_noticed(
    big_pool: DatabaseConnectionPool, postgres_server: PostgresServer
) -> None:
    log = ExplainedLog(postgres_server)
    async with big_pool.transaction() as uow:
        await uow.orders.count(Order.error_message == "odd")
        await uow.session.execute(text("SET LOCAL enable_seqscan = off"))
        await uow.orders.find_all(Order.error_message == "odd", order_by=Order.created_at, limit=1)
    found = [sorted({fault.partition(",")[0] for fault in faults(plan)}) for plan in log.plans()]
    assert ["looks at 20000 rows of orders in vain", "reads all of orders"] in found
    assert ["looks at 20000 rows of orders in vain"] in found


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(call, id=f"{name}-{number}")
        for name, calls in {**BASE_CALLS, **CALLS}.items()
        for number, call in enumerate(calls)
    ],
)
async def test_it_uses_an_index(
    call: Call, big_pool: DatabaseConnectionPool, postgres_server: PostgresServer
) -> None:
    log = ExplainedLog(postgres_server)
    with contextlib.suppress(Undo):
        async with big_pool.transaction(actor="test") as uow:
            await call(uow)
            await uow.flush()
            raise Undo
    plans = log.plans()
    assert plans
    found = {fault: plan.statement for plan in plans for fault in faults(plan)}
    assert found == {}
