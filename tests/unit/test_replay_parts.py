"""Parts of the replay that need no database."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from gal_friday.adapters.candle_files import read_candles
from gal_friday.errors import InvalidValue
from gal_friday.money import quantity_rounded_down
from gal_friday.replay.market import generate_candles, write_candles
from gal_friday.replay.progress import Progress
from gal_friday.replay.run import Rules, Run
from gal_friday.replay.strategy import Averages


def test_the_same_seed_is_the_same_market(tmp_path: Path) -> None:
    market = generate_candles(seed=5, count=500)
    assert market == generate_candles(seed=5, count=500)
    assert market != generate_candles(seed=6, count=500)
    write_candles(tmp_path / "BTC_USD-1m.csv", market)
    file = read_candles(tmp_path / "BTC_USD-1m.csv")
    assert list(file.candles) == market
    assert (file.timeframe, file.trading_pair) == ("1m", "BTC/USD")


def test_a_transaction_covers_at_least_one_candle(tmp_path: Path) -> None:
    write_candles(tmp_path / "BTC_USD-1m.csv", generate_candles(seed=5, count=5))
    with pytest.raises(InvalidValue, match="at least one candle"):
        Run.of(read_candles(tmp_path / "BTC_USD-1m.csv"), rules=Rules(candles_per_commit=0))


def test_progress_is_restored_as_it_was() -> None:
    averages = Averages((Decimal("1.000000000000000001"), Decimal(2)), True)
    progress = Progress(7, averages)
    assert Progress.from_json(json.loads(json.dumps(progress.as_json()))) == progress
    assert Progress.from_json(json.loads(json.dumps(Progress().as_json()))) == Progress()


@pytest.mark.parametrize(
    ("amount", "price", "quantity"),
    [
        ("1", "3", "0.33333333"),
        ("2", "3", "0.66666666"),
        ("1", "1e9", "0"),
        ("1e19", "1e-18", "1e37"),
        ("0", "7", "0"),
    ],
)
def test_a_quantity_never_costs_more_than_the_amount(amount: str, price: str, quantity: str) -> None:
    assert quantity_rounded_down(Decimal(amount), Decimal(price)) == Decimal(quantity)


def test_a_quantity_at_no_price_is_refused() -> None:
    with pytest.raises(ZeroDivisionError):
        quantity_rounded_down(Decimal(1), Decimal(0))
