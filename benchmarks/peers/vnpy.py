"""vnpy_postgresql with its own tables of floats: it knows no others, and makes them itself.

It blocks, and names its server in a module, so one is measured at a time.
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from sqlalchemy import make_url

from benchmarks.harness.workbench import Workbench


@asynccontextmanager
async def opened(bench: Workbench) -> AsyncIterator[Any]:
    with patch.dict(os.environ, HOME=str(bench.directory)):  # where it would leave its settings
        from vnpy.trader.constant import Exchange, Interval  # noqa: PLC0415 -- while HOME is another
        from vnpy.trader.object import BarData  # noqa: PLC0415
        from vnpy_postgresql.postgresql_database import PostgresqlDatabase, db  # noqa: PLC0415
    # Through the proxy of the round trips too, but as one who may make tables.
    place, owner = make_url(bench.url), make_url(bench.owner_url)
    db.init(place.database, user=owner.username, host=place.host, port=place.port)

    def bar(candle: Sequence[Any]) -> Any:
        """A candle, in the order of `candles.COLUMNS`, as vnpy has it."""
        _, pair, _, timestamp, *prices = candle
        opening, high, low, closing, volume = map(float, prices[:5])
        return BarData(
            symbol=pair,
            exchange=Exchange.OTC,
            datetime=timestamp,
            interval=Interval.MINUTE,
            open_price=opening,
            high_price=high,
            low_price=low,
            close_price=closing,
            volume=volume,
            gateway_name="DB",
        )

    try:
        yield SimpleNamespace(
            database=PostgresqlDatabase(), bar=bar, exchange=Exchange.OTC, interval=Interval.MINUTE
        )
    finally:
        db.close()
