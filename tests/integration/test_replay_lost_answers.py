"""A commit whose answer was lost is looked up, not guessed."""

from pathlib import Path

from gal_friday.database import Database
from gal_friday.replay.runner import replay
from tests.network import AnswerEater
from tests.replays import a_database_url, a_run, opened, state_of
from tests.servers import PostgresServer


async def test_lost_answers_to_commit_leave_no_trace(
    *, tmp_path: Path, database: Database, postgres_server: PostgresServer, template_database: str
) -> None:
    run = a_run(tmp_path)
    await replay(database, run)
    with a_database_url(postgres_server, template_database) as other_url:
        relay = AnswerEater(other_url, every=3)
        async with relay.url() as url, opened(url) as struck:
            await replay(struck, run)
        assert relay.eaten >= 5
        async with opened(other_url) as struck:
            assert (await state_of(database)).first_difference(await state_of(struck)) is None
