"""A report of upkeep as a person reads it."""

from gal_friday.cli.upkeep import _lines
from gal_friday.upkeep.run import UpkeepReport


def test_each_thing_done_or_left_is_a_line() -> None:
    report = UpkeepReport(
        made={"market_data_p2026_11": 0, "market_data_p2026_10": 1200},
        dropped=["system_logs_p2026_w01"],
        detached=["predictions_p2026_01"],
        downsampled=25,
        minutes_removed={"market_data_p2025_11": 1440},
        compressed=["_hyper_1_2_chunk"],
        left=["market_trades_p2026_w47: A lock was not granted in time"],
    )
    assert list(_lines(report)) == [
        "made market_data_p2026_11",
        "made market_data_p2026_10; taken from the default: 1,200",
        "dropped system_logs_p2026_w01",
        "detached predictions_p2026_01",
        "minutes removed from market_data_p2025_11: 1,440",
        "hours and days stored for them: 25",
        "compressed _hyper_1_2_chunk",
        "left for the next run: market_trades_p2026_w47: A lock was not granted in time",
    ]
