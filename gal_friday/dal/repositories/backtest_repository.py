"""Strategies run over past data."""

from collections.abc import Sequence

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import given
from gal_friday.dal.models.enums import BacktestStatus
from gal_friday.dal.models.research import Backtest


class BacktestRepository(BaseRepository[Backtest]):
    model = Backtest

    @one_statement
    async def find_identical(
        self, *, config_hash: str, code_version: str, data_fingerprint: str
    ) -> Backtest | None:
        """The last completed run of the same configuration, code and data, or None: no need to run again."""
        found = await self.find_all(
            Backtest.config_hash == config_hash,
            Backtest.code_version == code_version,
            Backtest.data_fingerprint == data_fingerprint,
            Backtest.status == BacktestStatus.COMPLETED,
            order_by=Backtest.created_at.desc(),
            limit=1,
        )
        return found[0] if found else None

    @one_statement
    async def top(
        self, limit: int = 10, *, strategy_id: str | None = None, trading_pair: str | None = None
    ) -> Sequence[Backtest]:
        """Completed runs that have a Sharpe ratio, the best first, equal ones by total return."""
        return await self.find_all(
            Backtest.status == BacktestStatus.COMPLETED,
            Backtest.sharpe_ratio.is_not(None),
            Backtest.total_return.is_not(None),
            *given((Backtest.strategy_id, strategy_id), (Backtest.trading_pair, trading_pair)),
            order_by=[Backtest.sharpe_ratio.desc(), Backtest.total_return.desc()],
            limit=limit,
        )
