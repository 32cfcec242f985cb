"""The arithmetic every amount goes through."""

from decimal import Decimal, FloatOperation, Inexact, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gal_friday import money

amounts = st.decimals(
    min_value=Decimal("-1e19"), max_value=Decimal("1e19"), places=18, allow_nan=False, allow_infinity=False
)
positive_amounts = st.decimals(
    min_value=Decimal("1e-18"), max_value=Decimal("1e19"), places=18, allow_nan=False, allow_infinity=False
)


@given(amounts, amounts)
def test_products_and_sums_of_amounts_are_exact(a: Decimal, b: Decimal) -> None:
    with money.exact():
        assert Fraction(a * b + a) == Fraction(a) * Fraction(b) + Fraction(a)


def test_a_result_that_would_be_rounded_is_refused() -> None:
    with money.exact(), pytest.raises(Inexact):
        Decimal(1) / Decimal(3)


def test_a_float_cannot_join_in() -> None:
    with money.exact(), pytest.raises(FloatOperation):
        Decimal("0.1") < 0.1  # noqa: B015 -- comparing is what must fail


def test_the_block_leaves_the_callers_context_alone() -> None:
    with localcontext() as mine:
        mine.prec = 5
        with money.exact():
            pass
        assert Decimal(1) / Decimal(3) == Decimal("0.33333")


@given(amounts, positive_amounts)
def test_an_average_is_rounded_once_and_half_up(cost: Decimal, quantity: Decimal) -> None:
    average = money.average_price_rounded(cost, quantity)
    error = abs(Fraction(average) - Fraction(cost) / Fraction(quantity))
    assert error <= Fraction(1, 2 * 10**18)
    if error == Fraction(1, 2 * 10**18):
        assert abs(Fraction(average)) > abs(Fraction(cost) / Fraction(quantity))


def test_a_quotient_a_hair_below_half_is_not_rounded_up_twice() -> None:
    # 80 digits of the quotient end in 4999…9: rounding it to 80 digits first would give exactly half.
    hair_below_half = Decimal("0." + "0" * 18 + "4" + "9" * 70)
    with localcontext() as wide:
        wide.prec = 200
        assert money.average_price_rounded(hair_below_half, Decimal(1)) == 0


@pytest.mark.parametrize(
    ("part", "whole", "ratio"),
    [("1", "3", "0.33333333"), ("2", "3", "0.66666667"), ("-2", "3", "-0.66666667"), ("0", "5", "0")],
)
def test_ratios_have_eight_decimals(part: str, whole: str, ratio: str) -> None:
    assert money.ratio_rounded(Decimal(part), Decimal(whole)) == Decimal(ratio)


def test_dividing_by_zero_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        money.average_price_rounded(Decimal(1), Decimal(0))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=40))
def test_a_canonical_number_is_the_same_number_in_one_spelling(value: Decimal) -> None:
    with money.exact():
        spelled = money.canonical(value)
    assert spelled == value
    assert "E+" not in str(spelled)
    assert str(money.canonical(spelled)) == str(spelled)


def test_ten_thousand_is_not_printed_with_an_exponent() -> None:
    assert str(money.canonical(Decimal("1E+4"))) == "10000"
    assert str(money.canonical(Decimal("-0.00"))) == "0"


def test_a_quantity_is_rounded_down_to_whole_steps() -> None:
    assert money.steps_rounded_down(Decimal("1.23456"), Decimal("0.25")) == Decimal("1.00")
    assert money.steps_rounded_down(Decimal(3), Decimal(1)) == 3
    assert money.steps_rounded_down(Decimal("0.9"), Decimal(1)) == 0
    with pytest.raises(ZeroDivisionError):
        money.steps_rounded_down(Decimal(1), Decimal(0))


@given(positive_amounts, positive_amounts)
def test_a_quantity_bought_is_never_more_than_the_amount_pays_for(amount: Decimal, price: Decimal) -> None:
    quantity = money.quantity_rounded_down(amount, price, decimals=18)
    smallest = Fraction(1, 10**18)
    assert Fraction(quantity) * Fraction(price) <= Fraction(amount)
    assert (Fraction(quantity) + smallest) * Fraction(price) > Fraction(amount)
