"""Every item, in the order of the table."""

from collections.abc import Sequence

from benchmarks.harness.item import AnyItem
from benchmarks.items import (
    w1_add_order,
    w2_get_order,
    w3_change_status,
    w4a_lifecycle,
    w4b_apply_fill,
    w5_bulk_fills,
    w6_upsert_candles,
    w7a_load_candles,
    w7b_load_arrays,
    w8_page,
    w10_boot,
    w11_restore,
    w12_line_protocol,
    w13_state,
)

ITEMS: Sequence[AnyItem] = tuple(
    module.ITEM
    for module in (
        w1_add_order,
        w2_get_order,
        w3_change_status,
        w4a_lifecycle,
        w4b_apply_fill,
        w5_bulk_fills,
        w6_upsert_candles,
        w7a_load_candles,
        w7b_load_arrays,
        w8_page,
        w10_boot,
        w11_restore,
        w12_line_protocol,
        w13_state,
    )
)
