"""The virtual clock in place of the system's, wherever the code under test asks what time it is."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from unittest.mock import patch

from tests.simulation.agenda import Agenda

_MODULES = (
    "gal_friday.services.execution_handler",
    "gal_friday.services.order_facts",
    "gal_friday.services.portfolio_manager",
    "gal_friday.services.reconciliation.questions",
    "gal_friday.services.reconciliation.reconciler",
    "gal_friday.dal.repositories.account_repository",
    "gal_friday.dal.repositories.order_repository",
    "gal_friday.dal.repositories.signal_repository",
)


@contextmanager
def told_by(agenda: Agenda) -> Iterator[None]:
    """For as long as the block lasts, now is what *agenda* says."""

    class Virtual(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # no subclass is needed
            return agenda.now.astimezone(tz)

    modules = [importlib.import_module(name) for name in _MODULES]
    patches = [patch.object(module, "datetime", Virtual) for module in modules]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()
