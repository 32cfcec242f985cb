"""Whether the books balance: everything fills and cash flows lead to, rebuilt from them and compared."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.state.differences import Difference
from gal_friday.state.equity_check import EquityCheck
from gal_friday.state.ledger import FillEntry
from gal_friday.state.link_check import dead_links, trades_without_position, unapplied_fills
from gal_friday.state.order_check import OrderCheck
from gal_friday.state.position_check import PositionCheck
from gal_friday.state.position_ledger import PositionLedger
from gal_friday.state.trade_check import TradeCheck

_REPORT_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class Verification:
    """How many rows were compared with what was rebuilt, and each value that was not equal."""

    positions: int
    trades: int
    fills: int
    cash_flows: int
    orders: int
    differences: Sequence[Difference]

    @property
    def is_balanced(self) -> bool:
        """Whether all that is stored is what fills and cash flows lead to."""
        return not self.differences


async def verify(
    uow: UnitOfWork, *, account_id: str | None = None, report: Callable[[int], None] | None = None
) -> Verification:
    """Rebuild positions, trades, orders and equity of *account_id* (default: of every account) and compare.

    They are made of nothing but fills and cash flows, in the order of applied_seq, by other code than applied
    them. To be run in `transaction(read_only=True, snapshot=True)`: trading goes on meanwhile, unseen.
    Memory does not grow with the number of fills. *report* is told now and then how many were booked.

    Raises NotFound for an unknown account, StatementTimeout where the server takes longer than
    `statement_timeout_seconds` to sort them.
    """
    if account_id is not None:
        await uow.accounts.one(account_id)
    await uow.flush()
    progress = _Progress(report or _to_nobody)
    session, equity, orders = uow.session, EquityCheck(), OrderCheck()
    found = [each async for each in _differences_of_positions(session, account_id, equity, progress)]
    progress.report(progress.fills)
    await equity.add_cash_flows(session, account_id)
    for rest in (
        equity.differences(session, account_id),
        orders.differences(session, account_id),
        unapplied_fills(session, account_id),
        trades_without_position(session, account_id),
        dead_links(session, account_id),
    ):
        found += [each async for each in rest]
    return Verification(
        positions=progress.positions,
        trades=progress.trades,
        fills=progress.fills,
        cash_flows=equity.cash_flows,
        orders=orders.orders,
        differences=found,
    )


async def _differences_of_positions(
    session: AsyncSession, account_id: str | None, equity: EquityCheck, progress: "_Progress"
) -> AsyncIterator[Difference]:
    async with PositionLedger(session, account_id) as ledger:
        async for position in ledger.positions:
            trades = await ledger.trades_of(position.id)
            check = PositionCheck(position, TradeCheck(trades))
            async with aclosing(ledger.entries_of(position.id)) as entries:
                async for entry in entries:
                    gain = check.take(entry)
                    if isinstance(entry, FillEntry):
                        equity.settle(entry, gain)
                        progress.count_fill()
            for difference in check.differences():
                yield difference
            progress.positions += 1
            progress.trades += len(trades)


@dataclass(slots=True)
class _Progress:
    """Rows compared so far."""

    report: Callable[[int], None]
    positions: int = 0
    trades: int = 0
    fills: int = 0

    def count_fill(self) -> None:
        self.fills += 1
        if self.fills % _REPORT_EVERY == 0:
            self.report(self.fills)


def _to_nobody(_fills: int) -> None:
    """Where no report is wanted."""
