"""How each call is made: as a bot would, so that it may be made again when nobody knows what came of it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from gal_friday.dal.execution import FillOutcome, FillResult
from gal_friday.dal.models import (
    EntryType,
    Fill,
    Order,
    OrderType,
    PortfolioPosition,
    PyramidingState,
    ReportSource,
    RiskDecision,
    RiskVerdict,
    Signal,
    SignalLog,
    SignalStatus,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.services import ExecutionHandler
from gal_friday.state import DatabaseStateManager, StateTransaction
from tests.crash.lifecycles import Call, Lifecycle, OrderPlan, What
from tests.factories import EXCHANGE, a_portfolio_position, a_risk_decision, a_signal_log

#: What a call gives back, as far as the check can make use of it.
Answer = list[dict[str, Any]]
JOURNALED = FillResult.JOURNALED.value


class Caller:
    """Makes the calls of one account."""

    def __init__(self, database: Database, account_id: str) -> None:
        self._database = database
        self._handler = ExecutionHandler(database)
        self._manager = DatabaseStateManager(database, account_id=account_id)

    async def make(self, plan: Lifecycle, call: Call) -> Answer:
        """Make *call*. Raises what it raises."""
        match call.what:
            case What.TAKE_SIGNAL:
                await self._take_signal(plan)
            case What.DECIDE:
                await self._decide(plan)
            case What.SAVE_ENTRY:
                await self._save_entry(plan)
            case What.MOVE_STOP:
                return await self._move_stop(plan)
            case What.SAVE_PORTFOLIO:
                await self._manager.retrying(lambda t: _save_portfolio(t, plan))
            case _:
                assert call.order is not None
                return await self._of_order(plan, call, call.order)
        return []

    async def _of_order(self, plan: Lifecycle, call: Call, order: OrderPlan) -> Answer:
        match call.what:
            case What.SUBMIT:
                await self._submit(plan, order)
            case What.ACKNOWLEDGE:
                told = await self._handler.acknowledged(
                    order.order_id, order.exchange_order_id, at=plan.at(1)
                )
                return [{"result": JOURNALED}] if told.is_journaled else []
            case What.REQUEST_CANCEL:
                await self._handler.cancel_requested(order.order_id, at=plan.at(20), reason="moved")
            case What.CANCELED:
                filled = sum(f.quantity for each in plan.calls for f in each.fills if each.order == order)
                told = await self._handler.canceled(
                    order.order_id, at=plan.at(21), filled_quantity=filled or None
                )
                return [{"result": JOURNALED}] if told.is_journaled else []
            case _:
                return answer_of(await self._fill(plan, call, order))
        return []

    async def _take_signal(self, plan: Lifecycle) -> None:
        async with self._manager.transaction() as t:
            await t.log_signal(_signal_log(plan))
            await t.uow.signals.claim(_signal(plan))

    async def _decide(self, plan: Lifecycle) -> None:
        async with self._database.transaction(actor="crash-bench") as uow:
            signal = await uow.signals.one(plan.signal_id)
            if signal.status is SignalStatus.PROPOSED:
                await uow.risk_decisions.add(_decision(plan))
                await uow.signals.approve(plan.signal_id, at=plan.at(0))

    async def _submit(self, plan: Lifecycle, order: OrderPlan) -> None:
        async def also(uow: UnitOfWork, stored: Order) -> None:
            value = {"order": stored.client_order_id}
            await uow.strategy_states.set_value(
                plan.strategy_id, order.client_order_id, value, account_id=plan.account_id
            )

        await self._handler.submit(_order(plan, order), also=also)

    async def _fill(self, plan: Lifecycle, call: Call, order: OrderPlan) -> Sequence[FillOutcome]:
        match call.what:
            case What.FILL:
                return await self._database.execution.apply_fills(_reports(plan, call, order))
            case What.FILL_AGAIN:
                again = _reports(plan, call, order, source=ReportSource.POLL, by_client_order_id=True)
                return await self._database.execution.apply_fills(again)
            case What.FILL_IN_UNIT_OF_WORK:
                return await self._fill_in_unit_of_work(plan, call, order)
        assert call.what is What.FILL_TWICE_AT_ONCE
        outcomes = await asyncio.gather(
            self._database.execution.apply_fills(_reports(plan, call, order)),
            self._database.execution.apply_fills(_reports(plan, call, order)),
            return_exceptions=True,  # both have ended before the call has
        )
        told: list[FillOutcome] = []
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            told += outcome
        return told

    async def _fill_in_unit_of_work(
        self, plan: Lifecycle, call: Call, order: OrderPlan
    ) -> Sequence[FillOutcome]:
        async with self._database.transaction() as uow:
            outcomes = await uow.execution.apply_fills(_reports(plan, call, order))
            for fill in call.fills:
                await uow.strategy_states.set_value(
                    plan.strategy_id, fill.fill_id, {"seen": True}, account_id=plan.account_id
                )
        return outcomes

    async def _save_entry(self, plan: Lifecycle) -> None:
        async with self._manager.transaction() as t:
            if await t.get_position(plan.key) is None:
                await t.save_position(_position(plan))
                await t.save_pyramiding_state(
                    PyramidingState(
                        instrument=plan.key,
                        base_position_id=plan.key,
                        pyramid_count=1,
                        last_pyramid_price=plan.price,
                    )
                )

    async def _move_stop(self, plan: Lifecycle) -> Answer:
        position = await self._manager.get_position(plan.key, refresh=True)
        assert position is not None, "the entry was saved"
        if position.current_stop != plan.price:
            position.current_stop = plan.price
            await self._manager.save_position(position)
        return [{"row_version": position.row_version}]


async def _save_portfolio(t: StateTransaction, plan: Lifecycle) -> None:
    state = await t.get_portfolio_state("USD")
    assert state is not None
    state.state = {**state.state, plan.key: "done"}
    await t.save_portfolio_state(state)


def answer_of(outcomes: Sequence[FillOutcome]) -> Answer:
    return [
        {
            "result": outcome.result.value,
            "fill": str(outcome.fill),
            "position_id": str(outcome.position_id),
            "trade_id": str(outcome.trade_id),
            "applied_seq": outcome.applied_seq,
            "realized_pnl": None if outcome.realized_pnl is None else str(outcome.realized_pnl),
        }
        for outcome in outcomes
    ]


def _signal_log(plan: Lifecycle) -> SignalLog:
    return a_signal_log(
        id=plan.id("signal log"),
        account_id=plan.account_id,
        instrument=plan.key,
        fingerprint=plan.fingerprint,
        price=plan.price,
        signal_timestamp=plan.at(0),
        signal_id=plan.signal_id,
    )


def _signal(plan: Lifecycle) -> Signal:
    return Signal(
        id=plan.signal_id,
        account_id=plan.account_id,
        strategy_id=plan.strategy_id,
        exchange=EXCHANGE,
        trading_pair=plan.pair,
        side=plan.side,
        entry_type=EntryType.LIMIT,
        proposed_entry_price=plan.price,
        fingerprint=plan.fingerprint,
    )


def _decision(plan: Lifecycle) -> RiskDecision:
    return a_risk_decision(
        id=plan.decision_id,
        account_id=plan.account_id,
        signal_id=plan.signal_id,
        decision=RiskVerdict.APPROVED,
        requested_quantity=plan.price,
        decided_by="crash-bench",
        decided_at=plan.at(0),
    )


def _order(plan: Lifecycle, order: OrderPlan) -> Order:
    return Order(
        id=order.order_id,
        account_id=plan.account_id,
        client_order_id=order.client_order_id,
        strategy_id=plan.strategy_id,
        signal_id=order.signal_id,
        parent_order_id=order.parent_order_id,
        exchange=EXCHANGE,
        trading_pair=plan.pair,
        side=order.side,
        order_type=OrderType.LIMIT,
        quantity=order.quantity,
        limit_price=order.limit_price,
    )


def _position(plan: Lifecycle) -> PortfolioPosition:
    return a_portfolio_position(
        position_id=plan.key, instrument=plan.key, currency="USD", entry_price=plan.price
    )


def _reports(
    plan: Lifecycle,
    call: Call,
    order: OrderPlan,
    *,
    source: ReportSource = ReportSource.STREAM,
    by_client_order_id: bool = False,
) -> list[Fill]:
    named = {"client_order_id": order.client_order_id} if by_client_order_id else {"order_id": order.order_id}
    return [
        Fill(
            account_id=plan.account_id,
            exchange=EXCHANGE,
            trading_pair=plan.pair,
            side=order.side,
            fill_id=fill.fill_id,
            quantity_filled=fill.quantity,
            fill_price=fill.price,
            commission=fill.commission,
            commission_asset="USD",
            filled_at=fill.filled_at,
            source=source,
            **named,
        )
        for fill in call.fills
    ]
