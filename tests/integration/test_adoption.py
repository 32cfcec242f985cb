"""Taking over an account that has been trading."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gal_friday.adapters.holdings import HeldPosition, Holdings
from gal_friday.dal.models import (
    AccountMode,
    Fill,
    InstrumentKind,
    OrderOrigin,
    Position,
    PositionSide,
    ReportSource,
)
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists, InvalidReference, InvalidValue
from gal_friday.services import PortfolioManager
from gal_friday.services.adoption import Adoption, adopt
from gal_friday.services.reconciliation import Reconciler
from gal_friday.state.verification import verify
from tests.concurrency import at_once
from tests.factories import EXCHANGE, MINUTE, NOON, PAIR, a_strategy, an_instrument
from tests.ledger import columns, equity
from tests.scripted_exchange import ScriptedExchange, their_trade

PERPETUAL = "XRP/USD:USD"
HELD = Holdings(
    NOON,
    {"USD": Decimal("10000.25"), "BTC": Decimal("0.7"), "EUR": Decimal("0.000000000000000001")},
    (
        HeldPosition(
            trading_pair=PAIR,
            side=PositionSide.LONG,
            quantity=Decimal("0.5"),
            entry_price=Decimal(60_000),
            opened_at=NOON - MINUTE,
        ),
        HeldPosition(
            trading_pair=PERPETUAL,
            side=PositionSide.SHORT,
            quantity=Decimal(3),
            entry_price=Decimal("0.5"),
            opened_at=NOON - MINUTE,
            kind=InstrumentKind.PERPETUAL,
            contract_multiplier=Decimal(10),
        ),
    ),
)


def an_adoption(holdings: Holdings = HELD, **overrides: object) -> Adoption:
    return Adoption(account_id="main", exchange=EXCHANGE, holdings=holdings, **overrides)  # type: ignore[arg-type]  # a test's shorthand


async def test_the_books_begin_with_what_is_held(database: Database) -> None:
    adopted = await adopt(database, an_adoption())
    assert (adopted.is_new, adopted.positions) == (True, 2)
    assert adopted.openings == {
        "BTC": Decimal("0.2"),
        "EUR": Decimal("0.000000000000000001"),
        "USD": Decimal("40000.25"),
    }
    assert await equity(database, "main") == adopted.openings
    account = await database.accounts.one("main")
    assert columns(account, "mode", "exchange") == (AccountMode.LIVE, EXCHANGE)
    async with database.transaction(read_only=True, snapshot=True) as uow:
        assert (await verify(uow)).is_balanced
        for each in await PortfolioManager("main").compare_balances(uow, HELD.balances):
            assert each.difference == 0, each
        positions = await uow.positions.get_active_positions(account_id="main")
        assert {columns(each, "trading_pair", "side", "quantity", "entry_price") for each in positions} == {
            (PAIR, PositionSide.LONG, Decimal("0.5"), Decimal(60_000)),
            (PERPETUAL, PositionSide.SHORT, Decimal(3), Decimal("0.5")),
        }
        fills = await uow.fills.find_all(Fill.account_id == "main", order_by=Fill.fill_id)
        assert [columns(fill, "fill_id", "source", "filled_at") for fill in fills] == [
            ("OPENING-1", ReportSource.MANUAL, NOON - MINUTE),
            ("OPENING-2", ReportSource.MANUAL, NOON - MINUTE),
        ]
        orders = await uow.orders.find_all()
        assert {order.origin for order in orders} == {OrderOrigin.EXTERNAL}
        assert (await uow.instruments.one((EXCHANGE, PERPETUAL))).contract_multiplier == 10


async def test_equity_is_what_was_taken_over_at_todays_prices(database: Database) -> None:
    await adopt(database, an_adoption())
    portfolio = PortfolioManager("main")
    async with database.transaction() as uow:
        await portfolio.mark(uow, {PAIR: Decimal(65_000), PERPETUAL: Decimal("0.4")})
        now = (await portfolio.equity(uow)).by_currency
    # 10,000.25 USD, half a bitcoin at 65,000 and a short of 30 XRP that has gained 3.
    assert now["USD"].equity == Decimal("10000.25") + Decimal(32_500) + 3


async def test_taken_over_again_with_the_same_nothing_is_added(database: Database) -> None:
    later = replace(
        HELD,
        at=NOON + MINUTE,
        positions=[replace(each, opened_at=NOON + MINUTE) for each in HELD.positions],
    )
    first = await adopt(database, an_adoption())
    second = await adopt(database, an_adoption(later))
    assert (first.is_new, second.is_new) == (True, False)
    assert second.openings == first.openings
    assert await equity(database, "main") == first.openings
    assert await database.fills.count() == 2


async def test_several_that_take_over_at_once_book_it_once(database: Database) -> None:
    adopted = await at_once(lambda _: adopt(database, an_adoption()), 4)
    assert {each.positions for each in adopted} == {2}
    assert await equity(database, "main") == adopted[0].openings
    assert await database.fills.count() == 2


@pytest.mark.parametrize(
    "holdings",
    [
        replace(HELD, balances={**HELD.balances, "USD": Decimal(1)}),
        replace(HELD, positions=HELD.positions[:1]),
        replace(HELD, positions=()),
    ],
    ids=["another-balance", "a-position-less", "no-positions"],
)
async def test_books_that_begin_otherwise_are_not_touched(database: Database, holdings: Holdings) -> None:
    first = await adopt(database, an_adoption())
    with pytest.raises(AlreadyExists, match=r"begin otherwise.*given="):
        await adopt(database, an_adoption(holdings))
    assert await equity(database, "main") == first.openings
    assert await database.fills.count() == 2


async def test_an_account_with_books_is_not_taken_over(database: Database) -> None:
    with pytest.raises(AlreadyExists, match="5000000 USD"):
        await adopt(database, replace(an_adoption(), account_id="default"))
    assert await equity(database) == {"USD": Decimal(5_000_000)}


async def test_a_position_may_be_given_to_a_strategy(database: Database) -> None:
    strategy = await database.strategies.add(a_strategy())
    position = replace(HELD.positions[0], strategy_id=strategy.strategy_id)
    await adopt(database, an_adoption(replace(HELD, positions=[position])))
    held = await database.positions.find_all(Position.strategy_id == strategy.strategy_id)
    assert [each.quantity for each in held] == [Decimal("0.5")]


@pytest.mark.parametrize(
    ("holdings", "error", "words"),
    [
        (Holdings(NOON, {}), InvalidValue, "nothing to take over"),
        (replace(HELD, balances={"BTC": Decimal("0.4")}), InvalidValue, "more of it than there is"),
        (
            replace(HELD, positions=[*HELD.positions, replace(HELD.positions[1], side=PositionSide.LONG)]),
            InvalidValue,
            "one net position",
        ),
        (
            replace(HELD, positions=[replace(HELD.positions[0], strategy_id="nobody")]),
            InvalidReference,
            "nobody",
        ),
        (
            replace(HELD, positions=[replace(HELD.positions[0], contract_multiplier=Decimal("0.5"))]),
            AlreadyExists,
            "listed as something else",
        ),
    ],
    ids=["nothing", "too-little-of-a-coin", "both-sides", "an-unknown-strategy", "another-instrument"],
)
async def test_what_cannot_be_is_refused_and_nothing_is_stored(
    database: Database, holdings: Holdings, error: type[Exception], words: str
) -> None:
    await database.instruments.add(an_instrument())
    with pytest.raises(error, match=words):
        await adopt(database, an_adoption(holdings))
    assert await database.accounts.get("main") is None


async def test_what_was_executed_before_counts_in_what_is_held_and_not_again(database: Database) -> None:
    await adopt(database, an_adoption(replace(HELD, at=datetime.now(UTC))))
    exchange = ScriptedExchange(
        heeds_since=False,
        trades=[their_trade(id="long ago")],
        total={name: str(each) for name, each in HELD.balances.items()},
    )
    report = await Reconciler(database, exchange, exchange=EXCHANGE, account_id="main").reconcile()
    assert report.agrees
    assert not report.repairs
