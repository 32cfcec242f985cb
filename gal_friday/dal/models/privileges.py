"""Which role may do what to which table: it follows from the models, and from the few lists here.

What is not given here nobody has: no role but the owner truncates a table, refers to it, puts a trigger on it
or changes its shape.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from sqlalchemy import Table

from gal_friday.dal.models.auditing import WITHHELD
from gal_friday.dal.models.models_base import Base


class Role(StrEnum):
    """A role nobody logs in as: logins are its members. In the server its name begins with `role_prefix`."""

    #: Owns every table and function, and so can migrate.
    MIGRATOR = "migrator"
    #: What the bot runs as.
    TRADER = "trader"
    #: For people and reports.
    READER = "reader"
    #: For whatever watches: how the system does, not what it owns.
    MONITOR = "monitor"


#: Those that own nothing.
RESTRICTED = (Role.TRADER, Role.READER, Role.MONITOR)

#: Alembic's own table, which no model declares.
VERSION_TABLE = "alembic_version"

#: The hours TimescaleDB makes of the minutes in market_data, where it was enabled: a view no model declares.
CANDLE_HOURS = "market_data_hours"

#: Tables the trader reads and does not write, and who does.
WRITTEN_BY_OTHERS: Mapping[str, str] = MappingProxyType(
    {
        "audit_log": "the trigger record_change, which acts with its owner's rights",
        "audit_seals": "the owner's upkeep: whoever is on record does not seal the record",
        "trades_archive": "the owner's upkeep: to archive a trade is to remove it from trades",
        "schema_revisions": "the migrations",
        VERSION_TABLE: "the migrations",
    }
)

#: Tables the trader removes rows from, and why. None of them says what was owned, owed or decided.
ROWS_ARE_REMOVED: Mapping[str, str] = MappingProxyType(
    {
        "commit_markers": "they prove a commit whose answer was lost, and are pruned",
        "signal_log": "it counts replays, and is cleaned after days",
        "strategy_state": "a strategy drops what it no longer wants to remember; audited",
        "unmatched_fills": "one leaves when it is applied as a fill; audited",
    }
)

#: Tables whose rows are added and removed, but not changed.
NEVER_CHANGED = frozenset({"commit_markers"})

#: What the monitor reads: liveness, progress and faults, in columns that hold no amount and no free text.
WATCHED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "accounts": ("account_id", "mode", "halted_at"),
        "strategy_halts": ("account_id", "strategy_id", "halted_at"),
        "recovery_certificates": (
            *("account_id", "instance_id", "epoch", "app_version", "schema_revision"),
            *("started_at", "recovered_at", "may_trade"),
        ),
        "account_leases": ("account_id", "holder", "epoch", "acquired_at"),
        "event_log": ("position", "transaction_id", "incarnation", "recorded_at"),
        "event_subscriptions": ("name", "incarnation", "transaction_id", "position", "updated_at"),
        "instance_metadata": (
            *("instance_id", "account_id", "hostname", "pid", "app_version", "schema_revision"),
            *("started_at", "last_heartbeat", "status", "lease_expires_at"),
        ),
        "schema_revisions": ("revision", "oldest_code", "applied_at", "applied_by"),
        "system_logs": (
            *("log_timestamp", "log_level", "category", "source_module", "exception_type", "instance_id"),
        ),
        VERSION_TABLE: ("version_num",),
    }
)


@dataclass(frozen=True, slots=True, order=True)
class Privilege:
    """What GRANT gives on an object (SELECT, EXECUTE …), or on one column of it."""

    name: str
    column: str = ""


def privileges_on_tables(role: Role) -> Mapping[str, frozenset[Privilege]]:
    """What *role* may do, by the name of the table; the owner's rights need no mention."""
    tables = Base.metadata.tables
    names = (*tables, VERSION_TABLE, CANDLE_HOURS)
    match role:
        case Role.MIGRATOR:
            return {}
        case Role.TRADER:
            return {name: _of_trader(name, tables.get(name)) for name in names}
        case Role.READER:
            return {name: _of_reader(name, tables.get(name)) for name in names}
        case Role.MONITOR:
            return {name: _reading(columns) for name, columns in WATCHED.items()}


def _of_trader(name: str, table: Table | None) -> frozenset[Privilege]:
    names = ["SELECT"]
    if table is not None and name not in WRITTEN_BY_OTHERS:
        names.append("INSERT")
        if not table.info["append_only"] and name not in NEVER_CHANGED:
            names.append("UPDATE")
        if name in ROWS_ARE_REMOVED:
            names.append("DELETE")
    return frozenset(map(Privilege, names))


def _of_reader(name: str, table: Table | None) -> frozenset[Privilege]:
    if table is None or name not in WITHHELD:
        return frozenset({Privilege("SELECT")})
    withheld, *_ = WITHHELD[name]
    return _reading(column.name for column in table.columns if column.name != withheld)


def _reading(columns: Iterable[str]) -> frozenset[Privilege]:
    return frozenset(Privilege("SELECT", column) for column in columns)
