"""How large a position can get, and how much of a signal keeps it within its limits."""

from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from gal_friday.dal.models import RiskScope, RiskVerdict, Side
from gal_friday.money import ZERO, exact
from gal_friday.services.risk.books import Book, BookKey, Holding, Intention, Pair, books_of
from gal_friday.services.risk.checks import limit_checks
from gal_friday.services.risk.situation import Instrument, Limits, Situation
from gal_friday.services.risk.verdict import judge
from tests.factories import NOON, a_signal, a_strategy

MINE = Pair("kraken", "BTC/USD")
OTHER = Pair("kraken", "ETH/USD")

amounts = st.decimals(min_value=Decimal("0.01"), max_value=1_000, places=2)
sides = st.sampled_from(Side)
pairs = st.sampled_from([MINE, OTHER])
holdings = st.builds(
    Holding,
    strategy_id=st.sampled_from(["me", "you", None]),
    pair=pairs,
    currency=st.just("USD"),
    multiplier=st.sampled_from([Decimal(1), Decimal(10)]),
    side=sides,
    quantity=amounts,
    price=st.none() | amounts,
    cost=amounts,
)
intentions = st.builds(
    Intention,
    strategy_id=st.sampled_from(["me", "you", None]),
    pair=pairs,
    currency=st.just("USD"),
    multiplier=st.sampled_from([Decimal(1), Decimal(10)]),
    side=sides,
    quantity=amounts,
    price=amounts,
)
all_books = st.builds(
    lambda held, on_their_way, price: books_of(held, on_their_way, {MINE: price}),
    st.lists(holdings, max_size=4),
    st.lists(intentions, max_size=6),
    amounts,
)
limit_rows = st.builds(
    Limits,
    scope=st.sampled_from(RiskScope),
    key=st.sampled_from(["me", MINE.trading_pair]),
    max_position_quantity=st.none() | amounts,
    max_notional=st.none() | amounts.map(lambda amount: amount * 100),
    max_leverage=st.none() | amounts,
).filter(lambda limits: limits.cover("me", MINE.trading_pair))


def a_situation(
    books: dict[BookKey, Book],
    limits: list[Limits],
    *,
    side: Side = Side.BUY,
    quantity: Decimal = Decimal(1),
    price: Decimal = Decimal(100),
    instrument: Instrument | None = None,
) -> Situation:
    return Situation(
        signal=a_signal(
            a_strategy(strategy_id="me"),
            account_id="default",
            exchange=MINE.exchange,
            trading_pair=MINE.trading_pair,
            side=side,
        ),
        quantity=quantity,
        price=price,
        currency="USD",
        instrument=instrument or Instrument(),
        books=books,
        results=[],
        limits=limits,
        closed_equity=Decimal(10_000),
        peak_equity=Decimal(10_000),
        halts={RiskScope.ACCOUNT: None, RiskScope.STRATEGY: None},
        decided_at=NOON,
    )


situations = st.builds(
    a_situation,
    all_books,
    st.lists(limit_rows, min_size=1, max_size=3),
    side=sides,
    quantity=amounts,
    price=amounts,
    instrument=st.builds(
        Instrument,
        multiplier=st.sampled_from([Decimal(1), Decimal(10)]),
        quantity_step=st.sampled_from([None, Decimal("0.01"), Decimal("0.5")]),
    ),
)


def passes(situation: Situation, quantity: Decimal) -> bool:
    """Whether every limit is met with *quantity* ordered."""
    asked = a_situation(
        dict(situation.books),
        list(situation.limits),
        side=situation.side,
        quantity=quantity,
        price=situation.price,
        instrument=situation.instrument,
    )
    with exact():
        return all(check.passed for limits in asked.limits for check in limit_checks(asked, limits))


@given(situations)
def test_what_is_allowed_beyond_an_exit_meets_every_limit(situation: Situation) -> None:
    verdict = judge(situation)
    assert ZERO <= situation.reduction <= verdict.quantity <= situation.quantity
    if verdict.quantity > situation.reduction:
        assert passes(situation, verdict.quantity)


@given(situations)
def test_one_step_more_than_what_is_allowed_would_be_too_much(situation: Situation) -> None:
    verdict = judge(situation)
    assume(verdict.quantity < situation.quantity)
    more = verdict.quantity + (situation.instrument.quantity_step or Decimal("1e-8"))
    assume(more <= situation.quantity)
    assert not passes(situation, more)


@given(situations)
def test_what_passes_as_it_is_asked_for_is_approved_as_it_is(situation: Situation) -> None:
    verdict = judge(situation)
    if passes(situation, situation.quantity):
        assert (verdict.decision, verdict.rule) == (RiskVerdict.APPROVED, None)
    assert (verdict.quantity == situation.quantity) == (verdict.decision is RiskVerdict.APPROVED)
    assert (verdict.quantity == 0) == (verdict.decision is RiskVerdict.REJECTED)


@given(situations, st.lists(amounts, min_size=1, max_size=12))
def test_however_many_follow_each_other_they_stay_within_the_limits(
    situation: Situation, quantities: list[Decimal]
) -> None:
    books = dict(situation.books)
    for quantity in quantities:
        asked = a_situation(
            books,
            list(situation.limits),
            side=situation.side,
            quantity=quantity,
            price=situation.price,
            instrument=situation.instrument,
        )
        verdict = judge(asked)
        if verdict.quantity > asked.reduction:
            assert passes(asked, verdict.quantity)
        books = {**books, ("me", MINE): asked.ordering(verdict.quantity)}


@given(st.lists(holdings, max_size=3), st.lists(intentions, max_size=6), sides, amounts, amounts)
def test_more_on_its_way_never_makes_an_exposure_smaller(
    held: list[Holding], on_their_way: list[Intention], side: Side, units: Decimal, price: Decimal
) -> None:
    for book in books_of(held, on_their_way, {}).values():
        before, after = book.exposure, book.plus(side, units, price).exposure
        assert before.units is not None
        assert after.units is not None
        assert after.units >= before.units >= abs(book.held)


def test_what_closes_a_position_is_no_exposure_even_at_an_unknown_price() -> None:
    book = Book("me", MINE, "USD", held=Decimal(2), held_value=Decimal(200))
    closing = book.plus(Side.SELL, Decimal(2), None)
    assert closing.reach(Side.SELL).value == 0
    assert closing.exposure.value == 200
    assert closing.plus(Side.SELL, Decimal(1), Decimal(90)).exposure.value is None


def test_the_excess_of_a_flip_counts_at_the_highest_price_on_its_way() -> None:
    book = Book("me", MINE, "USD", held=Decimal(-2), held_value=Decimal(200))
    book = book.plus(Side.BUY, Decimal(2), Decimal(90)).plus(Side.BUY, Decimal(3), Decimal(80))
    assert book.reach(Side.BUY).units == 3
    assert book.reach(Side.BUY).value == 270
    assert book.units_worth(Side.BUY, Decimal(100), Decimal(500)) == 2


def test_an_order_by_cost_buys_what_its_price_gives() -> None:
    by_cost = Intention("me", MINE, "USD", Decimal(1), Side.BUY, None, None, Decimal(100))
    (book,) = books_of([], [by_cost], {MINE: Decimal(3)}).values()
    assert book.buying.units == Decimal("33.33333333")
    spent = Intention("me", MINE, "USD", Decimal(1), Side.BUY, None, None, Decimal(-1))
    (book,) = books_of([], [spent], {MINE: Decimal(3)}).values()
    assert book.buying.units == 0
    (book,) = books_of([], [by_cost], {}).values()
    assert book.exposure.units is None
    assert book.counts()


def test_what_nobody_can_tell_is_not_passed_and_nothing_is_allowed() -> None:
    books = books_of([], [Intention("me", MINE, "USD", Decimal(1), Side.BUY, None, None)], {})
    limits = Limits(RiskScope.ACCOUNT, "default", max_position_quantity=Decimal(5))
    verdict = judge(a_situation(books, [limits]))
    assert verdict.decision is RiskVerdict.REJECTED
    assert verdict.quantity == 0
