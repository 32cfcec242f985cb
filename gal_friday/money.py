"""Arithmetic on money: one decimal context, and the few places where something is rounded, by name.

Amounts, prices and quantities have at most 18 decimals and 38 digits; the product of two has at most 36
decimals. Everything in between is exact: inside `exact()` a result that would need rounding raises
`decimal.Inexact`, except in the functions named `…_rounded` here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import (
    ROUND_HALF_UP,
    Clamped,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    Rounded,
    Subnormal,
    localcontext,
)

PRECISION = 80
MONEY_DECIMALS = 18
COST_DECIMALS = 36
RATIO_DECIMALS = 8
QUANTITY_DECIMALS = 8

ZERO = Decimal(0)

MONEY_CONTEXT = Context(
    prec=PRECISION,
    rounding=ROUND_HALF_UP,
    traps=[Clamped, DivisionByZero, FloatOperation, Inexact, InvalidOperation, Overflow, Subnormal],
)
# A cost of 56 digits times a quantity of 38, scaled by the decimals of the quotient.
_WIDE_CONTEXT = MONEY_CONTEXT.copy()
_WIDE_CONTEXT.prec = 2 * PRECISION
_ROUNDING_CONTEXT = Context(
    prec=PRECISION,
    rounding=ROUND_HALF_UP,
    traps=[Clamped, DivisionByZero, FloatOperation, InvalidOperation, Overflow, Subnormal],
)
assert Rounded not in MONEY_CONTEXT.traps or not MONEY_CONTEXT.traps[Rounded]  # trailing zeros may go


@contextmanager
def exact() -> Iterator[Context]:
    """Arithmetic in the block is exact or raises `decimal.Inexact`; mixing in a float raises too."""
    with localcontext(MONEY_CONTEXT) as context:
        yield context


def average_price_rounded(cost: Decimal, quantity: Decimal) -> Decimal:
    """*cost* per unit, half up to 18 decimals. Raises ZeroDivisionError for a quantity of zero."""
    return _quotient(cost, quantity, MONEY_DECIMALS)


def ratio_rounded(part: Decimal, whole: Decimal) -> Decimal:
    """*part* / *whole*, half up to 8 decimals. Raises ZeroDivisionError for a whole of zero."""
    return _quotient(part, whole, RATIO_DECIMALS)


def statistic_rounded(value: float) -> Decimal:
    """A finite statistic computed in floating point, half up to 8 decimals of its exact binary value."""
    with localcontext(_ROUNDING_CONTEXT):
        exactly = Decimal.from_float(value)  # noqa: FURB164 -- the context refuses to do it unasked
        return exactly.quantize(Decimal(1).scaleb(-RATIO_DECIMALS))


def amount_rounded(amount: Decimal) -> Decimal:
    """An exact product brought to a money column's 18 decimals, half up."""
    with localcontext(_ROUNDING_CONTEXT):
        return amount.quantize(Decimal(1).scaleb(-MONEY_DECIMALS))


def cost_share_rounded(cost: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """What of *cost* goes with *part* of the *whole* quantity, half up to 18 decimals; all of it with all.

    Raises ZeroDivisionError for a whole of zero of which part is not.
    """
    if part == whole:
        return cost
    with localcontext(_WIDE_CONTEXT):
        share = cost * part
    return _quotient(share, whole, MONEY_DECIMALS)


def cost_rounded(product: Decimal) -> Decimal:
    """A product brought to an exact cost's 36 decimals, half up: three factors may have more."""
    with localcontext(_ROUNDING_CONTEXT):
        return product.quantize(Decimal(1).scaleb(-COST_DECIMALS))


def cost_divided_rounded(cost: Decimal, divisor: Decimal) -> Decimal:
    """*cost* / *divisor*, half up to an exact cost's 36 decimals. Raises ZeroDivisionError."""
    return _quotient(cost, divisor, COST_DECIMALS)


def quantity_rounded_down(amount: Decimal, price: Decimal, *, decimals: int = QUANTITY_DECIMALS) -> Decimal:
    """Units an *amount* of at least zero buys at *price*, never more than it can pay for.

    Raises ZeroDivisionError for a price of zero.
    """
    with localcontext(MONEY_CONTEXT):
        return (amount.scaleb(decimals) // price).scaleb(-decimals)


def steps_rounded_down(quantity: Decimal, step: Decimal) -> Decimal:
    """A *quantity* of zero or more down to a whole number of *step*s. Raises ZeroDivisionError for none."""
    with localcontext(MONEY_CONTEXT):
        return quantity // step * step


def canonical(value: Decimal) -> Decimal:
    """The same number in its one spelling: no exponent above zero, no trailing zeros, no negative zero.

    Two equal amounts print and hash alike however they were written or stored.
    """
    with localcontext(MONEY_CONTEXT):
        if not value:
            return ZERO
        stripped = value.normalize()
        exponent = stripped.as_tuple().exponent
        return stripped.quantize(Decimal(1)) if isinstance(exponent, int) and exponent > 0 else stripped


def _quotient(dividend: Decimal, divisor: Decimal, decimals: int) -> Decimal:
    if not divisor:
        raise ZeroDivisionError(f"{dividend} / 0")
    # A quotient of 80 digits rounded once more could round twice; the remainder decides instead.
    with localcontext(_WIDE_CONTEXT):
        scaled_dividend = abs(dividend).scaleb(decimals)
        scaled_divisor = abs(divisor)
        whole, remainder = divmod(scaled_dividend, scaled_divisor)
        if 2 * remainder >= scaled_divisor:
            whole += 1
        negative = (dividend < 0) != (divisor < 0) and whole != 0
        return (-whole if negative else whole).scaleb(-decimals)
