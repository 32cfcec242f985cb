"""Files of candles and trades to import: recordings where they are at hand, and some of each format."""

import gzip
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from gal_friday.adapters.market_files.candles import read_candles
from gal_friday.adapters.market_files.content import Kind, Refused
from gal_friday.adapters.market_files.recognition import open_market_file
from gal_friday.adapters.market_files.terms import Terms
from gal_friday.adapters.market_files.trades import read_trades
from gal_friday.dal.models import Base, Candle, MarketTrade
from tests.replays import RECORDINGS

#: 2026-11-21 12:00 in UTC.
NOON_SECONDS = 1_795_262_400


@dataclass(frozen=True)
class MarketRecording:
    """A recording where it is at hand, else a few rows in the same form."""

    name: str
    kind: Kind
    substitute: str
    terms: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_at_hand(self) -> bool:
        return (RECORDINGS / self.name).exists()

    def __str__(self) -> str:
        return self.name if self.is_at_hand else f"generated-because-{self.name}-is-absent"

    def file(self, directory: Path) -> Path:
        path = directory / Path(self.name).name
        if self.is_at_hand:
            return Path(shutil.copy(RECORDINGS / self.name, path))
        text = self.substitute.encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
        return path


def kraken_answer(rows: Sequence[Sequence[Any]], last: object = 1, pair: str = "XBTUSDT") -> str:
    return json.dumps({"error": [], "result": {pair: rows, "last": last}})


RECORDED = (
    MarketRecording(
        "kraken/http_ohlc.json",
        Kind.CANDLES,
        kraken_answer(
            [
                [NOON_SECONDS, "1.5", "2", "0.5", "1.1", "1.2", "7.00000001", 12],
                [NOON_SECONDS + 60, "1", "1", "1", "1", "0.0", "0.00000000", 0],
            ],
            NOON_SECONDS,
        ),
    ),
    MarketRecording(
        "UNITTEST_BTC-1m.json",
        Kind.CANDLES,
        f"[[{NOON_SECONDS}000, 0.00162, 0.00163, 0.00161, 0.00162, 1.5],"
        f" [{NOON_SECONDS + 180}000, 1, 1, 1, 1, 0]]",
        {"exchange": "bittrex"},
    ),
    MarketRecording(
        "kraken/http_trades.json",
        Kind.TRADES,
        kraken_answer(
            [
                ["105433.6", "0.00027625", 1762795433.9717445, "b", "l", "", 10218208],
                ["105410.1", "0.00005", 1762795457.8467374, "s", "m", "", 10218209],
            ]
        ),
    ),
    MarketRecording(
        "XRP_ETH-trades.json.gz",
        Kind.TRADES,
        '[[1570752011620,"13519807",null,"sell",0.00141342,23.0,0.03250866],'
        '[1570752017964,"13519809",null,"buy",0.00141266,8.0,0.01130128]]',
        {"exchange": "binance"},
    ),
    MarketRecording(
        "BCHEUR.csv",
        Kind.TRADES,
        "1672531436,90.540000,1.10448420\n1672531436,90.540000,1.10448420\n1672531647,90.360000,0.28600000\n",
    ),
    MarketRecording(
        "public_trades_list.csv",
        Kind.TRADES,
        ",timestamp,id,type,side,price,amount,cost,date\n"
        "0,1675329600138,1206419187,,buy,1666.8,26.062,43440.1416,2023-02-02 09:20:00.138000+00:00\n"
        "1,1675329600214,1206419188,,sell,1666.79,0.152,253.35208,2023-02-02 09:20:00.214000+00:00\n",
        {"exchange": "binance", "trading_pair": "ETH/USDT"},
    ),
    MarketRecording(
        "kraken/ws_ohlc_update.json",
        Kind.CANDLES,
        '{"channel": "ohlc", "type": "update", "data": [{"symbol": "BTC/USD", "interval": 1, "open": 2.5, '
        '"interval_begin": "2023-10-04T16:25:00.000000000Z", "high": 3, "low": 2, "close": 2.5, '
        '"volume": 1.5, "vwap": 2.6, "trades": 12}]}',
    ),
    MarketRecording(
        "kraken/ws_trade_update.json",
        Kind.TRADES,
        '{"channel": "trade", "type": "update", "data": [{"symbol": "BTC/USD", "side": "buy", '
        '"price": 105944.20, "qty": 0.5, "ord_type": "limit", "trade_id": 1, '
        '"timestamp": "2023-10-06T17:35:55.440295Z"}]}',
    ),
)


def candles_of(path: Path, **terms: Any) -> list[Candle | Refused]:
    """What the rows of a file of candles are read as."""
    with open_market_file(path) as file:
        return list(read_candles(file, Terms(**terms)))


def trades_of(path: Path, **terms: Any) -> list[MarketTrade | Refused]:
    """What the rows of a file of trades are read as."""
    with open_market_file(path) as file:
        return list(read_trades(file, Terms(**terms)))


def told(row: Base | Refused, *names: str) -> tuple[Any, ...]:
    """These columns of a row that was not refused."""
    assert not isinstance(row, Refused), row
    return tuple(getattr(row, name) for name in names)


def plain(number: object) -> Decimal:
    """A number as a recording writes it, read without the code under test."""
    return Decimal(str(number)).normalize()
