"""Currencies the exchange has more or less of than the books lead to."""

from collections.abc import Mapping
from decimal import Decimal

from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.services.balances import compare_balances
from gal_friday.services.reconciliation.judgement import differ, quantity_difference
from gal_friday.services.reconciliation.report import Difference, DifferenceKind, Subject


async def balance_differences(
    uow: UnitOfWork, actual: Mapping[str, Decimal], account_id: str
) -> list[Difference]:
    """Each currency in which cash flows and fills do not come to what there is, base holdings included."""
    return [
        quantity_difference(
            DifferenceKind.BALANCE, Subject(currency=each.currency), each.expected, each.actual
        )
        for each in await compare_balances(uow, actual, account_id=account_id)
        if differ(each.expected, each.actual)
    ]
