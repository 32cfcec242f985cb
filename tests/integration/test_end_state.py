"""Two databases are equal only if every row says the same, whatever the ids are called."""

from pathlib import Path

import pytest
from sqlalchemy import URL, text

from gal_friday.dal.models import Base
from gal_friday.database import Database
from gal_friday.replay.end_state import TABLES_NOT_COMPARED, EndState
from gal_friday.replay.run import Run
from gal_friday.replay.runner import replay
from tests.replays import a_run, opened, state_of

CHANGES = {
    "one fill is gone": "DELETE FROM fills WHERE id = (SELECT max(id::text)::uuid FROM fills)",
    "one price is off by the last decimal": "UPDATE fills SET fill_price = fill_price + 1e-18"
    " WHERE id = (SELECT max(id::text)::uuid FROM fills)",
    "one log line is there twice": "INSERT INTO system_logs (id, log_timestamp, source_module, log_level,"
    " category, message, trading_pair, strategy_id, context) SELECT gen_random_uuid(), log_timestamp,"
    " source_module, log_level, category, message, trading_pair, strategy_id, context FROM system_logs"
    " WHERE category = 'DATA' LIMIT 1",
    "one value deep in JSON": "UPDATE risk_decisions SET checks = jsonb_set(checks, '{0,limit}', '\"51\"')"
    " WHERE id = (SELECT min(id::text)::uuid FROM risk_decisions WHERE checks <> '[]')",
    "one fill belongs to another order": "UPDATE fills SET order_id ="
    " (SELECT order_id FROM fills ORDER BY filled_at LIMIT 1)"
    " WHERE id = (SELECT max(id::text)::uuid FROM fills)",
    "one row was saved once more": "UPDATE strategies SET row_version = row_version + 1",
    "one candle is missing": "DELETE FROM market_data WHERE timestamp ="
    " (SELECT max(timestamp) FROM market_data)",
}


# Behind the back of the triggers that would refuse it or put it on record.
WITHOUT_TRIGGERS = text("SET LOCAL session_replication_role = replica")


@pytest.fixture
async def replayed(database: Database, tmp_path: Path) -> tuple[Database, Run, EndState]:
    run = a_run(tmp_path, count=300)
    await replay(database, run)
    return database, run, await state_of(database)


async def test_every_table_is_compared_but_the_one_of_commits(
    replayed: tuple[Database, Run, EndState],
) -> None:
    _, _, state = replayed
    assert set(state.tables) == set(Base.metadata.tables) - TABLES_NOT_COMPARED
    assert {"commit_markers"} == TABLES_NOT_COMPARED


@pytest.mark.parametrize("change", list(CHANGES))
async def test_one_changed_row_is_a_difference(
    replayed: tuple[Database, Run, EndState], owner_url: URL, change: str
) -> None:
    database, _, before = replayed
    async with opened(owner_url) as owner, owner.transaction() as uow:
        await uow.session.execute(WITHOUT_TRIGGERS)
        await uow.session.execute(text(CHANGES[change]))
    after = await state_of(database)
    difference = before.first_difference(after)
    assert difference is not None
    table = difference.split(",")[0].split(":")[0]
    assert before.digest(table) != after.digest(table)


async def test_other_ids_and_recording_times_are_no_difference(
    replayed: tuple[Database, Run, EndState], owner_url: URL
) -> None:
    database, _, before = replayed
    async with opened(owner_url) as owner, owner.transaction() as uow:
        await uow.session.execute(WITHOUT_TRIGGERS)
        for statement in (
            "UPDATE system_logs SET id = gen_random_uuid()",
            "UPDATE portfolio_snapshots SET id = gen_random_uuid()",
            "UPDATE market_data SET created_at = created_at + interval '1 hour'",
        ):
            await uow.session.execute(text(statement))
    assert before.first_difference(await state_of(database)) is None


def test_what_one_has_more_of_is_a_difference() -> None:
    one, two = EndState({"orders": [{"id": "orders#1"}]}), EndState({"orders": [], "fills": []})
    assert one.first_difference(two) == "orders: 1 and 0 rows"
    assert two.first_difference(one) == "orders: 0 and 1 rows"
    assert one.row_counts() == {"orders": 1}
