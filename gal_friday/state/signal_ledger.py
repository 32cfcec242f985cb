"""Claiming incoming signals: each is taken once, and its replays are counted."""

from dataclasses import dataclass

from gal_friday.dal.detached import column_values
from gal_friday.dal.models import SignalLog
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import InvalidValue
from gal_friday.state.fingerprint import signal_fingerprint

#: What the ledger says about a signal, and the signal does not.
_LEDGERS_OWN = frozenset({"id", "created_at", "updated_at", "row_version", "duplicate_count"})


@dataclass(frozen=True, slots=True)
class SignalReceipt:
    """What became of a signal that arrived: its entry in the ledger, and whether it is the first of its kind.

    Until the commit the entry belongs to its transaction: what is changed on it there is stored as well.
    """

    entry: SignalLog
    is_new: bool


def ledger_entry(signal: SignalLog, *, account_id: str) -> SignalLog:
    """One arrival of *signal*, with the fingerprint that follows from it where it has none.

    Raises InvalidValue for a signal of another account, and as `signal_fingerprint` does.
    """
    given = {name: value for name, value in column_values(signal).items() if name not in _LEDGERS_OWN}
    entry = SignalLog(**{"account_id": account_id, **given})
    if entry.account_id != account_id:
        raise InvalidValue("a signal of another account", account_id=account_id, given=entry.account_id)
    if given.get("fingerprint") is None:
        entry.fingerprint = signal_fingerprint(entry)
    return entry


def fingerprint_of(signal: SignalLog | str, *, account_id: str) -> str:
    """The fingerprint *signal* is entered with in this account; text is one already."""
    return signal if isinstance(signal, str) else ledger_entry(signal, account_id=account_id).fingerprint


async def claim(uow: UnitOfWork, entry: SignalLog) -> SignalReceipt:
    """Enter the arrival *entry*. Of several transactions that claim one signal, all wait for the first."""
    stored = await uow.signal_log.record(entry)
    return SignalReceipt(stored, is_new=stored.id == entry.id)
