"""The named roundings: the same in SQL and in Python, to the last digit."""

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import BindParameter, Numeric, TableValuedAlias, bindparam, func, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY

from gal_friday import money
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import PersistenceError

PAIRS = 100_000
AMOUNT_DECIMALS, COST_DECIMALS = 18, 36


def amount(source: random.Random, decimals: int, *, digits: int = 19) -> Decimal:
    """Of any size up to *digits* before the point, one in eight with a tail that is hard to round."""
    before = source.randrange(10 ** source.randint(0, digits))
    after = source.randrange(10 ** source.randint(0, decimals))
    if source.random() < 1 / 8:
        after = source.choice(
            (0, 1, 5 * 10 ** (decimals - 1), 5 * 10 ** (decimals - 1) - 1, 10**decimals - 1)
        )
    return Decimal(before) + Decimal(after).scaleb(-decimals, money.MONEY_CONTEXT)


def numerics(name: str) -> BindParameter[Any]:
    kind: Any = ARRAY(Numeric())
    return bindparam(name, type_=kind)


def rows_of(*names: str) -> TableValuedAlias:
    """The arrays bound as *names*, side by side, as a table."""
    return func.unnest(*map(numerics, names)).table_valued(*names).render_derived()


@pytest.fixture
def pairs() -> tuple[list[Decimal], list[Decimal]]:
    source = random.Random(20261121)
    with money.exact():
        dividends = [source.choice((1, -1)) * amount(source, COST_DECIMALS) for _ in range(PAIRS)]
        divisors = [max(amount(source, AMOUNT_DECIMALS), Decimal("1e-18")) for _ in range(PAIRS)]
        # Exact halves, which half up and half even round apart.
        for place in range(0, PAIRS, 50):
            divisors[place] = Decimal(2)
            dividends[place] = Decimal(source.randrange(10**30) * 2 + 1).scaleb(-18)
    return dividends, divisors


@pytest.mark.parametrize("name", ["average_price_rounded", "ratio_rounded"])
async def test_a_quotient_is_rounded_alike(
    uow: UnitOfWork, pairs: tuple[list[Decimal], list[Decimal]], name: str
) -> None:
    rounded: Callable[[Decimal, Decimal], Decimal] = getattr(money, name)
    dividends, divisors = pairs
    pair = rows_of("dividends", "divisors")
    statement = select(getattr(func, name)(pair.c.dividends, pair.c.divisors, type_=Numeric()))
    by_server = await uow.session.scalars(statement, {"dividends": dividends, "divisors": divisors})
    for dividend, divisor, quotient in zip(dividends, divisors, by_server, strict=True):
        assert rounded(dividend, divisor) == quotient, (dividend, divisor)


async def test_a_share_of_a_cost_is_rounded_alike(
    uow: UnitOfWork, pairs: tuple[list[Decimal], list[Decimal]]
) -> None:
    costs, wholes = pairs
    source = random.Random(1)
    with money.exact():
        parts = [
            whole if source.random() < 0.1 else min(whole, amount(source, AMOUNT_DECIMALS))
            for whole in wholes
        ]
    row = rows_of("costs", "parts", "wholes")
    statement = select(func.cost_share_rounded(row.c.costs, row.c.parts, row.c.wholes, type_=Numeric()))
    by_server = await uow.session.scalars(statement, {"costs": costs, "parts": parts, "wholes": wholes})
    for cost, part, whole, share in zip(costs, parts, wholes, by_server, strict=True):
        assert money.cost_share_rounded(cost, part, whole) == share, (cost, part, whole)


async def test_a_product_of_three_is_rounded_alike(uow: UnitOfWork) -> None:
    source = random.Random(2)
    with money.exact():
        products = [
            source.choice((1, -1))
            * amount(source, 18, digits=9)
            * amount(source, 18, digits=5)
            * amount(source, 9)
            for _ in range(PAIRS)
        ]
    product = func.unnest(numerics("products")).column_valued("product")
    statement = select(func.cost_rounded(product, type_=Numeric()))
    for exact, rounded in zip(
        products, await uow.session.scalars(statement, {"products": products}), strict=True
    ):
        assert money.cost_rounded(exact) == rounded, exact


async def test_neither_divides_by_zero(uow: UnitOfWork) -> None:
    with pytest.raises(ZeroDivisionError):
        money.average_price_rounded(Decimal(1), Decimal(0))
    with pytest.raises(PersistenceError):
        await uow.session.scalar(select(func.average_price_rounded(literal_column("1"), literal_column("0"))))
