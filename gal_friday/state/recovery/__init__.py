"""Starting again after anything: restored, brought up to date, checked, and told in a certificate."""

from gal_friday.state.recovery.recovery import Journal, JournalOutcome, Reconciliation, Recovery, recover
from gal_friday.state.recovery.restoring import RestoredState

__all__ = ["Journal", "JournalOutcome", "Reconciliation", "Recovery", "RestoredState", "recover"]
