"""StateTransaction: the state of one account, read and saved in one transaction."""

from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.dal.detached import detached_copy
from gal_friday.dal.models import PortfolioPosition, PortfolioState, PyramidingState, SignalLog
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.dal.write_notices import EVERY_TABLE, note_write
from gal_friday.state.saved_rows import SavedRows
from gal_friday.state.signal_ledger import SignalReceipt, claim, fingerprint_of, ledger_entry


class StateTransaction:
    """What can be done in `DatabaseStateManager.transaction`: the commit stores all of it, or nothing.

    Reads see what the transaction itself has saved, and give copies: only what is saved is stored. An entity
    given to be saved is brought up to date after the commit, and may be changed and saved again before.
    *uow* has every repository, in the same transaction.
    """

    def __init__(self, uow: UnitOfWork, saved_rows: SavedRows, *, account_id: str) -> None:
        self.uow = uow
        self.account_id = account_id
        self._saved_rows = saved_rows

    async def save_position(self, position: PortfolioPosition, *, overwrite: bool = False) -> None:
        """As `DatabaseStateManager.save_position`; after StaleWrite the transaction can go on."""
        await self._saved_rows.save_entity(position, overwrite=overwrite)

    async def get_position(self, position_id: str) -> PortfolioPosition | None:
        """The position of this name as it is stored, closed or not, or None."""
        await self.uow.flush()
        row = await self.uow.portfolio_positions.get((self.account_id, position_id))
        return row and detached_copy(row)

    async def get_all_open_positions(self) -> dict[str, PortfolioPosition]:
        """Positions that are not closed, by name, in the order they were entered."""
        rows = await self.uow.portfolio_positions.get_open_positions(account_id=self.account_id)
        return {row.position_id: detached_copy(row) for row in rows}

    async def save_portfolio_state(self, state: PortfolioState) -> None:
        """As `DatabaseStateManager.save_portfolio_state`; after StaleWrite the transaction can go on."""
        await self._saved_rows.save_entity(state)

    async def get_portfolio_state(self, currency: str) -> PortfolioState | None:
        """The account's equity and risk in *currency*, or None."""
        await self.uow.flush()
        row = await self.uow.portfolio_states.get((self.account_id, currency))
        return row and detached_copy(row)

    async def save_pyramiding_state(self, state: PyramidingState, *, overwrite: bool = False) -> None:
        """As `DatabaseStateManager.save_pyramiding_state`; after StaleWrite the transaction can go on."""
        await self._saved_rows.save_entity(state, overwrite=overwrite)

    async def get_pyramiding_state(self) -> dict[str, PyramidingState]:
        """How far the pyramid in each instrument has been built, by instrument."""
        rows = await self.uow.pyramiding_states.of_account(self.account_id)
        return {row.instrument: detached_copy(row) for row in rows}

    async def check_duplicate_signal(self, signal: SignalLog | str) -> bool:
        """Whether *signal*, or one with this fingerprint, has arrived; to take it ask `log_signal`."""
        fingerprint = fingerprint_of(signal, account_id=self.account_id)
        return await self.uow.signal_log.seen(fingerprint, account_id=self.account_id)

    async def log_signal(self, signal: SignalLog) -> SignalReceipt:
        """As `DatabaseStateManager.log_signal`; the claim is undone with the rest of the transaction.

        Other transactions that log the same signal meanwhile wait until this one has ended.
        """
        return await claim(self.uow, ledger_entry(signal, account_id=self.account_id))

    async def connection(self) -> AsyncConnection:
        """The connection of this transaction, for SQL of one's own; caches forget all they have after it."""
        await self.uow.flush()
        note_write(self.uow.session.sync_session, EVERY_TABLE)
        return await self.uow.session.connection()
