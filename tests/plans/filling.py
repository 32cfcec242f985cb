"""Rows by the ten thousand in every table, made by the server: the shape of a bot's data, not its story."""

from collections.abc import Mapping

from sqlalchemy import (
    Column,
    ColumnElement,
    Table,
    func,
    insert,
    literal,
    literal_column,
    select,
    text,
)
from sqlalchemy.engine import Connection

from gal_friday.dal.models import Base
from gal_friday.dal.models.types import (
    ClosedSet,
    Cost,
    Flag,
    Identifier,
    Json,
    LongNumber,
    Money,
    Ratio,
    TransactionId,
    UtcDateTime,
    WholeNumber,
)

#: Enough for reading a table whole to cost more than any index. A row a minute, row 1 the newest.
MANY = 20_000
ACCOUNTS, STRATEGIES, PAIRS = 4, 20, 97
#: One in so many of the newest orders, trades and positions is open, and those are the default account's.
OPEN_EVERY = 100

#: Tables that stay small however long a bot trades: they grow with what is configured, not with time.
FEW = {
    "accounts": ACCOUNTS,
    "account_leases": ACCOUNTS,
    "audit_seals": 0,
    "configurations": 10,
    "event_subscriptions": 0,
    "instruments": PAIRS - 1,
    "ml_models": 10,
    "portfolio_state": ACCOUNTS,
    "pyramiding_state": PAIRS - 1,
    "risk_limits": ACCOUNTS,
    "schema_revisions": 0,
    "strategies": STRATEGIES,
    "strategy_halts": 0,
    "strategy_state": STRATEGIES,
    "system_config": 10,
}
BIG = Base.metadata.tables.keys() - FEW.keys()

_IDENTIFIER = "lpad(to_hex(n), 32, '0')::uuid"
_TIME = "date_trunc('minute', now()) - n * interval '1 minute'"
_PAIR = f"'P' || (n + n / {PAIRS}) % {PAIRS} || '/USD'"
_IS_OPEN = f"(n % {OPEN_EVERY} = 0 AND n <= {MANY})"

#: How a column of this name is filled wherever there is one.
BY_NAME = {
    "exit_timestamp": _TIME,
    "exit_price": "1",
    "average_exit_price": "1",
    "realized_pnl": "1",
    "exit_reason": "'done'",
    "account_id": f"CASE n % {ACCOUNTS} WHEN 0 THEN 'default' ELSE 'account' || n % {ACCOUNTS} END",
    "strategy_id": f"'strategy' || n % {STRATEGIES}",
    "exchange": "CASE n % 2 WHEN 0 THEN 'kraken' ELSE 'binance' END",
    "trading_pair": _PAIR,
    "quote_currency": "'USD'",
    "instrument": _PAIR,
    "timeframe": "'1m'",
    "order_id": _IDENTIFIER,
    "position_id": _IDENTIFIER,
    "signal_id": _IDENTIFIER,
    "trade_id": _IDENTIFIER,
    "exchange_order_id": "'exchange-' || n",
    "config_hash": "lpad(to_hex(n), 64, '0')",
    "fingerprint": "lpad(to_hex(n), 64, '0')",
}
#: And one of this type, where it must have a value.
BY_TYPE: dict[type[object], str] = {
    Identifier: _IDENTIFIER,
    UtcDateTime: _TIME,
    WholeNumber: "1",
    LongNumber: "1",
    Money: "1",
    Cost: "1",
    Ratio: "1",
    Json: "'{}'::jsonb",
    Flag: "false",
    TransactionId: "'1'::xid8",
}
#: What the name does not say.
BY_COLUMN = {
    "strategies.strategy_id": "'strategy' || n - 1",
    "accounts.account_id": "CASE n WHEN 4 THEN 'default' ELSE 'account' || n END",
    "account_leases.account_id": "CASE n WHEN 4 THEN 'default' ELSE 'account' || n END",
    "portfolio_state.account_id": "CASE n WHEN 4 THEN 'default' ELSE 'account' || n END",
    "account_leases.epoch": "0",
    "portfolio_state.currency": "'USD'",
    "orders.client_order_id": "'client-' || n",
    "orders.quantity": "1",
    "orders.status": f"CASE WHEN {_IS_OPEN} THEN 'NEW' ELSE 'FILLED' END",
    "positions.closed_at": f"CASE WHEN {_IS_OPEN} THEN NULL ELSE {_TIME} END",
    "positions.trading_pair": f"CASE WHEN {_IS_OPEN} THEN 'P' || n || '/USD' ELSE {_PAIR} END",
    "fills.applied_seq": "n",
    "trades.status": f"CASE WHEN {_IS_OPEN} THEN 'OPEN' ELSE 'CLOSED' END",
    "trades_archive.status": "'CLOSED'",
    "signals.status": f"CASE WHEN {_IS_OPEN} THEN 'PROPOSED' ELSE 'EXECUTED' END",
    "signals.entry_type": "'MARKET'",
    "signal_log.processing_status": f"CASE WHEN {_IS_OPEN} THEN 'received' ELSE 'processed' END",
    "portfolio_positions.status": f"CASE WHEN {_IS_OPEN} THEN 'open' ELSE 'closed' END",
    "portfolio_positions.rollover_status": f"CASE WHEN {_IS_OPEN} THEN 'pending' ELSE 'none' END",
    "cash_flows.kind": "'DEPOSIT'",
    "cash_flows.currency": "'USD'",
    "cash_flows.venue_id": "'venue-' || n",
    "portfolio_snapshots.currency": "'USD'",
    "market_data.timestamp": _TIME,
    "predictions.model_id": "lpad(to_hex(n % 10 + 1), 32, '0')::uuid",
    "series_points.series_hash": f"lpad(to_hex(n % {PAIRS}), 32, '0')::uuid",
    "series_points.measurement": "'m' || n % 10",
    "series_points.fields": """'{"value": 1.5}'""",
    "system_logs.log_level": f"CASE WHEN {_IS_OPEN} THEN 'ERROR' ELSE 'INFO' END",
    "system_logs.source_module": "'module' || n % 10",
    "system_logs.category": "'category' || n % 10",
    "audit_log.table_name": "CASE n % 3 WHEN 0 THEN 'orders' WHEN 1 THEN 'positions' ELSE 'trades' END",
    "audit_log.actor": "'actor' || n % 5",
    "audit_log.operation": "'INSERT'",
    "audit_log.row_key": _IDENTIFIER,
    "audit_log.after": "'{}'",
    "event_log.stream": "'stream' || n % 100",
    "event_log.stream_version": "n",
    "risk_decisions.decision": "'APPROVED'",
    "backtests.start_date": _TIME,
    "backtests.end_date": f"{_TIME} + interval '1 day'",
    "backtests.name": "'backtest'",
    "backtests.code_version": "'1'",
    "backtests.data_fingerprint": "lpad(to_hex(n), 64, '0')",
    "instance_metadata.instance_id": "'instance-' || n",
    "instance_metadata.last_heartbeat": _TIME,
    "instance_metadata.status": f"CASE WHEN {_IS_OPEN} THEN 'active' ELSE 'stopped' END",
    "strategy_metrics.date": "date '2000-01-01' + n",
    "fill_aliases.aliased_fill_id": _IDENTIFIER,
    "strategies.trading_pairs": "ARRAY['P1/USD']",
    "system_config.data_type": "'object'",
    "risk_limits.key": "'*'",
}


def fill(connection: Connection, counts: Mapping[str, range]) -> None:
    """Make the rows of these numbers in each table, without its triggers; for a superuser."""
    connection.execute(text("SET session_replication_role = replica"))
    for table in Base.metadata.sorted_tables:
        if numbers := counts.get(table.name):
            columns = {column: made for column in table.columns if (made := _made(column)) is not None}
            rows = func.generate_series(numbers[0], numbers[-1]).alias("n")
            chosen = select(*columns.values()).select_from(rows)
            connection.execute(insert(table).from_select(list(columns), chosen, include_defaults=False))
    connection.execute(text("SET session_replication_role = origin"))


def usual_counts() -> dict[str, range]:
    """Many rows in every table that grows, a few in the others."""
    return {name: range(1, FEW.get(name, MANY) + 1) for name in Base.metadata.tables}


def _made(column: Column[object]) -> ColumnElement[object] | None:
    """What row number n has in *column*; None for what the server fills or nobody asks for."""
    assert isinstance(column.table, Table)
    if column.computed is not None or column.identity is not None:
        return None
    expression = BY_COLUMN.get(f"{column.table.name}.{column.name}") or BY_NAME.get(column.name)
    if expression is not None:
        return literal_column(expression)
    if column.nullable or (column.server_default is not None and not isinstance(column.type, UtcDateTime)):
        return None
    if isinstance(column.type, ClosedSet):
        return literal(next(iter(column.type.enum)).value)
    if isinstance(column.type, Json) and column.type.kind == "array":
        return literal_column("'[]'::jsonb")
    return literal_column(BY_TYPE.get(type(column.type), "'x' || n"))
