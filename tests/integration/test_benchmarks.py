"""The benchmarks run, and what they compare is the same work. What they measure is never tested."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import write
from benchmarks.harness.item import AnyItem
from benchmarks.harness.run import Plan, Row, run
from benchmarks.harness.server import made_database
from benchmarks.harness.wire import FrontendMessages
from benchmarks.harness.workbench import Workbench
from benchmarks.items import w1_add_order, w4b_apply_fill, w5_bulk_fills
from benchmarks.items.catalogue import ITEMS
from tests.servers import TRADER, PostgresServer

#: What a fill leaves behind, but for ids and clocks.
BOOKS = (
    """
    SELECT side, quantity, filled_quantity, cost, average_fill_price, commission_quote, commission_by_asset,
        status, status_at, filled_at
    FROM orders ORDER BY filled_at
    """,
    """
    SELECT strategy_id, side, quantity, cost, entry_price, realized_pnl, total_commission, last_applied_seq,
        opened_at, closed_at
    FROM positions ORDER BY opened_at
    """,
    """
    SELECT side, status, quantity, filled_quantity, entry_value, exit_value, average_entry_price,
        average_exit_price, total_commission, realized_pnl, realized_pnl_pct, exit_reason, entry_timestamp,
        exit_timestamp
    FROM trades ORDER BY entry_timestamp
    """,
    """
    SELECT applied_seq, side, quantity_filled, fill_price, commission_quote, contract_multiplier,
        net_quantity, realized_pnl, filled_at, source, position_id IS NULL, trade_id IS NULL
    FROM fills ORDER BY filled_at
    """,
    """
    SELECT from_status, to_status, occurred_at, source, reason IS NULL
    FROM order_history WHERE from_status IS NOT NULL ORDER BY occurred_at
    """,
    "SELECT event_type, stream_version, occurred_at FROM event_log ORDER BY occurred_at",
    "SELECT currency, closed_equity FROM portfolio_state ORDER BY currency",
)


async def rows_of(plan: Plan, server: PostgresServer, template: str, directory: Path) -> list[Row]:
    return [row async for row in run(plan, server, template, directory)]


def tiny(item: AnyItem, size: int) -> AnyItem:
    return replace(item, quick_size=size)


@asynccontextmanager
async def workbench(server: PostgresServer, template: str, directory: Path) -> AsyncIterator[Workbench]:
    async with made_database(server, template) as database:
        yield Workbench(
            url=server.url(database, user=TRADER),
            owner_url=server.url(database),
            directory=directory,
            binaries=server.bin_directory,
            size=12,
        )


async def test_each_row_has_figures_of_the_floor_and_of_gal_friday(
    postgres_server: PostgresServer, template_database: str, tmp_path: Path
) -> None:
    plan = Plan(
        items=[tiny(w1_add_order.ITEM, 4), tiny(w5_bulk_fills.ITEM, 100)],
        rounds=2,
        quick=True,
        peers=("gal_friday",),
    )
    rows = await rows_of(plan, postgres_server, template_database, tmp_path)

    write(rows, "15", tmp_path / "out")
    latest = json.loads((tmp_path / "out" / "latest.json").read_text())
    assert list(latest) == ["W1 on", "W1 off", "W5"]
    for row in latest.values():
        assert set(row) == {"asyncpg", "gal_friday"}
        assert row["asyncpg"]["ratio"] == 1
        assert all(peer["median"] > 0 and peer["rounds"] == 2 for peer in row.values())
    assert latest["W1 on"]["asyncpg"]["round_trips"] == 1
    assert latest["W1 on"]["gal_friday"]["unit"] == "orders/s"
    assert latest["W5"]["gal_friday"]["peak_mib"] >= 0
    table = (tmp_path / "out" / "table.md").read_text()
    assert "W1 on" in table
    assert "**gal_friday**" in table


async def test_a_fill_applied_by_hand_leaves_the_books_that_gal_friday_leaves(
    postgres_server: PostgresServer, template_database: str, tmp_path: Path
) -> None:
    books: dict[str, list[Any]] = {}
    item = w4b_apply_fill.ITEM
    for peer in ("asyncpg", "gal_friday.apply_fill"):
        async with workbench(postgres_server, template_database, tmp_path) as bench:
            await item.setup(bench)
            async with item.openings[peer](bench) as apply:
                for fills in await item.prepare(bench):
                    await apply(fills)
            owner = await bench.owner()
            books[peer] = [[tuple(row) for row in await owner.fetch(question)] for question in BOOKS]
            await owner.close()

    by_hand, ours = books["asyncpg"], books["gal_friday.apply_fill"]
    assert all(by_hand)
    assert by_hand == ours


def test_every_item_has_a_floor_and_gal_friday() -> None:
    for item in ITEMS:
        assert item.floor in item.openings
        assert any(name.startswith("gal_friday") for name in item.openings), item.key


@pytest.mark.parametrize("cut", [1, 3, 7, 1000])
def test_messages_are_told_apart_however_the_packets_were_cut(cut: int) -> None:
    tls = b"\0\0\0\x08\x04\xd2\x16\x2f"
    startup = b"\0\0\0\x0b\0\x03\0\0ab\0"
    sent = tls + startup + b"P\0\0\0\x05x" + b"S\0\0\0\x04" + b"Q\0\0\0\x06a\0"
    messages = FrontendMessages()
    assert b"".join(messages.types(sent[at : at + cut]) for at in range(0, len(sent), cut)) == b"PSQ"
