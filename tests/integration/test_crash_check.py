"""The crash bench's check is not blind: whatever is lost, doubled or half there behind its back, it names."""

import contextlib
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from sqlalchemy import make_url, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.database import Database
from tests.conftest import Undo
from tests.crash.bench import begin_generation
from tests.crash.calls import Caller
from tests.crash.check import Verdict, check, check_in
from tests.crash.lifecycles import Lifecycle, Name, What
from tests.crash.record import Record
from tests.replays import a_database_url
from tests.servers import PostgresServer

SEED = 4
BEHIND_THE_TRIGGERS = text("SET LOCAL session_replication_role = replica")
FILL_AGAIN = """
    INSERT INTO fills SELECT (jsonb_populate_record(
        f, jsonb_build_object('id', new_id(), 'fill_id', 'again', 'applied_seq', 99)
    )).* FROM fills AS f WHERE applied_seq = 1
"""
DECISION_AGAIN = """
    INSERT INTO risk_decisions
    SELECT (jsonb_populate_record(d, jsonb_build_object('id', new_id()))).* FROM risk_decisions AS d
"""
COMPLETED_AGAIN = """
    INSERT INTO order_history
    SELECT (jsonb_populate_record(h, jsonb_build_object('id', new_id()))).* FROM order_history AS h
    WHERE to_status = 'FILLED'
"""
EVENT_OF_NO_FILL = """
    INSERT INTO event_log (account_id, stream, stream_version, event_type)
    SELECT DISTINCT account_id, 'position-again', 1, 'FillApplied' FROM signals
"""
SIGNAL_AGAIN = """
    INSERT INTO signals SELECT (jsonb_populate_record(
        s, jsonb_build_object('id', new_id(), 'fingerprint', 'again')
    )).* FROM signals AS s
"""


@dataclass
class Traded:
    """A lifecycle in accounts of its own, and how far it was acknowledged."""

    trader: Database
    owner: Database
    record: Record
    plan: Lifecycle = field(init=False)

    def __post_init__(self) -> None:
        self.plan = Lifecycle(SEED, Name(self.record.generation, 0, 0))
        self._caller = Caller(self.trader, self.plan.account_id)

    async def acknowledge(self, places: range) -> None:
        for place in places:
            self.announce("began", place)
            answer = await self._caller.make(self.plan, self.plan.calls[place])
            self.announce("acknowledged", place, answer=answer)

    def announce(self, said: str, place: int, **facts: object) -> None:
        what = self.plan.calls[place].what
        line = json.dumps({"said": said, "of": self.plan.name, "call": place, "what": what, "at": 0, **facts})
        self.record.hear(json.loads(line))

    async def make(self, place: int) -> None:
        """The call is made, and its answer gets lost."""
        self.announce("began", place)
        await self._caller.make(self.plan, self.plan.calls[place])

    async def check(self) -> Verdict:
        return await check(self.owner, self.record, SEED)

    async def violations_after(self, statement: str) -> list[str]:
        """What is found after an alteration that nobody but these tests may make, and that is undone."""
        with contextlib.suppress(Undo):
            async with self.owner.transaction() as uow:
                await uow.session.execute(BEHIND_THE_TRIGGERS)
                altered = await uow.session.execute(text(statement))
                assert getattr(altered, "rowcount") > 0, "it altered nothing"  # noqa: B009 -- not in the base class
                verdict = await check_in(uow, copy.deepcopy(self.record), SEED)
                raise Undo
        return verdict.violations


#: A lifecycle acknowledged up to the first call that does this; None: all of it.
Trade = Callable[[What | None], Awaitable[tuple[Traded, int]]]


@pytest.fixture(scope="module")
async def trade(postgres_server: PostgresServer, template_database: str) -> AsyncIterator[Trade]:
    """Each in accounts of its own; with the place of the call that comes next."""
    generations = 0
    with a_database_url(postgres_server, template_database) as url:
        owner_url = make_url(postgres_server.url(url.database or ""))
        async with (
            DatabaseConnectionPool(DatabaseSettings(), url=url) as trading,
            DatabaseConnectionPool(DatabaseSettings(), url=owner_url) as owning,
        ):

            async def begin(until: What | None) -> tuple[Traded, int]:
                nonlocal generations
                owner = Database(owning)
                traded = Traded(Database(trading), owner, await begin_generation(owner, generations))
                generations += 1
                kinds = [call.what for call in traded.plan.calls]
                following = len(kinds) if until is None else kinds.index(until)
                await traded.acknowledge(range(following))
                return traded, following

            yield begin


@pytest.fixture(scope="module")
async def all_done(trade: Trade) -> Traded:
    return (await trade(None))[0]


async def test_what_was_acknowledged_and_is_there_is_no_violation(all_done: Traded) -> None:
    verdict = await all_done.check()
    assert verdict.violations == []
    assert verdict.checked == len(all_done.plan.calls) > 15


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("DELETE FROM signal_log", "missing from signal_log"),
        ("DELETE FROM signals", "missing from signals"),
        ("DELETE FROM risk_decisions", "missing from risk_decisions"),
        ("DELETE FROM orders WHERE parent_order_id IS NOT NULL", "missing from orders"),
        ("DELETE FROM order_history WHERE to_status = 'PENDING_CANCEL'", "missing from order_history"),
        ("DELETE FROM fills WHERE applied_seq = 1", "missing from fills"),
        ("DELETE FROM event_log WHERE stream_version = 1", "missing from event_log"),
        ("DELETE FROM portfolio_positions", "missing from portfolio_positions"),
        ("DELETE FROM pyramiding_state", "missing from pyramiding_state"),
        ("DELETE FROM strategy_state WHERE key LIKE '%exit'", "missing from strategy_state"),
        ("UPDATE portfolio_state SET state = '{}'", "missing from portfolio_state"),
        ("DELETE FROM trades", "the books of crash-"),
        (
            "DELETE FROM audit_log WHERE table_name = 'signals' AND operation = 'UPDATE'",
            "audit_log of signals",
        ),
        ("DELETE FROM audit_log WHERE table_name = 'orders' AND operation = 'INSERT'", "audit_log of orders"),
        ("UPDATE orders SET limit_price = limit_price + 1", "missing from orders"),
        ("UPDATE fills SET fill_price = fill_price + 1 WHERE applied_seq = 2", "missing from fills"),
        ("UPDATE fills SET realized_pnl = 1 WHERE applied_seq = 4", "stored is"),
        ("UPDATE positions SET quantity = 7", "the books of crash-"),
    ],
)
async def test_a_lost_or_altered_row_is_noticed(statement: str, finding: str, all_done: Traded) -> None:
    assert any(finding in violation for violation in await all_done.violations_after(statement))


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        (FILL_AGAIN, "too much in fills"),
        (DECISION_AGAIN, "too much in risk_decisions"),
        (COMPLETED_AGAIN, "too much in order_history"),
        (EVENT_OF_NO_FILL, "rows nobody asked for: too much in event_log"),
        (SIGNAL_AGAIN, "rows nobody asked for: too much in signals"),
        ("UPDATE portfolio_positions SET row_version = row_version + 1", "too much in portfolio_positions"),
        ("UPDATE portfolio_state SET closed_equity = closed_equity + 1", "the books of crash-"),
        ("UPDATE orders SET filled_quantity = 4, cost = cost / 3 * 4 WHERE filled_quantity = 3", "too much"),
    ],
)
async def test_a_doubled_effect_is_noticed(statement: str, finding: str, all_done: Traded) -> None:
    assert any(finding in violation for violation in await all_done.violations_after(statement))


@pytest.mark.parametrize(
    ("what", "undo"),
    [
        (What.TAKE_SIGNAL, "DELETE FROM signals"),
        (What.DECIDE, "DELETE FROM risk_decisions"),
        (What.SUBMIT, "DELETE FROM strategy_state"),
        (What.SUBMIT, "UPDATE signals SET status = 'APPROVED', executed_at = NULL"),
        (What.ACKNOWLEDGE, "DELETE FROM order_history WHERE to_status = 'NEW'"),
        (What.SAVE_ENTRY, "DELETE FROM pyramiding_state"),
        (What.REQUEST_CANCEL, "UPDATE orders SET status = 'NEW' WHERE status = 'PENDING_CANCEL'"),
    ],
)
async def test_a_call_in_flight_that_is_half_there_is_noticed(what: What, undo: str, trade: Trade) -> None:
    traded, following = await trade(what)
    await traded.make(following)
    violations = await traded.violations_after(undo)
    assert any(f"in flight: {traded.plan.calls[following]}" in violation for violation in violations)


@pytest.mark.parametrize("what", [What.TAKE_SIGNAL, What.DECIDE, What.SAVE_ENTRY, What.SAVE_PORTFOLIO])
async def test_a_call_in_flight_is_whole_or_absent(what: What, trade: Trade) -> None:
    traded, following = await trade(what)
    traded.announce("began", following)
    verdict = await traded.check()
    assert (verdict.violations, verdict.whole, verdict.absent) == ([], 0, 1)
    await traded.make(following)
    verdict = await traded.check()
    assert (verdict.violations, verdict.whole, verdict.absent) == ([], 1, 0)
    # It was there: from now on it must be.
    assert traded.record.courses[traded.plan.name].done == following + 1


async def test_an_answer_that_is_not_what_is_stored_is_noticed(trade: Trade) -> None:
    traded, _ = await trade(None)
    answers = traded.record.courses[traded.plan.name].answers
    answer = next(answer for answer in answers.values() if "applied_seq" in str(answer))
    answer[0]["applied_seq"] = 99
    (violation,) = (await traded.check()).violations
    assert "'applied_seq': 99" in violation


def test_an_error_that_no_fault_excuses_is_a_finding() -> None:
    record = Record(0)
    failed = {"said": "failed", "of": Name(0, 0, 0), "call": 0, "what": What.DECIDE, "message": ""}
    for error in ("ConnectionLost", "LeaseLost", "StaleWrite"):
        record.hear({**failed, "error": error})
    record.hear({**failed, "error": "LeaseLost", "what": What.FILL})
    assert len(record.failures) == 4
    assert record.unexcused == [
        "call 0 of 0.0.0: StaleWrite: ",
        "a fact was refused: call 0 of 0.0.0: LeaseLost: ",
    ]


def test_what_was_intended_while_another_process_led_is_a_finding() -> None:
    record = Record(0)
    for at, said in ((1.0, "began"), (3.0, "acknowledged")):
        call = {"of": Name(0, 0, 0), "call": 0, "what": What.DECIDE, "answer": []}
        record.hear({**call, "said": said, "at": at})
    assert record.lead_by_another_since(0.5) == ["call 0 of 0.0.0: decide"]
    # What began before may have been stored before.
    assert record.lead_by_another_since(2.0) == []
