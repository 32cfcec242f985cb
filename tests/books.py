"""Whether the stored books are what the stored facts lead to, computed apart."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from gal_friday.dal.models import Fill, Order, PortfolioState, Position, PositionSide, Trade
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.money import ZERO, average_price_rounded, canonical, exact
from gal_friday.state.books import PositionBook

Compare = Callable[[str, Any, Any], None]

_OF_A_POSITION = (
    *("quantity", "cost", "entry_price", "realized_pnl", "total_commission"),
    *("last_applied_seq", "opened_at", "closed_at"),
)
_OF_A_TRADE = (
    *("side", "status", "quantity", "entry_value", "filled_quantity", "exit_value", "total_commission"),
    *("realized_pnl", "realized_pnl_pct", "average_entry_price", "average_exit_price"),
    *("entry_timestamp", "exit_timestamp"),
)


async def unbalanced(uow: UnitOfWork, account_id: str) -> list[str]:
    """Each stored figure that is not what the account's fills and cash flows make it, in words."""
    problems: list[str] = []

    def compare(what: str, stored: Any, computed: Any) -> None:
        if stored != computed:
            problems.append(f"{what}: {stored} is stored, {computed} follows from the fills")

    equity: dict[str, Decimal] = defaultdict(lambda: ZERO, await uow.cash_flows.totals(account_id=account_id))
    for position in await uow.positions.find_all(Position.account_id == account_id):
        fills = await uow.fills.of_position(position.id)
        book = PositionBook()
        for number, fill in enumerate(fills, 1):
            compare(f"{fill} applied_seq", fill.applied_seq, number)
            compare(f"{fill} realized_pnl", fill.realized_pnl, book.apply(fill))
            _settle(equity, fill)
        for name in _OF_A_POSITION:
            compare(f"{position} {name}", getattr(position, name), getattr(book, name))
        if book.side is not None:
            compare(f"{position} side", position.side, book.side)
        multipliers = {fill.contract_multiplier for fill in fills}
        if len(multipliers) == 1:  # else what was paid for a unit depends on when
            compare(f"{position} paid in all", _paid(position, *multipliers), _price_of(fills))
        await _compare_trades(uow, position, book, compare)
    for order in await uow.orders.find_all(Order.account_id == account_id):
        await _compare_order(uow, order, compare)
    for state in await uow.portfolio_states.find_all(PortfolioState.account_id == account_id):
        compare(f"{state} closed_equity", state.closed_equity, equity.pop(state.currency, ZERO))
    compare("equity without a row", {name: value for name, value in equity.items() if value}, {})
    return problems


def _paid(position: Position, multiplier: Decimal) -> Decimal:
    """What the position has cost or brought by now, whatever the order of its fills was."""
    with exact():
        owed = position.cost if position.side is PositionSide.SHORT else -position.cost
        return position.realized_pnl + owed * multiplier


def _price_of(fills: Iterable[Fill]) -> Decimal:
    with exact():
        return sum(
            (-(fill.net_quantity or ZERO) * fill.fill_price * fill.contract_multiplier for fill in fills),
            ZERO,
        )


def _settle(equity: dict[str, Decimal], fill: Fill) -> None:
    with exact():
        if fill.commission_quote is None:
            equity[fill.commission_asset] -= fill.commission
        equity[fill.quote_currency] += (fill.realized_pnl or ZERO) - (fill.commission_quote or ZERO)


async def _compare_trades(uow: UnitOfWork, position: Position, book: PositionBook, compare: Compare) -> None:
    trades = await uow.trades.find_all(Trade.position_id == position.id, order_by=Trade.id)
    compare(f"{position} trades", len(trades), len(book.trades))
    for trade, computed in zip(trades, book.trades, strict=False):
        for name in _OF_A_TRADE:
            compare(f"{trade} {name}", getattr(trade, name), getattr(computed, name))


async def _compare_order(uow: UnitOfWork, order: Order, compare: Compare) -> None:
    fills = await uow.fills.of_order(order.id)
    commission: dict[str, Decimal] = defaultdict(lambda: ZERO)
    with exact():
        filled = sum((fill.quantity_filled for fill in fills), ZERO)
        cost = sum((fill.quantity_filled * fill.fill_price for fill in fills), ZERO)
        for fill in fills:
            if fill.commission:
                commission[fill.commission_asset] += fill.commission
        in_quote = sum((fill.commission_quote or ZERO for fill in fills), ZERO)
    compare(f"{order} filled_quantity", order.filled_quantity, filled)
    compare(f"{order} cost", order.cost, cost)
    average = average_price_rounded(cost, filled) if filled else None
    compare(f"{order} average_fill_price", order.average_fill_price, average)
    compare(f"{order} commission_quote", order.commission_quote, in_quote)
    in_words = {asset: format(canonical(amount), "f") for asset, amount in commission.items()}
    compare(f"{order} commission_by_asset", order.commission_by_asset, in_words)
