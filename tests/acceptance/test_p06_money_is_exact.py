"""P06: money is exact: what comes back is the Decimal that went in, or it was refused."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import column, select, values

from gal_friday.dal.models import Base
from gal_friday.dal.models.types import Cost, ExactNumeric, Json, Money, PlainText, Ratio
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import InvalidValue
from gal_friday.money import MONEY_CONTEXT, exact

QUICK = settings(
    max_examples=1_000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)


def fitting(kind: ExactNumeric) -> st.SearchStrategy[Decimal]:
    units = 10**kind.precision - 1
    return st.integers(min_value=-units, max_value=units).map(
        lambda unscaled: Decimal(unscaled).scaleb(-kind.scale, MONEY_CONTEXT)
    )


async def back_from_the_server(uow: UnitOfWork, kind: ExactNumeric, value: Any) -> Any:
    """*value* sent to the server as a row and read from it again."""
    row = values(column("amount", kind), name="sent").data([(value,)])
    return await uow.session.scalar(select(row.c.amount))


@pytest.mark.parametrize("kind", [Money(), Cost(), Ratio()], ids=repr)
@QUICK
@given(data=st.data())
async def test_what_fits_comes_back_as_it_was(
    uow: UnitOfWork, kind: ExactNumeric, data: st.DataObject
) -> None:
    value = data.draw(fitting(kind))
    stored = await back_from_the_server(uow, kind, value)
    assert isinstance(stored, Decimal)
    assert stored == value


@pytest.mark.parametrize("kind", [Money(), Cost(), Ratio()], ids=repr)
@QUICK
@given(data=st.data())
async def test_one_decimal_or_one_digit_more_is_refused(
    uow: UnitOfWork, kind: ExactNumeric, data: st.DataObject
) -> None:
    fits = data.draw(fitting(kind))
    with exact():
        too_fine = fits + Decimal(1).scaleb(-kind.scale - 1)
    too_large = Decimal(10) ** (kind.precision - kind.scale)
    for refused in (too_fine, too_large, -too_large):
        with pytest.raises(InvalidValue) as caught:
            await back_from_the_server(uow, kind, refused)
        assert caught.value.facts["value"] == refused


@pytest.mark.parametrize(
    "value",
    [
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        0.1,
        57.638,
        True,
        "1.5",
        b"1",
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", [Money(), Cost(), Ratio()], ids=repr)
async def test_what_is_no_exact_number_is_refused(uow: UnitOfWork, kind: ExactNumeric, value: object) -> None:
    with pytest.raises(InvalidValue):
        await back_from_the_server(uow, kind, value)


async def test_trailing_zeros_and_exponents_are_only_spelling(uow: UnitOfWork) -> None:
    for text in ("1.500000000000000000000", "1E+4", "-0", "0E-40", "1e-18", "57.638", "0.00000001"):
        assert await back_from_the_server(uow, Money(), Decimal(text)) == Decimal(text)


def test_no_column_keeps_money_in_another_type() -> None:
    suspicious = ("price", "amount", "quantity", "cost", "commission", "pnl", "equity", "capital", "balance")
    for each in Base.metadata.tables.values():
        for item in each.columns:
            if any(word in item.name for word in suspicious) and not item.name.endswith(("_pct", "_percent")):
                assert isinstance(item.type, ExactNumeric | Json | PlainText), item
