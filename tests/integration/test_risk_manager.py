from decimal import Decimal

from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.services import RiskManager
from tests.factories import (
    a_position,
    a_risk_limit,
    a_signal,
    a_strategy,
    an_instrument,
    an_order,
)


async def test_it_runs(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    await uow.risk_limits.add(
        a_risk_limit(max_notional=Decimal(1000), max_position_quantity=Decimal(3), max_daily_loss=Decimal(10))
    )
    await uow.instruments.add(an_instrument())
    await uow.orders.add(an_order(strategy))
    await uow.positions.add(a_position(strategy))
    signal = await uow.signals.add(a_signal(strategy))
    decision = await RiskManager().decide(
        uow, signal, requested_quantity=Decimal(1), reference_price=Decimal(100)
    )
    print(
        decision.decision,
        decision.checks,
        decision.limits,
        decision.portfolio,
        signal.status,
        decision.reason,
    )
