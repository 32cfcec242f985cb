"""Books computed from fills and adjustments alone, against figures worked out by hand."""

from datetime import timedelta
from decimal import Decimal
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gal_friday.dal.models import Fill, PositionSide, Side, TradeStatus
from gal_friday.money import ZERO, exact
from gal_friday.state.books import PositionBook, TradeBook
from tests.factories import MINUTE, NOON
from tests.ledger import columns

ATOM = Decimal("1e-18")

amounts = st.decimals(-(10**9), 10**9, places=18, allow_nan=False, allow_infinity=False)
prices = st.decimals(ATOM, 10**6, places=18, allow_nan=False, allow_infinity=False)


def a_fill(
    net: Decimal | int,
    price: Decimal | int = 100,
    *,
    fee: Decimal | int | None = 0,
    multiplier: Decimal | int = 1,
    after: timedelta = timedelta(),
) -> Fill:
    """A fill as it was applied, *net* units signed."""
    return Fill(
        side=Side.BUY if net > 0 else Side.SELL,
        net_quantity=Decimal(net),
        fill_price=Decimal(price),
        commission_quote=None if fee is None else Decimal(fee),
        contract_multiplier=Decimal(multiplier),
        filled_at=NOON + after,
    )


def book_of(*fills: Fill) -> PositionBook:
    book = PositionBook()
    for fill in fills:
        book.apply(fill)
    return book


def figures(book: PositionBook) -> tuple[object, ...]:
    return book.side, book.quantity, book.cost, book.realized_pnl


def test_a_book_of_nothing_is_empty() -> None:
    book = book_of()
    assert figures(book) == (None, ZERO, ZERO, ZERO)
    assert (book.entry_price, book.opened_at, book.last_applied_seq, book.trades) == (None, None, 0, [])


def test_the_cost_of_what_leaves_is_its_share_of_the_whole() -> None:
    book = book_of(a_fill(1, 100), a_fill(2, 103, after=MINUTE))
    assert book.entry_price == 102
    assert book.apply(a_fill(-1, 110, fee=Decimal("0.5"), after=2 * MINUTE)) == 8
    assert figures(book) == (PositionSide.LONG, 2, 204, 8)
    (trade,) = book.trades
    assert (trade.status, trade.realized_pnl) == (TradeStatus.PARTIALLY_FILLED, Decimal("7.5"))
    assert columns(trade, "average_entry_price", "average_exit_price") == (102, 110)
    assert (book.opened_at, book.closed_at, trade.exit_timestamp) == (NOON, None, NOON + 2 * MINUTE)


def test_thirds_are_rounded_and_the_last_of_it_takes_the_rest() -> None:
    book = book_of(a_fill(3, Decimal("33.333333333333333333")), a_fill(-1, 0), a_fill(-1, 0))
    first, second = Decimal("33.333333333333333333"), Decimal("33.333333333333333333")
    assert book.cost == Decimal("99.999999999999999999") - first - second
    assert book.apply(a_fill(-1, 0)) == -Decimal("33.333333333333333333")
    assert figures(book) == (PositionSide.LONG, ZERO, ZERO, Decimal("-99.999999999999999999"))


def test_a_flat_book_is_closed_and_keeps_side_and_entry_price() -> None:
    book = book_of(a_fill(-2, 50), a_fill(2, 40, after=MINUTE))
    assert figures(book) == (PositionSide.SHORT, ZERO, ZERO, 20)
    assert columns(book, "entry_price", "opened_at", "closed_at") == (50, NOON, NOON + MINUTE)
    (trade,) = book.trades
    assert columns(trade, "side", "status", "realized_pnl_pct") == (Side.SELL, TradeStatus.CLOSED, 20)


def test_a_flip_shares_its_fee_between_the_trade_it_ends_and_the_one_it_begins() -> None:
    book = book_of(a_fill(1, 100), a_fill(-3, 120, fee=3, after=MINUTE))
    assert figures(book) == (PositionSide.SHORT, 2, 240, 20)
    assert columns(book, "opened_at", "closed_at", "total_commission") == (NOON + MINUTE, None, 3)
    ended, begun = book.trades
    assert columns(ended, "status", "realized_pnl", "total_commission") == (TradeStatus.CLOSED, 19, 1)
    assert columns(begun, "status", "realized_pnl", "total_commission") == (TradeStatus.OPEN, -2, 2)
    assert begun.average_exit_price is None


def test_a_fill_of_which_the_fee_left_nothing_numbers_on_and_begins_no_trade() -> None:
    book = book_of(a_fill(0, fee=100))
    assert columns(book, "quantity", "closed_at", "total_commission", "trades") == (0, NOON, 100, [])
    assert book.last_applied_seq == 1


def test_a_fee_of_unknown_rate_is_none_of_the_books() -> None:
    book = book_of(a_fill(1, fee=None))
    assert book.total_commission == book.trades[0].realized_pnl == 0


def test_an_exit_that_is_heard_of_late_does_not_turn_back_the_time_of_the_last() -> None:
    book = book_of(a_fill(3), a_fill(-1, after=2 * MINUTE), a_fill(-1, after=MINUTE))
    assert book.trades[0].exit_timestamp == NOON + 2 * MINUTE


@pytest.mark.parametrize("multiplier", [Decimal(100), Decimal("0.001")])
def test_a_multiplier_scales_gains_and_leaves_cost_and_percentage(multiplier: Decimal) -> None:
    book = book_of(a_fill(2, 100, multiplier=multiplier), a_fill(-1, 103, multiplier=multiplier))
    assert columns(book, "cost", "realized_pnl") == (100, 3 * multiplier)
    book.apply(a_fill(-1, 103, multiplier=multiplier))
    assert book.trades[0].realized_pnl_pct == 3


@pytest.mark.parametrize(
    ("side", "net", "cost"), [(PositionSide.LONG, 2, 207), (PositionSide.SHORT, -2, 193)]
)
def test_an_adjustment_moves_what_was_realised_out_of_the_cost_of_what_is_open(
    side: PositionSide, net: int, cost: int
) -> None:
    book = book_of(a_fill(net))
    book.adjust(Decimal(7))
    assert figures(book) == (side, 2, cost, 7)
    assert (book.entry_price, book.last_applied_seq) == (Decimal(cost) / 2, 2)
    book.apply(a_fill(-net))  # at the price it was entered at: in all nothing was earned
    assert book.realized_pnl == 0


def test_an_adjustment_of_contracts_moves_their_cost_by_its_part_of_the_multiplier() -> None:
    book = book_of(a_fill(2, multiplier=10))
    book.adjust(Decimal(7))
    assert columns(book, "cost", "realized_pnl") == (Decimal("200.7"), 7)
    assert book.apply(a_fill(-2, multiplier=10)) == -7


def test_an_adjustment_of_a_flat_book_has_no_entry_price_to_move() -> None:
    book = book_of(a_fill(1), a_fill(-1))
    book.adjust(Decimal(-1))
    assert book.cost == 0
    assert columns(book, "entry_price", "realized_pnl", "last_applied_seq") == (100, -1, 3)


@pytest.mark.parametrize(
    ("entry", "exit_price", "percentage"),
    [
        (ATOM, Decimal(10**9), None),  # more than the column holds
        (ATOM, ATOM, Decimal(0)),
        (Decimal(0), Decimal(1), None),
        (Decimal(-37), Decimal(10), None),  # as crude oil was on 2020-04-20
        (Decimal(3), Decimal(4), Decimal("33.33333333")),
    ],
)
def test_a_percentage_is_given_where_there_is_one(
    entry: Decimal, exit_price: Decimal, percentage: Decimal | None
) -> None:
    book = book_of(a_fill(1, entry), a_fill(-1, exit_price))
    assert book.trades[0].realized_pnl_pct == percentage


@given(st.lists(st.tuples(amounts, prices, amounts), max_size=12))
def test_what_was_paid_is_what_was_earned_and_what_is_owed(
    told: list[tuple[Decimal, Decimal, Decimal]],
) -> None:
    fills = [a_fill(net, price, fee=fee) for net, price, fee in told]
    with exact():
        held = [ZERO, *accumulate(net for net, _, _ in told)]
    # What is flat is closed, and what follows is another book.
    last_flat = max(number for number, quantity in enumerate(held[:-1] or [ZERO]) if not quantity)
    fills, told = fills[last_flat:], told[last_flat:]
    book = book_of(*fills)
    with exact():
        assert book.quantity == abs(held[-1])
        assert (book.quantity == 0) == (book.closed_at is not None or not fills)
        owed = book.cost if book.side is PositionSide.SHORT else -book.cost
        paid = sum((net * price for net, price, _ in told), ZERO)
        assert book.realized_pnl + owed == -paid
        fees = sum((fee for _, _, fee in told), ZERO)
        assert book.total_commission == fees
        assert sum((trade.realized_pnl for trade in book.trades), ZERO) == book.realized_pnl - fees_of(
            book.trades
        )
        if all(net for net, _, _ in told):
            assert fees_of(book.trades) == fees
    ended = book.trades[:-1] if book.quantity else book.trades
    assert all(trade.status is TradeStatus.CLOSED for trade in ended)
    assert all(trade.quantity == trade.filled_quantity for trade in ended)


def fees_of(trades: list[TradeBook]) -> Decimal:
    return sum((trade.total_commission for trade in trades), ZERO)
