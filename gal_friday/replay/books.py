"""What a fill does: to its order, the position, the trade and the equity, exactly."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from gal_friday.dal.models import (
    Fill,
    LiquidityType,
    Order,
    OrderStatus,
    PortfolioState,
    Position,
    PositionSide,
    Side,
    Trade,
    TradeStatus,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.money import ZERO, amount_rounded, average_price_rounded, canonical, exact, ratio_rounded
from gal_friday.replay.executions import Execution, put_in, take_out
from gal_friday.replay.run import Run


@dataclass(slots=True)
class Books:
    """The open order, position and trade of a run, if any, and its equity, as one transaction sees them."""

    uow: UnitOfWork
    run: Run
    portfolio: PortfolioState
    order: Order | None = None
    position: Position | None = None
    trade: Trade | None = None

    @classmethod
    async def open(cls, uow: UnitOfWork, run: Run) -> Self:
        """Read them; a second process replaying the same run waits here until this transaction ends."""
        portfolio = await uow.portfolio_states.get_for_update(run.quote, account_id=run.name)
        orders = await uow.orders.get_open_orders_for_pair(run.trading_pair, account_id=run.name)
        position = await uow.positions.get_position_by_pair(run.trading_pair, account_id=run.name)
        trades = await uow.trades.find_open_trades(run.name, account_id=run.name)
        return cls(
            uow, run, portfolio, orders[0] if orders else None, position, trades[0] if trades else None
        )

    def unrealized_pnl(self, price: Decimal) -> Decimal:
        """What the open position would bring at *price*, before commission; quote currency."""
        if self.position is None:
            return ZERO
        with exact():
            return amount_rounded(price * self.position.quantity - self.position.cost)

    def equity(self, price: Decimal) -> Decimal:
        """What the account is worth with the position valued at *price*; quote currency."""
        with exact():
            return self.portfolio.closed_equity + self.unrealized_pnl(price)

    async def apply(self, execution: Execution) -> None:
        """Book an execution of the open order."""
        order, realized = execution.order, None
        if order.side is Side.BUY:
            position, trade = await self._enter(execution)
        else:
            assert self.position is not None, "sold without a position"
            assert self.trade is not None, "sold without a trade"
            position, trade = self.position, self.trade
            realized = take_out(position, execution)
        await self.uow.fills.add(self._fill(execution, position, trade, realized))
        order.position_id, order.trade_id = position.id, trade.id
        await self._advance(execution)
        self._settle(realized or ZERO, execution.commission)
        if order.side is Side.SELL:
            await self._leave(execution, position, trade)

    async def _enter(self, execution: Execution) -> tuple[Position, Trade]:
        order = execution.order
        if self.position is None:
            self.position = Position(
                account_id=self.run.name,
                strategy_id=self.run.name,
                exchange=order.exchange,
                trading_pair=order.trading_pair,
                quote_currency=self.run.quote,
                side=PositionSide.LONG,
                quantity=ZERO,
                cost=ZERO,
                total_commission=ZERO,
                last_applied_seq=0,
                opened_at=execution.at,
            )
            put_in(self.position, execution)
            await self.uow.positions.add(self.position)
        else:
            put_in(self.position, execution)
        entry_price = self.position.entry_price
        assert entry_price is not None, "a position with a quantity has an entry price"
        if self.trade is None:
            self.trade = await self.uow.trades.add(
                Trade(
                    account_id=self.run.name,
                    signal_id=order.signal_id,
                    strategy_id=self.run.name,
                    position_id=self.position.id,
                    entry_order_id=order.id,
                    exchange=order.exchange,
                    trading_pair=order.trading_pair,
                    quote_currency=self.run.quote,
                    side=order.side,
                    entry_timestamp=execution.at,
                    quantity=execution.quantity,
                    average_entry_price=entry_price,
                    total_commission=execution.commission,
                    config_hash=self.run.config_hash(),
                )
            )
        else:
            self.trade.quantity = self.position.quantity
            self.trade.average_entry_price = entry_price
            self.trade.total_commission = self.position.total_commission
        return self.position, self.trade

    def _fill(self, execution: Execution, position: Position, trade: Trade, realized: Decimal | None) -> Fill:
        order = execution.order
        return Fill(
            account_id=self.run.name,
            order_id=order.id,
            position_id=position.id,
            trade_id=trade.id,
            fill_id=f"{order.exchange_order_id}-{execution.number}",
            exchange_order_id=order.exchange_order_id,
            exchange=order.exchange,
            trading_pair=order.trading_pair,
            applied_seq=position.last_applied_seq,
            side=order.side,
            quantity_filled=execution.quantity,
            fill_price=execution.price,
            quote_currency=self.run.quote,
            commission=execution.commission,
            commission_asset=self.run.quote,
            commission_rate=execution.commission_rate,
            commission_quote=execution.commission,
            realized_pnl=realized,
            liquidity_type=LiquidityType.TAKER,
            filled_at=execution.at,
            received_at=execution.at,
            applied_at=execution.at,
        )

    async def _advance(self, execution: Execution) -> None:
        order = execution.order
        with exact():
            filled, cost = order.filled_quantity + execution.quantity, order.cost + execution.cost
            order.commission_quote += execution.commission
        order.commission_by_asset = {self.run.quote: canonical(order.commission_quote)}
        done = filled == order.quantity
        await self.uow.orders.transition(
            order.id,
            OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED,
            at=execution.at,
            filled_quantity=filled,
            cost=cost,
        )
        if done:
            self.order = None

    def _settle(self, realized: Decimal, commission: Decimal) -> None:
        with exact():
            self.portfolio.closed_equity += realized - commission
        self.portfolio.peak_equity = max(self.portfolio.peak_equity or ZERO, self.portfolio.closed_equity)

    async def _leave(self, execution: Execution, position: Position, trade: Trade) -> None:
        order = execution.order
        if position.quantity:
            with exact():
                trade.filled_quantity += execution.quantity
                trade.total_commission += execution.commission
            trade.status = TradeStatus.PARTIALLY_FILLED
            return
        await self.uow.positions.close_position(position.id, closed_at=execution.at)
        await self.uow.trades.close_trade(
            trade.id,
            exit_price=average_price_rounded(order.cost, order.filled_quantity),
            exit_reason="averages crossed downwards",
            exit_timestamp=execution.at,
            commission=execution.commission,
            exit_order_id=order.id,
        )
        await self._count(trade)
        self.position = self.trade = None

    async def _count(self, trade: Trade) -> None:
        assert trade.realized_pnl is not None, "a closed trade has its profit and loss"
        strategy = await self.uow.strategies.one(self.run.name)
        strategy.last_executed_at = trade.exit_timestamp
        peak = self.portfolio.peak_equity or ZERO
        with exact():
            drawdown = ratio_rounded(peak - self.portfolio.closed_equity, peak) if peak else ZERO
            total_pnl = strategy.total_pnl + trade.realized_pnl
        await self.uow.strategies.update_performance_metrics(
            self.run.name,
            total_trades=strategy.total_trades + 1,
            winning_trades=strategy.winning_trades + (trade.realized_pnl > 0),
            total_pnl=total_pnl,
            max_drawdown=max(strategy.max_drawdown, drawdown),
        )
