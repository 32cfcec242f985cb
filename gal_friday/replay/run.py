"""What is replayed, by which rules, and where its rows are kept."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from gal_friday.adapters.candle_files import CandleFile
from gal_friday.adapters.candle_rows import CandleRow
from gal_friday.adapters.pairs import canonical_pair
from gal_friday.dal.models.types import dumps
from gal_friday.errors import InvalidValue, UnreadableFile
from gal_friday.replay.strategy import CrossoverStrategy

_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Rules:
    """How the bot trades. Amounts are in quote currency, the commission is a proportion of the value traded.

    A transaction covers *candles_per_commit* candles; which ones depends on their place in the file only.
    """

    fast: int = 10
    slow: int = 30
    candles_per_commit: int = 25
    initial_capital: Decimal = Decimal(10_000)
    equity_fraction: Decimal = Decimal("0.1")
    commission_rate: Decimal = Decimal("0.001")
    max_notional: Decimal = Decimal(1_000)
    max_daily_loss: Decimal = Decimal(50)


@dataclass(frozen=True, slots=True)
class Run:
    """One replay. Its name is the id of its strategy and of its account, so that many fit in one database."""

    name: str
    exchange: str
    trading_pair: str
    timeframe: str
    duration: timedelta
    candles: Sequence[CandleRow] = field(repr=False)
    file_format: str
    file_sha256: str
    rules: Rules

    @classmethod
    def of(
        cls,
        file: CandleFile,
        *,
        name: str | None = None,
        trading_pair: str | None = None,
        exchange: str | None = None,
        rules: Rules | None = None,
    ) -> Self:
        """A replay of *file*; what is given goes before what the file tells of itself.

        Raises UnreadableFile where nobody tells the pair, InvalidValue for an impossible name or rule.
        """
        pair = canonical_pair(trading_pair) if trading_pair else file.trading_pair
        if pair is None:
            raise UnreadableFile("does not tell its pair; give one with --pair", file=str(file.path))
        rules = rules or Rules()
        CrossoverStrategy(rules.fast, rules.slow)
        if rules.candles_per_commit < 1:
            raise InvalidValue(
                "a transaction covers at least one candle", candles_per_commit=rules.candles_per_commit
            )
        name = f"{file.path.stem}:{pair}"[:_LONGEST_NAME] if name is None else name
        if not 0 < len(name) <= _LONGEST_NAME:
            raise InvalidValue(f"the name of a run has 1 to {_LONGEST_NAME} characters", run=name)
        return cls(
            name=name,
            exchange=exchange or file.exchange or "replay",
            trading_pair=pair,
            timeframe=file.timeframe,
            duration=file.duration,
            candles=file.candles,
            file_format=file.format,
            file_sha256=file.sha256,
            rules=rules,
        )

    @property
    def base(self) -> str:
        """Currency bought and sold."""
        return self.trading_pair.partition("/")[0]

    @property
    def quote(self) -> str:
        """Currency prices, commissions and equity are in."""
        return self.trading_pair.partition("/")[2]

    @property
    def strategy(self) -> CrossoverStrategy:
        """The strategy with its windows."""
        return CrossoverStrategy(self.rules.fast, self.rules.slow)

    def closes_at(self, candle: CandleRow) -> datetime:
        """When *candle* is over."""
        return candle.timestamp + self.duration

    def config(self) -> dict[str, Any]:
        """All that decides the outcome, for a JSON column: a run goes on only where this is the same."""
        rules = {
            key: str(value) if isinstance(value, Decimal) else value
            for key, value in asdict(self.rules).items()
        }
        return {
            "file_sha256": self.file_sha256,
            "file_format": self.file_format,
            "candles": len(self.candles),
            "exchange": self.exchange,
            "trading_pair": self.trading_pair,
            "timeframe": self.timeframe,
            **rules,
        }

    def config_hash(self) -> str:
        """SHA-256 of `config`."""
        return hashlib.sha256(dumps(self.config()).encode()).hexdigest()
