"""`python -m tests.point_writer URL DIRECTORY FIRST`: points for ever, each number printed once safe."""

import asyncio
import itertools
import os
import sys
from pathlib import Path

from gal_friday.config import InfluxSettings, SpoolSettings
from gal_friday.dal.influxdb_client import TimeSeriesDB
from gal_friday.timeseries.points import Point
from gal_friday.timeseries.writer import TimeSeriesWriter
from tests.influx.endpoint import BUCKET, ORG, TOKEN


async def write_for_ever(url: str, directory: str, first: str) -> None:
    server = InfluxSettings(url=url, token=TOKEN, org=ORG, bucket=BUCKET, write_timeout_seconds=0.2)
    spool = SpoolSettings(batch_size=7, patience_seconds=0.2)
    async with (
        TimeSeriesDB(server) as db,
        await TimeSeriesWriter.open(db, Path(directory), spool) as writer,
    ):
        for number in itertools.count(int(first), 3):
            numbers = range(number, number + 3)
            writer.write_all(
                Point("m", {"exchange": "kraken"}, {"value": float(each)}, each + 1) for each in numbers
            )
            await writer.flush()
            os.write(1, "".join(f"{each}\n" for each in numbers).encode())


if __name__ == "__main__":
    asyncio.run(write_for_ever(*sys.argv[1:]))
