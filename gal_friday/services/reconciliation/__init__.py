"""Reconciliation: whether the exchange has what we have, and what is done where it has not."""

from gal_friday.services.reconciliation.reconciler import Reconciler
from gal_friday.services.reconciliation.report import (
    Difference,
    DifferenceKind,
    ReconciliationReport,
    Repair,
    RepairKind,
    Subject,
)

__all__ = [
    "Difference",
    "DifferenceKind",
    "ReconciliationReport",
    "Reconciler",
    "Repair",
    "RepairKind",
    "Subject",
]
