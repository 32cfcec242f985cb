"""PortfolioManager: what an account is worth, how far below its peaks, and whether the exchange agrees."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gal_friday.dal.models import DEFAULT_ACCOUNT_ID, PortfolioSnapshot, PositionMark
from gal_friday.dal.models.types import UtcDateTime
from gal_friday.dal.repositories.position_mark_repository import PairPrices
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.services.balances import BalanceComparison, compare_balances
from gal_friday.services.drawdowns import Drawdowns, measure_drawdowns
from gal_friday.services.equity import Equity, equity_by_currency, in_one_currency
from gal_friday.services.rates import Rates
from gal_friday.services.snapshots import make_snapshot


class PortfolioManager:
    """The portfolio of one account; it keeps nothing itself, so any number may serve the same account.

    Every method works in the transaction of the unit of work given. *rates* are units of the reporting
    currency for one unit of another. Where amounts of several currencies are to be one and a rate is not
    given, MissingRate names the currency; nothing is guessed. Locks are taken on marks, then on
    portfolio_state: in a transaction of one's own call `mark` first.
    """

    def __init__(self, account_id: str = DEFAULT_ACCOUNT_ID) -> None:
        self.account_id = account_id

    async def mark(
        self, uow: UnitOfWork, prices: PairPrices, *, at: datetime | None = None
    ) -> Sequence[PositionMark]:
        """Mark every open position in the pairs given, in one statement; gives back the marks that changed.

        *prices* are by pair, or by (exchange, pair), which goes before the pair alone. *at* is when they were
        seen (default: now); a price older than a position's last one changes nothing. Pairs of which nothing
        is held change nothing. Raises InvalidValue.
        """
        return await uow.position_marks.mark_pairs(
            prices, marked_at=at or datetime.now(UTC), account_id=self.account_id
        )

    async def equity(
        self,
        uow: UnitOfWork,
        *,
        currency: str | None = None,
        rates: Mapping[str, Decimal] | None = None,
        strategy_id: str | None = None,
    ) -> Equity:
        """Equity by currency, and its total in *currency* (default: the account's reporting currency).

        Read by one statement, so that no fill is half in it. With a *strategy_id*, the equity the account
        would have had it traded that strategy alone. Raises NotFound for an unknown account, MissingRate
        where *rates* are given and lack one.
        """
        equities = await equity_by_currency(uow, self.account_id, strategy_id)
        return in_one_currency(equities, currency or await self._reporting_currency(uow), rates)

    async def update_peaks(self, uow: UnitOfWork) -> Equity:
        """Let portfolio_state.peak_equity of each currency be the highest equity so far; gives back equity.

        A peak never goes down, however many update it at once.
        """
        equity = await self.equity(uow)
        amounts = {name: each.equity for name, each in equity.by_currency.items()}
        await uow.portfolio_states.raise_peaks(amounts, account_id=self.account_id)
        return equity

    async def drawdowns(
        self,
        uow: UnitOfWork,
        *,
        at: datetime | None = None,
        currency: str | None = None,
        rates: Mapping[str, Decimal] | None = None,
        strategy_id: str | None = None,
    ) -> Drawdowns:
        """Losses from the peaks of day, week and all time, by the snapshots taken so far and equity now.

        *at* is the time that counts as now. Raises as `equity` does, and MissingRate without rates as well.
        """
        equity = await self.equity(uow, currency=currency, rates=rates or {}, strategy_id=strategy_id)
        return await measure_drawdowns(
            uow,
            equity,
            Rates(equity.currency, rates),
            at=_utc(uow, at),
            account_id=self.account_id,
            strategy_id=strategy_id,
        )

    async def snapshot(
        self,
        uow: UnitOfWork,
        *,
        at: datetime | None = None,
        currency: str | None = None,
        rates: Mapping[str, Decimal] | None = None,
        strategy_id: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> PortfolioSnapshot:
        """Store how the account, or the strategy of it, stands as of *at* (default: now), and raise peaks.

        There is one for an account, strategy and instant: where it is there already it is given back as it
        is. Snapshots of an account wait for each other, as each goes on from the one before. *extra* is for
        whatever else is to be remembered. Raises InvalidReference for an unknown strategy, and as `drawdowns`
        does.
        """
        moment = _utc(uow, at)
        await uow.portfolio_states.lock_all(self.account_id)
        currency = currency or await self._reporting_currency(uow)
        equities = await equity_by_currency(uow, self.account_id, strategy_id)
        equity = in_one_currency(equities, currency, rates or {})
        used = Rates(currency, rates)
        drawdowns = await measure_drawdowns(
            uow, equity, used, at=moment, account_id=self.account_id, strategy_id=strategy_id
        )
        made = await make_snapshot(
            uow,
            equity,
            drawdowns,
            used,
            at=moment,
            account_id=self.account_id,
            strategy_id=strategy_id,
            extra=extra or {},
        )
        stored = await uow.snapshots.add_once(made)
        if stored is None:
            stored = await uow.snapshots.latest(
                until=moment, strategy_id=strategy_id, account_id=self.account_id
            )
            assert stored is not None
        if strategy_id is None:
            amounts = {name: each.equity for name, each in equities.items()}
            await uow.portfolio_states.raise_peaks(amounts, account_id=self.account_id)
        return stored

    async def compare_balances(
        self, uow: UnitOfWork, actual: Mapping[str, Decimal]
    ) -> Sequence[BalanceComparison]:
        """What the exchange says the account holds beside what its fills and cash flows add up to.

        *actual* is by currency, free and reserved together; a currency missing in it is zero. Nothing is
        repaired. See `gal_friday.services.balances.compare_balances` for what is expected. Reads every fill.
        """
        return await compare_balances(uow, actual, account_id=self.account_id)

    async def _reporting_currency(self, uow: UnitOfWork) -> str:
        return (await uow.accounts.one(self.account_id)).reporting_currency


#: The name older documents use.
PortfolioStateManager = PortfolioManager


def _utc(uow: UnitOfWork, at: datetime | None) -> datetime:
    moment = UtcDateTime().process_bind_param(at or datetime.now(UTC), uow.session.get_bind().dialect)
    assert moment is not None
    return moment
