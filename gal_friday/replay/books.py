"""What a run holds: its order, its position and its equity, as one transaction sees them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Self
from uuid import UUID

from gal_friday.dal.execution import FillResult
from gal_friday.dal.models import Fill, LiquidityType, Order, OrderStatus, PortfolioState, Position
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.money import ZERO, amount_rounded, exact, ratio_rounded
from gal_friday.replay.run import Run


@dataclass(slots=True)
class Books:
    """The open order and position of a run, if any, and its equity."""

    uow: UnitOfWork
    run: Run
    portfolio: PortfolioState
    order: Order | None = None
    position: Position | None = None

    @classmethod
    async def open(cls, uow: UnitOfWork, run: Run) -> Self:
        """Read them; a second process replaying the same run waits here until this transaction ends."""
        portfolio = await uow.portfolio_states.get_for_update(run.quote, account_id=run.name)
        orders = await uow.orders.get_open_orders_for_pair(run.trading_pair, account_id=run.name)
        position = await uow.positions.get_position_by_pair(run.trading_pair, account_id=run.name)
        return cls(uow, run, portfolio, orders[0] if orders else None, position)

    def unrealized_pnl(self, price: Decimal) -> Decimal:
        """What the open position would bring at *price*, before commission; quote currency, 18 decimals."""
        if self.position is None:
            return ZERO
        with exact():
            return amount_rounded(price * self.position.quantity - self.position.cost)

    def equity(self, price: Decimal) -> Decimal:
        """What the account is worth with the position valued at *price*; quote currency, 18 decimals."""
        with exact():
            return amount_rounded(self.portfolio.closed_equity + self.unrealized_pnl(price))

    async def fill(self, number: int, quantity: Decimal, price: Decimal, at: datetime) -> None:
        """Let the *number*th execution of the open order take effect: *quantity* base units at *price*."""
        order = self.order
        assert order is not None, "filled without an order"
        with exact():
            commission = amount_rounded(quantity * price * self.run.rules.commission_rate)
        outcome = await self.uow.execution.apply_fill(
            Fill(
                account_id=self.run.name,
                order_id=order.id,
                fill_id=f"{order.exchange_order_id}-{number}",
                exchange_order_id=order.exchange_order_id,
                exchange=order.exchange,
                trading_pair=order.trading_pair,
                side=order.side,
                quantity_filled=quantity,
                fill_price=price,
                commission=commission,
                commission_asset=self.run.quote,
                commission_rate=self.run.rules.commission_rate,
                liquidity_type=LiquidityType.TAKER,
                filled_at=at,
                received_at=at,
            )
        )
        assert outcome.result is FillResult.APPLIED, outcome
        assert outcome.position_id is not None, "a fill that was applied has its position"
        assert outcome.trade_id is not None, "a fill that was applied has its trade"
        self.position = await self.uow.positions.one(outcome.position_id)
        if order.status is OrderStatus.FILLED:
            self.order = None
        if self.position.closed_at is not None:
            self.position = None
            await self._count(outcome.trade_id)

    async def _count(self, trade_id: UUID) -> None:
        """What a trade that ended adds to the totals of its strategy."""
        trade = await self.uow.trades.one(trade_id)
        assert trade.realized_pnl is not None, "a closed trade has its profit and loss"
        closed_equity = self.portfolio.closed_equity
        peak = max(self.portfolio.peak_equity or ZERO, closed_equity)
        strategy = await self.uow.strategies.one(self.run.name)
        strategy.last_executed_at = trade.exit_timestamp
        with exact():
            drawdown = ratio_rounded(peak - closed_equity, peak) if peak else ZERO
            total_pnl = strategy.total_pnl + trade.realized_pnl
        await self.uow.strategies.update_performance_metrics(
            self.run.name,
            total_trades=strategy.total_trades + 1,
            winning_trades=strategy.winning_trades + (trade.realized_pnl > 0),
            total_pnl=total_pnl,
            max_drawdown=max(strategy.max_drawdown, drawdown),
        )
