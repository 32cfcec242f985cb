"""Facts of the exchange that wait on disk while the database is away."""

from gal_friday.dal.journal.fact_journal import FactJournal
from gal_friday.dal.journal.stats import JournalStats

__all__ = ["FactJournal", "JournalStats"]
