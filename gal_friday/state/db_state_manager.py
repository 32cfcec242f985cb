"""DatabaseStateManager: what an engine keeps of one account, saved and restored."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.dal.cache import Cache, CacheStats, L1Cache
from gal_friday.dal.detached import bring_up_to_date, column_values
from gal_friday.dal.models import (
    DEFAULT_ACCOUNT_ID,
    PortfolioPosition,
    PortfolioState,
    PyramidingState,
    SignalLog,
)
from gal_friday.dal.open_database import OpenDatabase
from gal_friday.dal.retry_policy import Work
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.dal.write_notices import EVERY_TABLE
from gal_friday.errors import TransactionConflict
from gal_friday.state.saved_rows import SavedRows
from gal_friday.state.signal_ledger import SignalReceipt, claim, ledger_entry
from gal_friday.state.state_transaction import StateTransaction
from gal_friday.state.versioned_save import Image, Row, image_of, save_alone

T = TypeVar("T")

log = logging.getLogger(__name__)

ATTEMPTS = 20


class DatabaseStateManager:
    """The state of one account: positions, portfolio, pyramids, and the ledger of signals.

    Each call is a transaction of its own, tried again with backoff after a deadlock and after a lost
    connection; `transaction` makes several of them one. Rows are entities; those given back are copies that
    belong to nobody, those given to be saved are brought up to date. Who saves a row names, by the entity's
    `row_version`, the version it has read, and gets StaleWrite where that is not the present one.

    `get_position` answers from *cache* where it can. A cache never shows what is older than this process's
    last commit through the same pool, nor what was rolled back; a write of another process it shows once its
    entry has grown too old.
    """

    def __init__(
        self,
        database: OpenDatabase,
        *,
        account_id: str = DEFAULT_ACCOUNT_ID,
        actor: str | None = None,
        cache: Cache[PortfolioPosition] | None = None,
    ) -> None:
        """*actor* is who acts, on record (default: the login role); *cache* is of this manager alone."""
        self.account_id = account_id
        self._pool = database.pool
        self._actor = actor
        self._cache: Cache[PortfolioPosition] = L1Cache() if cache is None else cache
        self._pool.watchers.add(self)

    async def save_position(self, position: PortfolioPosition, *, overwrite: bool = False) -> None:
        """Store a position that is new, or what was changed on one that was read.

        With *overwrite* what is given replaces what is stored, whoever stored it: for an engine that is the
        only writer and keeps objects of its own. Raises StaleWrite with key, expected and found version where
        the position was saved, or removed, since it was read, or is there though it was never read;
        ConstraintViolated, InvalidReference and InvalidValue for what cannot be stored.
        """
        await self._save(position, overwrite=overwrite)

    async def get_position(self, position_id: str, *, refresh: bool = False) -> PortfolioPosition | None:
        """The position of this name, closed or not, or None; with *refresh* not from the cache."""
        if not refresh and (kept := await self._cache.get(position_id)) is not None:
            return kept
        since = self._cache.moment()
        position = await self._read(lambda t: t.get_position(position_id))
        if position is None:
            await self._cache.discard(position_id)
        else:
            await self._cache.put(position_id, position, since=since)
        return position

    async def get_all_open_positions(self) -> dict[str, PortfolioPosition]:
        """Positions that are not closed, by name, in the order they were entered; never from the cache."""
        since = self._cache.moment()
        positions = await self._read(lambda t: t.get_all_open_positions())
        for position_id, position in positions.items():
            await self._cache.put(position_id, position, since=since)
        return positions

    async def save_portfolio_state(self, state: PortfolioState) -> None:
        """Store the account's risk figures, peak and engine state in one currency.

        `closed_equity` is not among them: fills and cash flows move it, in the database. Raises InvalidValue
        where it was changed, StaleWrite where the row was, be it by a fill: reload, apply the change, save.
        """
        await self._save(state)

    async def get_portfolio_state(self, currency: str) -> PortfolioState | None:
        """The account's equity and risk in *currency*, or None; never from the cache, fills change it."""
        return await self._read(lambda t: t.get_portfolio_state(currency))

    async def save_pyramiding_state(self, state: PyramidingState, *, overwrite: bool = False) -> None:
        """Store how far the pyramid in an instrument has been built. Raises as `save_position` does."""
        await self._save(state, overwrite=overwrite)

    async def get_pyramiding_state(self) -> dict[str, PyramidingState]:
        """How far the pyramid in each instrument has been built, by instrument; never from the cache."""
        return await self._read(lambda t: t.get_pyramiding_state())

    async def check_duplicate_signal(self, signal: SignalLog | str) -> bool:
        """Whether *signal*, or one with this fingerprint, has arrived.

        A question only: two that ask at once may both hear no. To take a signal, ask `log_signal`.
        """
        return await self._read(lambda t: t.check_duplicate_signal(signal))

    async def log_signal(self, signal: SignalLog) -> SignalReceipt:
        """Enter an arrival of *signal* in the ledger: the first is new, later ones are counted.

        Its fingerprint is `signal_fingerprint(signal)` unless it has one. Here the claim is all there is; to
        take a signal and act on it, call it in a `transaction` together with the effect.
        """
        entry = ledger_entry(signal, account_id=self.account_id)

        async def attempt() -> SignalReceipt:
            async with self._transaction(self._actor) as (t, _):
                return await claim(t.uow, entry)

        return await self._pool.retry(attempt, work=Work.SAVE, attempts=ATTEMPTS)

    @asynccontextmanager
    async def transaction(self, *, actor: str | None = None) -> AsyncIterator[StateTransaction]:
        """One transaction: committed when the block ends cleanly, undone by any exception.

        It is not tried again; see `retrying`. Raises as `DatabaseConnectionPool.transaction` does.
        """
        async with self._transaction(actor or self._actor) as (t, _):
            yield t

    async def retrying(
        self,
        work: Callable[[StateTransaction], Awaitable[T]],
        *,
        actor: str | None = None,
        attempts: int = ATTEMPTS,
    ) -> T:
        """What *work* returns, done in a transaction that is tried again, from the start, when it got lost.

        *work* reads what it changes; see `DatabaseConnectionPool.retrying`.
        """

        async def attempt() -> T:
            async with self.transaction(actor=actor) as t:
                return await work(t)

        return await self._pool.retry(attempt, work=Work.UNIT_OF_WORK, attempts=attempts)

    @asynccontextmanager
    async def get_connection(self, *, actor: str | None = None) -> AsyncIterator[AsyncConnection]:
        """A connection for SQL of one's own, in a transaction as `transaction` gives it.

        As nobody knows what that SQL changes, the cache forgets all it has afterwards.
        """
        async with self.transaction(actor=actor) as t:
            yield await t.connection()

    async def clear_cache(self) -> None:
        """Forget all that is cached: others may have written, as before this engine's lease began."""
        await self._cache.clear()

    def cache_stats(self) -> CacheStats:
        """Figures of the cache."""
        return self._cache.stats()

    async def rows_written(self, tables: frozenset[str]) -> None:
        """Told by the pool of writes that did not go through this manager."""
        if tables & {PortfolioPosition.__tablename__, EVERY_TABLE}:
            await self._cache.clear()

    async def _save(self, entity: Row, *, overwrite: bool = False) -> None:
        image = image_of(entity, account_id=self.account_id)
        # What overwrites names no version: if its message arrived late it would undo what was saved since.
        if self._actor is None and not overwrite and self._pool.runs_single_statements:
            try:
                await self._save_alone(image)
            except TransactionConflict:
                log.info("others were in the way of a save; it is done again", extra={"key": image.key})
            else:
                return

        async def attempt() -> None:
            async with self._transaction(self._actor) as (_, saved_rows):
                await saved_rows.save_image(image, overwrite=overwrite)

        await self._pool.retry(attempt, work=Work.SAVE, attempts=ATTEMPTS)

    async def _save_alone(self, image: Image[Row]) -> None:
        since = self._cache.moment()
        try:
            stored = await save_alone(self._pool, image)
        except BaseException:
            if isinstance(image.entity, PortfolioPosition):
                await self._cache.discard(image.entity.position_id)
            raise
        finally:
            for watcher in list(self._pool.watchers):
                if watcher is not self:
                    await watcher.rows_written(frozenset({image.model.__tablename__}))
        values = column_values(stored)
        bring_up_to_date(image.entity, image.values, values)
        if isinstance(stored, PortfolioPosition):
            await self._cache.put(stored.position_id, stored, since=since, written=True)

    async def _read(self, question: Callable[[StateTransaction], Awaitable[T]]) -> T:
        async def attempt() -> T:
            async with self._pool.session({"transaction_read_only": "on"}) as session:
                uow = UnitOfWork(session)
                return await question(self._state_of(uow)[0])

        return await self._pool.retry(attempt, work=Work.READ, attempts=ATTEMPTS)

    @asynccontextmanager
    async def _transaction(self, actor: str | None) -> AsyncIterator[tuple[StateTransaction, SavedRows]]:
        since = self._cache.moment()
        is_over = False
        try:
            async with self._pool.transaction(actor=actor) as uow:
                t, saved_rows = self._state_of(uow)
                yield t, saved_rows
                is_over = True
        except BaseException:
            if is_over:  # something happened to the commit; nothing of it is kept
                for position in saved_rows.positions():
                    await self._cache.discard(position.position_id)
            raise
        saved_rows.tell_callers()
        for position in saved_rows.positions():
            await self._cache.put(position.position_id, position, since=since, written=True)

    def _state_of(self, uow: UnitOfWork) -> tuple[StateTransaction, SavedRows]:
        saved_rows = SavedRows(uow, account_id=self.account_id, told_by=self)
        return StateTransaction(uow, saved_rows, account_id=self.account_id), saved_rows
