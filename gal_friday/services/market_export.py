"""Candles and trades of the database written to a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gal_friday.adapters.market_files.content import Format, Kind
from gal_friday.adapters.market_files.writing import written
from gal_friday.dal.criteria import Criterion, given, within
from gal_friday.dal.models import Base, Candle, MarketTrade
from gal_friday.database import Database

_ROWS_PER_BATCH = 8_192


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows: from *start* up to, not including, *end*; None narrows nothing down."""

    exchange: str | None = None
    trading_pair: str | None = None
    timeframe: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    def criteria(self, kind: Kind) -> Sequence[Criterion]:
        """The selection as filters of the table of *kind*; trades have no timeframe."""
        if kind is Kind.TRADES:
            of = given((MarketTrade.exchange, self.exchange), (MarketTrade.trading_pair, self.trading_pair))
            return [*of, *within(MarketTrade.traded_at, self.start, self.end)]
        of = given(
            (Candle.exchange, self.exchange),
            (Candle.trading_pair, self.trading_pair),
            (Candle.timeframe, self.timeframe),
        )
        return [*of, *within(Candle.timestamp, self.start, self.end)]


async def export_file(
    database: Database,
    path: Path,
    kind: Kind,
    form: Format,
    selection: Selection,
    *,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write what is stored of *selection*, by series and time; gives back how many rows there were.

    One snapshot of the database, fetched in parts: memory stays flat. *path* is there when all of it is
    written. *progress* is told how many rows have been. Raises as `written` does.
    """
    count = 0
    with written(path, kind, form) as write:
        async with database.transaction(actor="export", read_only=True, snapshot=True) as uow:
            repository: Any = uow.market_data if kind is Kind.CANDLES else uow.market_trades
            batch: list[Base] = []
            async for row in repository.stream(*selection.criteria(kind), batch_size=_ROWS_PER_BATCH):
                batch.append(row)
                if len(batch) == _ROWS_PER_BATCH:
                    write(batch)
                    count += len(batch)
                    batch.clear()
                    if progress is not None:
                        progress(count)
        write(batch)
    return count + len(batch)
