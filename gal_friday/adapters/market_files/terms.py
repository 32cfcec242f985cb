"""What somebody says of a file, where the file itself does not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gal_friday.adapters.candle_rows import BadCell
from gal_friday.adapters.market_files import cells
from gal_friday.adapters.market_files.content import Content, Refused, refuse, shown
from gal_friday.dal.models import Candle
from gal_friday.errors import InvalidValue

_EXCHANGE = cells.text_of(Candle.__table__.c.exchange.type)


@dataclass(frozen=True, slots=True)
class Terms:
    """*exchange*, *trading_pair* and *timeframe* of rows that do not name their own.

    *data_quality_score* from 0 to 100 is that of candles that bring none. With *naive_is_utc* a time without
    a zone is taken for UTC, else its row is refused. Raises InvalidValue for what names nothing.
    """

    exchange: str | None = None
    trading_pair: str | None = None
    timeframe: str | None = None
    data_quality_score: int = 100
    naive_is_utc: bool = False

    def __post_init__(self) -> None:
        read_as = {"exchange": _EXCHANGE, "trading_pair": cells.pair, "timeframe": cells.timeframe}
        for name, read in read_as.items():
            given = getattr(self, name)
            if given is not None:
                try:
                    object.__setattr__(self, name, read(given))
                except BadCell as error:
                    raise InvalidValue(error.problem, **{name: given}) from None
        if not 0 <= self.data_quality_score <= 100:
            raise InvalidValue("a quality is from 0 to 100", data_quality_score=self.data_quality_score)


def exchange_of(path: Path, content: Content, terms: Terms) -> str | None:
    """The exchange of rows that name none. Raises UnreadableFile where nothing tells."""
    exchange = terms.exchange or content.exchange
    if exchange is None and "exchange" not in content.columns:
        refuse(path, "does not tell its exchange; give one with --exchange", format=content.format)
    return exchange


def pair_of(path: Path, content: Content, terms: Terms, named: str | None) -> str | None:
    """The pair of rows that name none. Raises UnreadableFile where nothing tells, or the file contradicts."""
    told, wanted = content.trading_pair, terms.trading_pair
    if told and wanted and told != wanted:
        refuse(path, "is of another pair", trading_pair=told, wanted=wanted)
    pair = told or wanted or named
    if pair is None and "trading_pair" not in content.columns:
        refuse(path, "does not tell its pair; give one with --pair", format=content.format)
    return pair


def refused(path: Path, place: str, number: int, error: BadCell) -> Refused:
    """The row *number* as refused for *error*."""
    return Refused(path, f"{place} {number}", error.problem, shown(error.value))


def of_row(
    row: cells.Row, name: str, read: Callable[[object], str], *, otherwise: str | None, wanted: str | None
) -> str:
    """What the row says of itself, else *otherwise*. Raises BadCell where it is not what was *wanted*."""
    value = row.maybe(name, read)
    if value is None:
        if otherwise is None:
            raise BadCell(f"{name} is missing", "")
        return otherwise
    if wanted not in (None, value):
        raise BadCell(f"{name} is not {wanted}", value)
    return value
