"""The strategy is exact, and the same wherever it is interrupted."""

import json
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gal_friday.errors import InvalidValue
from gal_friday.replay.strategy import Averages, Crossing, CrossoverStrategy

PRICES = st.lists(
    st.one_of(st.integers(1, 6).map(Decimal), st.decimals("0.000000000000000001", 10**19, places=18)),
    max_size=60,
)
WINDOWS = st.tuples(st.integers(1, 5), st.integers(1, 6)).map(lambda w: CrossoverStrategy(w[0], w[0] + w[1]))


def crossings(
    strategy: CrossoverStrategy, closes: list[Decimal], remembered: Averages | None = None
) -> tuple[list[Crossing | None], Averages]:
    averages, seen = remembered or Averages(), []
    for close in closes:
        averages, crossing = strategy.after(averages, close)
        seen.append(crossing)
    return seen, averages


@given(WINDOWS, PRICES, st.integers(0, 60))
def test_an_interruption_anywhere_changes_no_signal(
    strategy: CrossoverStrategy, closes: list[Decimal], at: int
) -> None:
    before, remembered = crossings(strategy, closes[:at])
    restored = Averages.from_json(json.loads(json.dumps(remembered.as_json())))
    after, _ = crossings(strategy, closes[at:], restored)
    assert [*before, *after] == crossings(strategy, closes)[0]


@given(WINDOWS, PRICES)
def test_crossings_are_those_of_exact_averages(strategy: CrossoverStrategy, closes: list[Decimal]) -> None:
    expected: list[Crossing | None] = []
    above: bool | None = None
    for end in range(1, len(closes) + 1):
        window = [Fraction(close) for close in closes[:end]]
        crossing = None
        if end >= strategy.slow:
            distance = (
                sum(window[-strategy.fast :]) / strategy.fast - sum(window[-strategy.slow :]) / strategy.slow
            )
            if distance:
                if above is not None and above != (distance > 0):
                    crossing = Crossing.UP if distance > 0 else Crossing.DOWN
                above = distance > 0
        expected.append(crossing)
    assert crossings(strategy, closes)[0] == expected


@given(WINDOWS, PRICES)
def test_ups_and_downs_alternate(strategy: CrossoverStrategy, closes: list[Decimal]) -> None:
    seen = [crossing for crossing in crossings(strategy, closes)[0] if crossing]
    assert all(one != other for one, other in pairwise(seen))


@given(PRICES)
def test_a_price_is_remembered_as_it_was(closes: list[Decimal]) -> None:
    remembered = Averages(tuple(closes), True)
    assert Averages.from_json(json.loads(json.dumps(remembered.as_json()))) == remembered


@pytest.mark.parametrize(("fast", "slow"), [(0, 1), (3, 3), (5, 2), (-1, 4)])
def test_windows_the_wrong_way_round_are_refused(fast: int, slow: int) -> None:
    with pytest.raises(InvalidValue, match="fewer closes"):
        CrossoverStrategy(fast, slow)
