"""Halting an account or a strategy, and letting it go on."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models.accounts import Account
from gal_friday.dal.models.instances import AccountLease
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.strategies import StrategyHalt
from gal_friday.errors import InvalidValue, NotFound


class HaltRepository(BaseRepository[StrategyHalt]):
    """Rows are strategies that were halted; an account's own halt is in its row of `accounts`."""

    model = StrategyHalt

    async def halt(
        self,
        *,
        reason: str,
        by: str,
        account_id: str = DEFAULT_ACCOUNT_ID,
        strategy_id: str | None = None,
    ) -> Account | StrategyHalt:
        """Stop the account, or one strategy in it: once this is committed, nothing that adds risk is stored.

        What was being stored is waited for. Signals can still be stored, and are decided HALTED; orders that
        reduce a position or protect one, cancels and changes of stops pass. A halt in force gets the new
        reason, and keeps its time. Raises NotFound for an unknown account, InvalidReference for an unknown
        strategy, and InvalidValue for an empty *reason*.
        """
        if not reason.strip():
            raise InvalidValue("a halt has a reason", account_id=account_id, strategy_id=strategy_id)
        halted = await self._locked(account_id, strategy_id)
        if halted.halted_at is None:
            halted.halted_at = await self._now()
        halted.halt_reason = reason
        halted.halted_by = by
        await self._flush()
        return halted

    async def resume(
        self, *, account_id: str = DEFAULT_ACCOUNT_ID, strategy_id: str | None = None
    ) -> Account | StrategyHalt | None:
        """Let the account, or one strategy in it, go on; None where it was not halted. Raises NotFound.

        A strategy goes on only where its account does.
        """
        halted = await self._locked(account_id, strategy_id)
        if halted.halted_at is None:
            return None
        halted.halted_at = halted.halt_reason = halted.halted_by = None
        await self._flush()
        return halted

    async def in_force(self, *, account_id: str = DEFAULT_ACCOUNT_ID) -> Sequence[StrategyHalt]:
        """Strategies halted in the account, by name."""
        return await self.find_all(
            StrategyHalt.account_id == account_id,
            StrategyHalt.halted_at.is_not(None),
            order_by=StrategyHalt.strategy_id,
        )

    async def _locked(self, account_id: str, strategy_id: str | None) -> Account | StrategyHalt:
        """What says whether it is halted, once nobody is intending anything in the account."""
        lease = await self._session.get(
            AccountLease, account_id, with_for_update=True, populate_existing=True
        )
        if lease is None:
            raise NotFound(table=Account.__tablename__, key=account_id)
        if strategy_id is None:
            return await self._session.get_one(Account, account_id, populate_existing=True)
        key = {"account_id": account_id, "strategy_id": strategy_id}
        await self._session.execute(insert(StrategyHalt).values(key).on_conflict_do_nothing())
        return await self._session.get_one(StrategyHalt, (account_id, strategy_id), populate_existing=True)

    async def _now(self) -> datetime:
        moment: datetime = (await self._session.scalars(select(func.clock_timestamp()))).one()
        return moment
