"""What the server does by itself: its functions, and the triggers that follow from the models.

A trigger covers raw SQL as well. Autogenerate compares what is declared here with the database.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from sqlalchemy import Table

from gal_friday.dal.models.auditing import audit_arguments, is_audited
from gal_friday.dal.models.enums import OrderStatus
from gal_friday.dal.models.order_lifecycle import ORDER_TRANSITIONS

#: Each is defined by one statement in the migrations' `sql/<name>.sql`; a function follows those it calls.
FUNCTIONS = (
    "raise_row_version",
    "new_id",
    "open_lease",
    "lock_intents",
    "require_lease",
    "require_no_halt",
    "require_risk_allowed",
    "guard_intent",
    "guard_order_intent",
    "guard_decision",
    "guard_entry",
    "guard_order",
    "record_order_history",
    "refuse_change",
    "refuse_truncate",
    "exact_value",
    "record_change",
    "book_equity",
    "book_cash_flow",
    "average_price_rounded",
    "ratio_rounded",
    "cost_share_rounded",
    "cost_rounded",
    "order_status_after",
    "fill_of_report",
    "fill_problem",
    "order_of_fill",
    "fill_known_as",
    "with_terms",
    "lock_open_position",
    "enter_trade",
    "exit_trade",
    "book_on_position",
    "advance_order",
    "lock_order_names",
    "apply_fill",
    "apply_fills",
    "match_unmatched_fills",
)

#: Those that act with their owner's rights, because they write what their caller may not.
SECURITY_DEFINERS = frozenset({"record_change"})

#: Tables of what we intend, and by which function the lease and the halts are asked.
_INTENTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "signals": ("BEFORE INSERT", "guard_intent"),
        "signal_log": ("BEFORE INSERT", "guard_intent"),
        "risk_decisions": ("BEFORE INSERT", "guard_decision"),
        "orders": ("BEFORE INSERT OR UPDATE OF status", "guard_order_intent"),
        "portfolio_positions": ("BEFORE INSERT OR UPDATE OF current_stop, rollover_status", "guard_entry"),
        "pyramiding_state": ("BEFORE INSERT OR UPDATE", "guard_intent"),
        "strategy_state": ("BEFORE INSERT OR DELETE OR UPDATE", "guard_intent"),
    }
)

_HISTORY_EVENTS = (
    "AFTER INSERT OR UPDATE OF status, reported_status, quantity, quote_quantity, limit_price, stop_price"
)


@dataclass(frozen=True, slots=True, order=True)
class Trigger:
    """A trigger in the words of CREATE TRIGGER; *events* are in the order the server prints them in.

    A *deferred* one is called when the transaction commits.
    """

    table: str
    name: str
    events: str
    per: str
    function: str
    arguments: tuple[str, ...] = ()
    deferred: bool = False


def triggers_of(table: Table) -> Iterator[Trigger]:
    """The triggers *table* is to have."""
    if "row_version" in table.columns:
        yield Trigger(table.name, "raise_row_version", "BEFORE UPDATE", "ROW", "raise_row_version")
    if table.info.get("append_only"):
        yield Trigger(table.name, "refuse_change", "BEFORE DELETE OR UPDATE", "ROW", "refuse_change")
        yield Trigger(table.name, "refuse_truncate", "BEFORE TRUNCATE", "STATEMENT", "refuse_change")
    if is_audited(table):
        recording = ("AFTER INSERT OR DELETE OR UPDATE", "ROW", "record_change", audit_arguments(table))
        yield Trigger(table.name, "record_change", *recording)
        yield Trigger(table.name, "refuse_truncate", "BEFORE TRUNCATE", "STATEMENT", "refuse_truncate")
    if table.name in _INTENTS:
        events, function = _INTENTS[table.name]
        yield Trigger(table.name, "guard_intent", events, "ROW", function)
    if table.name == "accounts":
        yield Trigger(table.name, "open_lease", "AFTER INSERT", "ROW", "open_lease")
    if table.name == "cash_flows":
        yield Trigger(table.name, "book_cash_flow", "AFTER INSERT", "ROW", "book_cash_flow")
    if table.name == "orders":
        steps = tuple(legal_steps(ORDER_TRANSITIONS))
        yield Trigger(table.name, "guard_order", "BEFORE UPDATE", "ROW", "guard_order", steps)
        yield Trigger(table.name, "record_order_history", _HISTORY_EVENTS, "ROW", "record_order_history")
        yield Trigger(
            table.name,
            "match_unmatched_fills",
            "AFTER INSERT OR UPDATE OF exchange_order_id, client_order_id",
            "ROW",
            "match_unmatched_fills",
            deferred=True,
        )


def triggers_of_partition(table: Table, partition: str) -> Iterator[Trigger]:
    """The triggers *partition* needs of its own: the server hands down those that are called per row only."""
    for trigger in triggers_of(table):
        if trigger.per == "STATEMENT":
            yield replace(trigger, table=partition)


def legal_steps(transitions: Mapping[OrderStatus, frozenset[OrderStatus]]) -> Iterator[str]:
    """Each legal step as `NEW>FILLED`, in the order the statuses are declared in."""
    for source in OrderStatus:
        for target in OrderStatus:
            if target in transitions[source]:
                yield f"{source}>{target}"
