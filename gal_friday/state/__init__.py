"""What an engine keeps, saved and restored: `DatabaseStateManager`."""

from gal_friday.state.db_state_manager import DatabaseStateManager
from gal_friday.state.fingerprint import signal_fingerprint
from gal_friday.state.signal_ledger import SignalReceipt
from gal_friday.state.state_transaction import StateTransaction

__all__ = ["DatabaseStateManager", "SignalReceipt", "StateTransaction", "signal_fingerprint"]
