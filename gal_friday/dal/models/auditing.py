"""What the audit record leaves out, and why: every other table that changes is recorded, column by column."""

from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import Table

#: Tables whose changes are not recorded. Append-only tables are their own record.
NOT_AUDITED: Mapping[str, str] = MappingProxyType(
    {
        "position_marks": "marks: one for each position and price",
        "instance_metadata": "heartbeats",
        "event_subscriptions": "cursors, moved with every batch of events",
        "commit_markers": "one for each transaction, pruned",
        "signal_log": "counts replays, is cleaned after days; what a signal led to is recorded with it",
        "market_data": "what exchanges publish; a candle is replaced until it is final",
        "series_points": "measurements",
        "strategy_metrics": "computed from trades, and again whenever asked",
        "backtests": "research: no money, no rule and no setting depends on it",
        "schema_revisions": "the migrations' own record",
    }
)

#: Columns left out of every table's record: they change with each change and say nothing more.
NOISE = ("row_version", "updated_at")

#: Columns left out of one table's record, so that a row of which nothing else changed leaves no entry.
NOT_RECORDED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "orders": {"retry_count": "a counter"},
        "portfolio_positions": {"unrealized_pnl": "a mark"},
        "strategies": {"last_executed_at": "a heartbeat"},
    }
)

#: Columns that may hold a secret: that they changed is recorded, their values are not. Where a second column
#: is named, only while that one is true.
WITHHELD: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"configurations": ("config_content",), "system_config": ("value", "is_sensitive")}
)


def is_audited(table: Table) -> bool:
    """Whether changes of *table*'s rows are written to audit_log."""
    return not table.info.get("append_only") and table.name not in NOT_AUDITED


def audit_arguments(table: Table) -> tuple[str, ...]:
    """What the trigger function is told: key columns, columns not recorded, then the column withheld."""
    key = ",".join(column.name for column in table.primary_key.columns)
    left_out = ",".join(
        column.name for column in table.columns if column.name in {*NOISE, *NOT_RECORDED.get(table.name, {})}
    )
    return key, left_out, *WITHHELD.get(table.name, ())
