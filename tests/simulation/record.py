"""What happened in a simulation, line by line, and what the instances were told is stored."""

import hashlib
import logging
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from gal_friday.dal.models import OrderStatus
from tests.simulation.agenda import Agenda

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Acknowledged:
    """What calls gave back before their caller could be killed. It outlives every process."""

    signals: set[str] = field(default_factory=set)  # fingerprints
    orders: dict[str, OrderStatus] = field(default_factory=dict)  # by client_order_id, the status last given
    fills: set[str] = field(default_factory=set)  # the exchange's trade ids
    steps: int = 0
    steps_attempted: int = 0


@dataclass(slots=True)
class Record:
    """The decision trace. Nothing random from elsewhere may get into it: it tells whether runs are alike."""

    agenda: Agenda
    acknowledged: Acknowledged = field(default_factory=Acknowledged)
    lines: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    #: How often what happened that is worth counting.
    counts: Counter[str] = field(default_factory=Counter)

    def note(self, actor: str, what: str, *facts: object) -> None:
        if actor in self.dead:  # what a process feels as it dies, nobody hears
            return
        told = (f"{fact:f}" if isinstance(fact, Decimal) else str(fact) for fact in facts)
        minutes = self.agenda.elapsed.total_seconds() / 60
        self.lines.append(" ".join([f"{minutes:8.2f}", actor, what, *told]))
        log.debug(self.lines[-1])

    def violated(self, promise: str, explanation: str) -> None:
        self.violations.append(f"{promise}: {explanation}")

    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:16]
