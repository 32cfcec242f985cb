"""DatabaseStateManager, method by method."""

import asyncio
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import URL, inspect

from gal_friday.dal.models import (
    EntryStatus,
    PyramidingState,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import ConstraintViolated, InvalidReference, InvalidValue, StaleWrite
from gal_friday.state import DatabaseStateManager, StateTransaction
from gal_friday.state.saved_rows import SavedRows
from tests.concurrency import at_once
from tests.factories import MINUTE, NOON, a_portfolio_position, a_signal_log, a_strategy
from tests.replays import opened
from tests.state import SET_LOTS, given_values, stored_lots, the_position, undone, values_of
from tests.waiting import until


@pytest.fixture
def manager(database: Database) -> DatabaseStateManager:
    return DatabaseStateManager(database)


async def test_save_position_stores_a_new_one_and_brings_it_up_to_date(
    manager: DatabaseStateManager, database: Database
) -> None:
    position = a_portfolio_position(entry_price=Decimal("7.2E+4"), initial_stop=None)
    await manager.save_position(position)
    assert (position.row_version, position.status, position.account_id) == (1, EntryStatus.OPEN, "default")
    assert values_of(position) == values_of(
        await database.portfolio_positions.one(("default", position.position_id))
    )
    assert inspect(position).detached
    assert not inspect(position).modified


async def test_save_position_stores_what_was_changed_on_one_that_was_saved_or_read(
    manager: DatabaseStateManager,
) -> None:
    position = a_portfolio_position(lots=1)
    await manager.save_position(position)
    position.lots = 2
    await manager.save_position(position)
    read = await manager.get_position(position.position_id, refresh=True)
    assert read is not None
    read.current_stop = Decimal("71000.5")
    await manager.save_position(read)
    again = await manager.get_position(position.position_id, refresh=True)
    assert again is not None
    assert (again.lots, again.current_stop, again.row_version) == (2, Decimal("71000.5"), 3)


async def test_a_position_comes_back_field_by_field(
    manager: DatabaseStateManager, database: Database
) -> None:
    strategy = await database.strategies.add(a_strategy())
    position = a_portfolio_position(
        strategy_id=strategy.strategy_id,
        status=EntryStatus.CLOSED,
        is_base_position=True,
        initial_stop=Decimal("70000.000000000000000001"),
        highest_close=Decimal(0),
        limiter="margin",
        realized_pnl=Decimal("-12.5"),
        exit_timestamp=NOON + MINUTE,
        exit_price=Decimal(71_000),
        exit_reason="STOP",
        expiry=NOON.date(),
    )
    sent = given_values(position)
    await manager.save_position(position)
    for refresh in (False, True):
        read = await manager.get_position(position.position_id, refresh=refresh)
        assert read is not None
        assert values_of(read) == values_of(position)
        assert {name: getattr(read, name) for name in sent} == sent


async def test_of_two_who_save_a_position_the_second_is_told_all_about_it(
    manager: DatabaseStateManager, database: Database
) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1"))
    first, second = await the_position(manager), await the_position(manager)
    first.lots, second.lots = 5, 6
    await manager.save_position(first)
    with pytest.raises(StaleWrite) as caught:
        await manager.save_position(second)
    assert caught.value.facts == {
        "table": "portfolio_positions", "key": ("default", "P1"), "expected": 1, "found": 2,
    }  # fmt: skip
    assert await stored_lots(database) == 5
    assert (second.lots, second.row_version) == (6, 1)
    assert (await the_position(manager)).lots == 5


async def test_a_new_position_does_not_replace_one_of_its_name(manager: DatabaseStateManager) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1"))
    with pytest.raises(StaleWrite) as caught:
        await manager.save_position(a_portfolio_position(position_id="P1"))
    assert (caught.value.facts["expected"], caught.value.facts["found"]) == (None, 1)


async def test_a_position_removed_meanwhile_is_not_brought_back(
    manager: DatabaseStateManager, owner_url: URL
) -> None:
    position = a_portfolio_position()
    await manager.save_position(position)
    async with opened(owner_url) as owner:
        await owner.portfolio_positions.delete(
            await owner.portfolio_positions.one(("default", position.position_id))
        )
    with pytest.raises(StaleWrite) as caught:
        await manager.save_position(position)
    assert (caught.value.facts["expected"], caught.value.facts["found"]) == (1, None)
    assert await manager.get_position(position.position_id, refresh=True) is None


async def test_an_object_of_ones_own_may_name_the_version_it_was_read_as(
    manager: DatabaseStateManager,
) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1", atr=Decimal(3)))
    await manager.save_position(a_portfolio_position(position_id="P1", lots=9, row_version=1))
    stored = await the_position(manager)
    assert (stored.lots, stored.atr, stored.row_version) == (9, Decimal(3), 2)  # what is not given stays


async def test_overwrite_replaces_whatever_is_stored(manager: DatabaseStateManager) -> None:
    await manager.save_position(
        a_portfolio_position(position_id="P1", lots=1, atr=Decimal(3)), overwrite=True
    )
    mine = a_portfolio_position(position_id="P1", lots=2)
    await manager.save_position(mine, overwrite=True)
    assert (mine.lots, mine.atr, mine.row_version) == (2, Decimal(3), 2)
    stored = await the_position(manager)
    assert values_of(stored) == values_of(mine)


async def test_what_is_changed_on_a_position_while_it_is_saved_is_saved_next_time(
    manager: DatabaseStateManager,
) -> None:
    position = a_portfolio_position(position_id="P1", lots=1)
    async with manager.transaction() as t:
        position.lots = 2
        await t.save_position(position)
        position.lots = 3
    assert (position.lots, position.row_version) == (3, 1)
    assert inspect(position).attrs.lots.history.has_changes()
    assert (await the_position(manager)).lots == 2
    await manager.save_position(position)
    assert (await the_position(manager)).lots == 3


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"lots": -1}, ConstraintViolated),
        ({"strategy_id": "unknown"}, InvalidReference),
        ({"entry_price": 72_000.0}, InvalidValue),
        ({"status": "gone"}, InvalidValue),
        ({"position_id": None}, InvalidValue),
        ({"account_id": "somebody-elses"}, InvalidValue),
    ],
)
async def test_save_position_says_what_cannot_be_stored_and_leaves_it_as_it_was(
    manager: DatabaseStateManager, overrides: dict[str, Any], error: type[Exception]
) -> None:
    position = a_portfolio_position(**overrides)
    before = given_values(position)
    with pytest.raises(error):
        await manager.save_position(position)
    assert inspect(position).transient
    assert given_values(position) == before
    assert await manager.get_all_open_positions() == {}


async def test_a_relationship_is_not_mistaken_for_its_key(
    manager: DatabaseStateManager, database: Database
) -> None:
    strategy = await database.strategies.add(a_strategy())
    with pytest.raises(InvalidValue, match="give the key"):
        await manager.save_position(a_portfolio_position(strategy=strategy))


async def test_get_position_of_an_unknown_name_is_none(manager: DatabaseStateManager) -> None:
    assert await manager.get_position("nobody") is None


async def test_get_all_open_positions_gives_those_not_closed_by_name_in_the_order_they_were_entered(
    manager: DatabaseStateManager,
) -> None:
    closed = {"exit_timestamp": NOON, "exit_price": Decimal(1), "exit_reason": "STOP"}
    for position in (
        a_portfolio_position(position_id="late", entry_timestamp=NOON + MINUTE),
        a_portfolio_position(position_id="early", entry_timestamp=NOON - MINUTE),
        a_portfolio_position(position_id="partial", status=EntryStatus.PARTIAL),
        a_portfolio_position(position_id="closed", status=EntryStatus.CLOSED, **closed),
    ):
        await manager.save_position(position)
    await manager.clear_cache()
    positions = await manager.get_all_open_positions()
    assert list(positions) == ["early", "partial", "late"]
    hits = manager.cache_stats().hits
    kept = await manager.get_position("partial")
    assert kept is not None
    assert values_of(kept) == values_of(positions["partial"])
    assert manager.cache_stats().hits == hits + 1


async def test_ten_positions_saved_at_once_are_all_saved(manager: DatabaseStateManager) -> None:
    positions = [a_portfolio_position(position_id=f"P{number}") for number in range(10)]
    await at_once(lambda number: manager.save_position(positions[number]), 10)
    for position in positions:
        position.lots += 1
    await at_once(lambda number: manager.save_position(positions[number]), 10)
    stored = await manager.get_all_open_positions()
    assert {name: (row.lots, row.row_version) for name, row in stored.items()} == {
        f"P{number}": (4, 2) for number in range(10)
    }


async def test_no_change_is_lost_among_ten_who_change_one_position(manager: DatabaseStateManager) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1", lots=0))

    async def one_more(t: StateTransaction) -> None:
        position = await t.get_position("P1")
        assert position is not None
        position.lots += 1
        await t.save_position(position)

    await at_once(lambda _: manager.retrying(one_more, attempts=1_000), 10)
    position = await the_position(manager)
    assert position.lots == 10


async def test_who_lock_each_other_out_are_tried_again(manager: DatabaseStateManager) -> None:
    for name in ("A", "B"):
        await manager.save_position(a_portfolio_position(position_id=name, lots=0))
    tries = locked = 0

    async def add_to(names: str, t: StateTransaction) -> None:
        nonlocal tries, locked
        tries += 1
        for name in names:
            position = await t.get_position(name)
            assert position is not None
            position.lots += 1
            await t.save_position(position)
            locked += 1
            await until(both_hold_a_lock, "the other transaction holds a lock, too")

    async def both_hold_a_lock() -> bool:
        return locked >= 2

    await asyncio.gather(manager.retrying(partial(add_to, "AB")), manager.retrying(partial(add_to, "BA")))
    assert tries > 2
    assert {name: row.lots for name, row in (await manager.get_all_open_positions()).items()} == {
        "A": 2,
        "B": 2,
    }


async def test_a_transaction_stores_all_of_it_or_nothing(manager: DatabaseStateManager) -> None:
    position = a_portfolio_position(position_id="P1")
    async with undone(manager.transaction()) as t:
        await t.save_position(position)
        await t.save_pyramiding_state(PyramidingState(instrument="GOLD_MINI"))
    assert (await manager.get_all_open_positions(), await manager.get_pyramiding_state()) == ({}, {})
    assert inspect(position).transient
    async with manager.transaction() as t:
        await t.save_position(position)
        assert list(await t.get_all_open_positions()) == ["P1"]
    assert list(await manager.get_all_open_positions()) == ["P1"]


async def test_a_position_may_be_changed_and_saved_again_in_one_transaction(
    manager: DatabaseStateManager,
) -> None:
    position = a_portfolio_position(position_id="P1", lots=1)
    async with manager.transaction() as t:
        for lots in (2, 3):
            position.lots = lots
            await t.save_position(position)
        copy = await t.get_position("P1")
        assert copy is not None
        copy.lots = 4
        await t.save_position(copy)
        with pytest.raises(StaleWrite):
            await t.save_position(position)
    assert (copy.row_version, position.row_version) == (3, 2)
    kept = await the_position(manager)
    assert (kept.lots, kept.row_version) == (4, 3)


async def test_a_position_of_the_unit_of_work_itself_can_be_saved(manager: DatabaseStateManager) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1", lots=1))
    async with manager.transaction() as t:
        position = await t.uow.portfolio_positions.one(("default", "P1"))
        position.lots = 2
        await t.save_position(position)
        copy = await t.get_position("P1")
        assert copy is not None
        assert (copy.lots, copy.row_version) == (2, 2)
        with pytest.raises(InvalidValue, match="another unit of work"):
            await manager.save_position(position)
    assert (await the_position(manager)).lots == 2


async def test_a_manager_s_actor_is_on_record(database: Database) -> None:
    manager = DatabaseStateManager(database, actor="gold-engine")
    await manager.save_position(a_portfolio_position(position_id="P1"))
    async with manager.transaction(actor="operator") as t:
        position = await t.get_position("P1")
        assert position is not None
        position.lots = 9
        await t.save_position(position)
    entries = await database.audit.find_all()
    actors = [entry.actor for entry in entries if entry.table_name == "portfolio_positions"]
    assert actors == ["gold-engine", "operator"]


async def test_get_connection_runs_sql_of_ones_own_in_a_transaction(manager: DatabaseStateManager) -> None:
    await manager.save_position(a_portfolio_position(position_id="P1", lots=1))
    async with undone(manager.get_connection()) as connection:
        await connection.execute(SET_LOTS, {"lots": 2})
    assert (await the_position(manager)).lots == 1
    async with manager.get_connection() as connection:
        await connection.execute(SET_LOTS, {"lots": 3})
    assert (await the_position(manager)).lots == 3


async def test_every_statement_runs_on_every_server_version(uow: UnitOfWork) -> None:
    t = StateTransaction(uow, SavedRows(uow, account_id="default", told_by=None), account_id="default")
    position = a_portfolio_position(position_id="P1", lots=1)
    pyramid = PyramidingState(instrument="GOLD_MINI", base_position_id="P1")
    for version in (1, 2):
        position.lots = version
        await t.save_position(position)
        await t.save_pyramiding_state(pyramid)
        stored = (await t.get_all_open_positions())["P1"]
        assert (stored.lots, stored.row_version) == (version, version)
    await t.save_position(a_portfolio_position(position_id="P1", lots=3), overwrite=True)
    with pytest.raises(StaleWrite):
        await t.save_position(position)
    assert (await t.get_pyramiding_state())["GOLD_MINI"].row_version == 2
    state = await t.get_portfolio_state("USD")
    assert state is not None
    await t.save_portfolio_state(state)
    signal = a_signal_log(fingerprint=None)
    assert [(await t.log_signal(signal)).is_new for _ in range(2)] == [True, False]
    assert await t.check_duplicate_signal(signal)
