"""What an account had when its process ended, read back as objects."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, Table, Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.criteria import Criterion
from gal_friday.dal.models import (
    WORKING_ORDER_STATUSES,
    Account,
    Base,
    Configuration,
    EntryStatus,
    Order,
    PortfolioPosition,
    PortfolioState,
    Position,
    PyramidingState,
    RiskLimit,
    SignalLog,
    StrategyHalt,
    StrategyState,
)


@dataclass(frozen=True, slots=True)
class RestoredState:
    """All an engine goes on with, as it was stored: entities, in the order of their keys.

    `signals_seen` are the fingerprints in the ledger of raw signals; it is cleaned after days, and a signal's
    own fingerprint stays unique for ever. `strategy_states` is by strategy and key. `checksums` are SHA-256
    of the rows of each kind, in key order, and `counts` how many there are.
    """

    account: Account
    positions: Sequence[Position]
    orders: Sequence[Order]
    portfolio_positions: Mapping[str, PortfolioPosition]
    portfolio_states: Mapping[str, PortfolioState]
    pyramiding_states: Mapping[str, PyramidingState]
    strategy_states: Mapping[str, Mapping[str, Any]]
    strategy_halts: Mapping[str, StrategyHalt]
    risk_limits: Sequence[RiskLimit]
    signals_seen: frozenset[str]
    configuration: Configuration | None
    counts: Mapping[str, int]
    checksums: Mapping[str, str]


def _kinds(account_id: str) -> Mapping[type[Base], tuple[Criterion, ...]]:
    """What is restored: rows of which tables."""
    return {
        Position: (Position.account_id == account_id, Position.closed_at.is_(None)),
        Order: (Order.account_id == account_id, Order.status.in_(WORKING_ORDER_STATUSES)),
        PortfolioPosition: (
            PortfolioPosition.account_id == account_id,
            PortfolioPosition.status.in_((EntryStatus.OPEN, EntryStatus.PARTIAL)),
        ),
        PortfolioState: (PortfolioState.account_id == account_id,),
        PyramidingState: (PyramidingState.account_id == account_id,),
        StrategyState: (StrategyState.account_id == account_id,),
        StrategyHalt: (StrategyHalt.account_id == account_id, StrategyHalt.halted_at.is_not(None)),
        RiskLimit: (RiskLimit.account_id == account_id, RiskLimit.active),
        Configuration: (Configuration.is_active,),
    }


async def restore(session: AsyncSession, account: Account) -> RestoredState:
    """The state of *account*, all of one moment where *session* is of a snapshot."""
    kinds = _kinds(account.account_id)
    rows: dict[type[Base], Sequence[Any]] = {}
    checksums = {}
    with _no_collections():
        for model, criteria in kinds.items():
            table = _table_of(model)
            rows[model] = (
                await session.scalars(select(model).where(*criteria).order_by(*table.primary_key.columns))
            ).all()
            checksums[table.name] = await session.scalar(_checksum(table, criteria))
    seen = SignalLog.account_id == account.account_id
    signals_seen = frozenset(await session.scalars(select(SignalLog.fingerprint).where(seen)))
    checksums["signal_log"] = await session.scalar(
        select(_digest(cast(SignalLog.fingerprint, Text), SignalLog.fingerprint)).where(seen)
    )
    states: dict[str, dict[str, Any]] = {}
    for state in rows[StrategyState]:
        states.setdefault(state.strategy_id, {})[state.key] = state.value
    counts = {_table_of(model).name: len(found) for model, found in rows.items()}
    return RestoredState(
        account=account,
        positions=rows[Position],
        orders=rows[Order],
        portfolio_positions={row.position_id: row for row in rows[PortfolioPosition]},
        portfolio_states={row.currency: row for row in rows[PortfolioState]},
        pyramiding_states={row.instrument: row for row in rows[PyramidingState]},
        strategy_states=states,
        strategy_halts={row.strategy_id: row for row in rows[StrategyHalt]},
        risk_limits=rows[RiskLimit],
        signals_seen=signals_seen,
        configuration=rows[Configuration][0] if rows[Configuration] else None,
        counts=counts | {"signal_log": len(signals_seen)},
        checksums=checksums,
    )


def _checksum(table: Table, criteria: Sequence[Criterion]) -> Any:
    whole_row = cast(table.table_valued(), Text)
    return select(_digest(whole_row, *table.primary_key.columns)).select_from(table).where(*criteria)


def _digest(text: ColumnElement[str], *order: Any) -> ColumnElement[str]:
    each = func.sha256(func.convert_to(text, "UTF8"))
    together = func.string_agg(each, aggregate_order_by(literal(b"", LargeBinary()), *order))
    return func.encode(func.sha256(func.coalesce(together, literal(b"", LargeBinary()))), "hex")


def _table_of(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


@contextmanager
def _no_collections() -> Iterator[None]:
    """The garbage collector would go through all that is being made, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
