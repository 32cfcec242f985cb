"""Files that say what an account holds."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from gal_friday.adapters.holdings_files import read_holdings
from gal_friday.dal.models import InstrumentKind, PositionSide
from gal_friday.errors import UnreadableFile

JSON = """{
    "at": "2026-11-20T12:00:00+00:00",
    "balances": {"USD": 10000.10, "BTC": "0.5", "EUR": 0},
    "positions": [
        {"pair": "XBT/USD", "side": "long", "quantity": 0.5, "entry_price": "60000",
         "time": "2026-11-19T13:00:00+01:00", "strategy": "momentum"},
        {"pair": "XRP/USD:USD", "side": "SHORT", "quantity": 3, "entry_price": 0.5, "kind": "PERPETUAL",
         "contract_multiplier": "10"}
    ]
}"""
CSV = """\
currency,balance,pair,side,quantity,entry_price,time,strategy,kind,contract_multiplier
USD,10000.10,,,,,,,,
BTC,0.5,,,,,,,,
,,XBT/USD,long,0.5,60000,2026-11-19T12:00:00Z,momentum,,
,,XRP/USD:USD,SHORT,3,0.5,,,PERPETUAL,10
"""


@pytest.mark.parametrize(("name", "text"), [("held.json", JSON), ("held.csv", CSV)])
def test_balances_and_positions_are_read_exactly(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    held = read_holdings(tmp_path / name)
    assert held.balances == {"USD": Decimal("10000.1"), "BTC": Decimal("0.5")}
    bought, sold = held.positions
    assert (bought.trading_pair, bought.side, bought.quantity) == (
        "BTC/USD",
        PositionSide.LONG,
        Decimal("0.5"),
    )
    assert (bought.opened_at, bought.strategy_id) == (datetime(2026, 11, 19, 12, tzinfo=UTC), "momentum")
    assert (sold.kind, sold.contract_multiplier) == (InstrumentKind.PERPETUAL, Decimal(10))
    assert sold.opened_at == held.at
    assert name == "held.csv" or held.at == datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ('{"balance": {}}', "balance is none of at, balances, positions"),
        ('{"balances": []}', "balances is an object"),
        ('{"positions": [1]}', r"a position is an object.*positions\[0\]"),
        ('{"at": "noon"}', "at is no ISO 8601 time"),
        ('{"at": "2026-11-20T12:00:00"}', "at has no zone"),
        ('{"balances": {"USD": "ten"}}', r"balance is no number.*balances\.USD.*ten"),
        ('{"balances": {"USD": null}}', "balance is missing"),
        ('{"balances": {"USD": 1e-30}}', "18 after the point"),
        ('{"positions": [{"pair": "BTC/USD", "side": "UP"}]}', "side is neither LONG nor SHORT"),
        ('{"positions": [{"side": "LONG"}]}', "quantity is missing"),
        (
            '{"positions": [{"pair": "BTC/USD", "side": "LONG", "quantity": 0, "entry_price": 1}]}',
            "quantity has to be more than zero",
        ),
        (
            '{"positions": [{"pair": "XBTUSD", "side": "LONG", "quantity": 1, "entry_price": 1}]}',
            "pair is no trading pair",
        ),
        ('{"positions": [{"side": "LONG", "kind": "LOAN"}]}', "kind is none of SPOT"),
        ('{"positions": [{"side": "LONG", "quantity": 1, "entry_price": 1}]}', "pair is missing"),
        ("currency,balance\nUSD,1\nUSD,2\n", "currency is given twice.*line 3"),
        ("currency,balance\nUSD,1,2\n", "more cells than columns.*line 2"),
        ("currency,amount\nUSD,1\n", "amount is no column"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "held").write_text(text)
    with pytest.raises(UnreadableFile, match=words):
        read_holdings(tmp_path / "held")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"):
        read_holdings(tmp_path / "absent.json")
    (tmp_path / "held.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UnreadableFile, match="not UTF-8"):
        read_holdings(tmp_path / "held.csv")
