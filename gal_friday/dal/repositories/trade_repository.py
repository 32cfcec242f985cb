"""Trades, open and closed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from gal_friday.dal.base import BaseRepository, Page, one_statement
from gal_friday.dal.criteria import given, within
from gal_friday.dal.models.enums import Side, TradeStatus
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.trades import ArchivedTrade, Trade
from gal_friday.dal.models.types import Money
from gal_friday.dal.repositories.archived_trade_repository import ArchivedTradeRepository
from gal_friday.errors import IllegalTransition
from gal_friday.money import ZERO, amount_rounded, exact, ratio_rounded

_MONEY = Money()
_OPEN = (TradeStatus.OPEN, TradeStatus.PARTIALLY_FILLED)


@dataclass(frozen=True, slots=True)
class TradeHistory:
    """Trades, newest entry first, and the cursor that asks for the ones after them (None: there are none).

    `total` counts all that fit, not only these; None unless it was asked for.
    """

    trades: Sequence[Trade | ArchivedTrade]
    next: tuple[datetime, UUID] | None
    total: int | None


class TradeRepository(BaseRepository[Trade]):
    model = Trade

    @one_statement
    async def find_open_trades(
        self, strategy_id: str | None = None, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> Sequence[Trade]:
        """Trades that are not finished, newest entry first."""
        return await self.find_all(
            Trade.account_id == account_id,
            Trade.status.in_(_OPEN),
            *given((Trade.strategy_id, strategy_id)),
            order_by=Trade.entry_timestamp.desc(),
        )

    async def close_trade(
        self,
        trade_id: UUID,
        *,
        exit_price: Decimal,
        exit_reason: str,
        exit_timestamp: datetime | None = None,
        commission: Decimal = ZERO,
        exit_order_id: UUID | None = None,
        exit_signal: dict[str, Any] | None = None,
        exit_tag: str | None = None,
    ) -> Trade:
        """Close a trade at *exit_price*, the average of its exit fills, and settle its profit and loss.

        *commission* of the exit, in quote currency, is added to that of the entry. Profit and loss is exit
        value - entry value - commission, computed exactly and rounded once to 18 decimals; its percentage is
        of the entry value, to 8 decimals. *exit_timestamp* is now unless given.

        Raises NotFound, IllegalTransition for a trade that is not open, InvalidValue, StaleWrite.
        """
        trade = await self.one(trade_id)
        if trade.status not in _OPEN:
            raise IllegalTransition(trade=trade_id, source=str(trade.status), target=str(TradeStatus.CLOSED))
        quantity, entry_price = _MONEY.accept(trade.quantity), _MONEY.accept(trade.average_entry_price)
        with exact():
            entry_value = entry_price * quantity
            gain = _MONEY.accept(exit_price) * quantity - entry_value
            total_commission = trade.total_commission + _MONEY.accept(commission)
            profit = (gain if trade.side == Side.BUY else -gain) - total_commission
            percentage = ratio_rounded(profit * 100, entry_value) if entry_value else None
        trade.status = TradeStatus.CLOSED
        trade.filled_quantity = trade.quantity
        trade.average_exit_price = exit_price
        trade.exit_timestamp = exit_timestamp or datetime.now(UTC)
        trade.exit_reason = exit_reason
        trade.total_commission = total_commission
        trade.realized_pnl = amount_rounded(profit)
        trade.realized_pnl_pct = percentage
        if exit_order_id is not None:
            trade.exit_order_id = exit_order_id
        if exit_signal is not None:
            trade.exit_signal = exit_signal
        if exit_tag is not None:
            trade.exit_tag = exit_tag
        return await self.update(trade)

    async def get_trade_history(
        self,
        *,
        strategy_id: str | None = None,
        trading_pair: str | None = None,
        status: TradeStatus | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        after: tuple[datetime, UUID] | None = None,
        limit: int = 50,
        with_total: bool = False,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> TradeHistory:
        """At most *limit* trades, archived ones too, entered from *start* up to, not including, *end*.

        *after* is the `next` of the page before. *with_total* counts all trades that fit, which scans them.
        """
        archive = ArchivedTradeRepository(self._session)
        recent, archived = (
            [
                table.account_id == account_id,
                *given(
                    (table.strategy_id, strategy_id),
                    (table.trading_pair, trading_pair),
                    (table.status, status),
                ),
                *within(table.entry_timestamp, start, end),
            ]
            for table in (Trade, ArchivedTrade)
        )
        pages: list[Page[Trade] | Page[ArchivedTrade]] = [
            await self.page(*recent, order_by=Trade.entry_timestamp.desc(), after=after, limit=limit)
        ]
        if (
            status not in _OPEN
        ):  # what is open is in nobody's way: looking for it would read the whole archive
            pages.append(
                await archive.page(
                    *archived, order_by=ArchivedTrade.entry_timestamp.desc(), after=after, limit=limit
                )
            )
        merged: list[Trade | ArchivedTrade] = sorted(
            (trade for page in pages for trade in page.items), key=_place, reverse=True
        )
        more = len(merged) > limit or any(page.next for page in pages)
        total = await self.count(*recent) + await archive.count(*archived) if with_total else None
        return TradeHistory(merged[:limit], _place(merged[limit - 1]) if more else None, total)


def _place(trade: Trade | ArchivedTrade) -> tuple[datetime, UUID]:
    return trade.entry_timestamp, trade.id
