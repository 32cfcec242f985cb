"""The bot: what it does with a candle, all of it in the transaction it is given."""

import hashlib
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from gal_friday.adapters.candle_rows import CandleRow
from gal_friday.dal.models import (
    EntryType,
    Log,
    Order,
    OrderStatus,
    OrderType,
    PortfolioSnapshot,
    Position,
    RiskVerdict,
    Severity,
    Side,
    Signal,
)
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.money import ZERO, amount_rounded, canonical, exact, quantity_rounded_down, ratio_rounded
from gal_friday.replay.books import Books
from gal_friday.replay.progress import Progress
from gal_friday.replay.run import Run
from gal_friday.replay.strategy import Crossing
from gal_friday.services import RiskManager
from gal_friday.services.risk.checks import Check, CheckResult

_FIRST_PART = Decimal("0.6")  # of an order filled in two


class Bot:
    """Trades one run within one transaction.

    *progress* is where it stands; *logs* and *snapshots* are left to whoever ends the transaction to store.
    """

    def __init__(self, uow: UnitOfWork, run: Run, books: Books, progress: Progress) -> None:
        self.progress = progress
        self.logs: list[Log] = []
        self.snapshots: list[PortfolioSnapshot] = []
        self._uow = uow
        self._run = run
        self._books = books

    async def on_candle(self, candle: CandleRow) -> None:
        """Fill what was ordered before, look at the averages, order what follows from them."""
        before = self._begin_day(candle)
        had_position = self._books.position is not None
        if self._books.order is not None:
            await self._fill(self._books.order, candle)
        averages, crossing = self._run.strategy.after(before.averages, candle.close)
        if crossing is Crossing.UP:
            await self._buy(candle)
        elif crossing is Crossing.DOWN and self._books.position is not None:
            await self._sell(candle, self._books.position.quantity)
        if (had_position and self._books.position is None) or self._ends_hour(candle):
            self._take_snapshot(candle)
        self.progress = replace(self.progress, cursor=before.cursor + 1, averages=averages)

    def _begin_day(self, candle: CandleRow) -> Progress:
        day = candle.timestamp.date()
        if day != self.progress.day:
            closes = self.progress.averages.closes
            equity = self._books.equity(closes[-1]) if closes else self._books.portfolio.closed_equity
            self.progress = replace(self.progress, day=day, day_start_equity=equity)
        return self.progress

    def _ends_hour(self, candle: CandleRow) -> bool:
        end = self._run.closes_at(candle)
        return (end.date(), end.hour) != (candle.timestamp.date(), candle.timestamp.hour)

    async def _fill(self, order: Order, candle: CandleRow) -> None:
        """At the open; every third order in two parts, at the open and at the close."""
        assert order.quantity is not None, "the bot orders by quantity"
        begin, end = (candle.open, candle.timestamp), (candle.close, self._run.closes_at(candle))
        with exact():
            first = quantity_rounded_down(order.quantity * _FIRST_PART, Decimal(1))
            rest = order.quantity - first
        in_two = order.extra["candle"] % 3 == 0 and first
        parts = [(first, *begin), (rest, *end)] if in_two else [(order.quantity, *begin)]
        for number, (quantity, price, at) in enumerate(parts, 1):
            await self._books.fill(number, quantity, price, at)
        self.note(at, "ORDER", "order filled", order=order, fills=len(parts), quantity=order.quantity)

    async def _buy(self, candle: CandleRow) -> None:
        with exact():
            budget = max(self._books.equity(candle.close), ZERO) * self._run.rules.equity_fraction
        quantity = quantity_rounded_down(amount_rounded(budget), candle.close)
        if not quantity:
            at = self._run.closes_at(candle)
            self.note(at, "RISK", "the equity buys less than the smallest quantity", Severity.WARNING)
            return
        await self._act(candle, Side.BUY, quantity, _was_traded(candle))

    async def _sell(self, candle: CandleRow, quantity: Decimal) -> None:
        await self._act(candle, Side.SELL, quantity)

    async def _act(self, candle: CandleRow, side: Side, quantity: Decimal, *checks: Check) -> None:
        at = self._run.closes_at(candle)
        signal = await self._uow.signals.add(self._signal(candle, side))
        decision = await RiskManager(extra_checks=checks, decided_by="replay").decide(
            self._uow,
            signal,
            requested_quantity=quantity,
            reference_price=candle.close,
            at=at,
            config_hash=self._run.config_hash(),
        )
        if decision.decision is RiskVerdict.REJECTED:
            self.note(at, "RISK", "signal rejected", Severity.WARNING, signal=signal, rule=decision.rule)
            return
        assert decision.approved_quantity is not None, "what is approved has a quantity"
        self._books.order = await self._place(signal, decision.approved_quantity, at)

    def _signal(self, candle: CandleRow, side: Side) -> Signal:
        identity = (self._run.name, self._run.trading_pair, str(self.progress.cursor), side.value)
        return Signal(
            account_id=self._run.name,
            strategy_id=self._run.name,
            exchange=self._run.exchange,
            trading_pair=self._run.trading_pair,
            side=side,
            entry_type=EntryType.MARKET,
            proposed_entry_price=candle.close,
            fingerprint=hashlib.sha256("\n".join(identity).encode()).hexdigest(),
        )

    async def _place(self, signal: Signal, quantity: Decimal, at: datetime) -> Order:
        order = await self._uow.orders.add(
            Order(
                account_id=self._run.name,
                strategy_id=self._run.name,
                signal_id=signal.id,
                client_order_id=f"{self._run.name}-{self.progress.cursor}",
                exchange=self._run.exchange,
                trading_pair=self._run.trading_pair,
                side=signal.side,
                order_type=OrderType.MARKET,
                reduce_only=signal.side is Side.SELL,
                quantity=quantity,
                status_at=at,
                extra={
                    "candle": self.progress.cursor,
                    "config_hash": self._run.config_hash(),
                    "exit_reason": "averages crossed downwards",
                },
            )
        )
        await self._uow.signals.mark_executed(signal.id, at=at)
        await self._uow.orders.transition(
            order.id, OrderStatus.NEW, at=at, exchange_order_id=f"{order.client_order_id}-simulated"
        )
        self.note(at, "ORDER", "order placed", signal=signal, order=order, quantity=quantity)
        return order

    def _take_snapshot(self, candle: CandleRow) -> None:
        books, position = self._books, self._books.position
        equity, unrealized = books.equity(candle.close), books.unrealized_pnl(candle.close)
        closed_equity, capital = books.portfolio.closed_equity, books.portfolio.initial_capital
        cost = position.cost if position else ZERO
        with exact():
            exposure = amount_rounded(position.quantity * candle.close) if position else ZERO
            daily_pnl = equity - self.progress.day_start_equity
            peak = max(books.portfolio.peak_equity or ZERO, equity)
            self.snapshots.append(
                PortfolioSnapshot(
                    snapshot_timestamp=self._run.closes_at(candle),
                    account_id=self._run.name,
                    strategy_id=self._run.name,
                    currency=self._run.quote,
                    total_equity=equity,
                    available_balance=amount_rounded(closed_equity - cost),
                    unrealized_pnl=unrealized,
                    realized_pnl=amount_rounded(closed_equity - capital),
                    total_exposure=exposure,
                    total_exposure_pct=_percent(exposure, equity),
                    leverage=ratio_rounded(exposure, equity) if equity else ZERO,
                    daily_pnl=daily_pnl,
                    daily_pnl_pct=_percent(daily_pnl, equity),
                    total_drawdown_pct=_percent(peak - equity, peak),
                    open_orders_count=int(books.order is not None),
                    positions=[_described(position, exposure, unrealized)] if position else [],
                )
            )

    def note(
        self,
        at: datetime,
        category: str,
        message: str,
        level: Severity = Severity.INFO,
        *,
        signal: Signal | None = None,
        order: Order | None = None,
        **context: Any,
    ) -> None:
        """Log *message* as of *at*, with the rows concerned."""
        self.logs.append(
            Log(
                log_timestamp=at,
                source_module=__name__,
                log_level=level,
                category=category,
                message=message,
                trading_pair=self._run.trading_pair,
                strategy_id=self._run.name,
                signal_id=signal.id if signal else None,
                order_id=order.id if order else None,
                context={
                    name: canonical(value) if isinstance(value, Decimal) else value
                    for name, value in context.items()
                },
            )
        )


def _was_traded(candle: CandleRow) -> Check:
    """A check that anybody traded in *candle*: at such a price nobody may be there to sell."""
    found = CheckResult(
        "min_volume", ZERO, candle.volume, passed=candle.volume > 0, reason="nothing was traded in the candle"
    )
    return lambda _: found


def _percent(part: Decimal, whole: Decimal) -> Decimal:
    with exact():
        return ratio_rounded(part * 100, whole) if whole else ZERO


def _described(position: Position, value: Decimal, profit: Decimal) -> dict[str, Any]:
    return {
        "trading_pair": position.trading_pair,
        "quantity": canonical(position.quantity),
        "entry_price": canonical(position.entry_price or ZERO),
        "value": canonical(value),
        "unrealized_pnl": canonical(profit),
    }
