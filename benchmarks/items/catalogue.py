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
)

ITEMS: Sequence[AnyItem] = (
    w1_add_order.ITEM,
    w2_get_order.ITEM,
    w3_change_status.ITEM,
    w4a_lifecycle.ITEM,
    w4b_apply_fill.ITEM,
    w5_bulk_fills.ITEM,
)
