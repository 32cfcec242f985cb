"""Halting an account or a strategy, and letting it go on."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Table, func, select, true, update
from sqlalchemy.dialects.postgresql import insert

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.accounts import Account
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.orders import Order
from gal_friday.dal.models.strategies import StrategyHalt
from gal_friday.errors import InvalidValue, NotFound

assert isinstance(Order.__table__, Table)
_WHOLE_ORDER = Order.__table__.table_valued()


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
        only_own: bool = False,
    ) -> Account | StrategyHalt:
        """Stop the account, or one strategy in it: once committed, nothing new that adds risk is stored.

        What was being stored at that moment ends first where one asks `wait_for_intents`, in a transaction
        that follows. Signals can still be stored, and are decided HALTED; orders that reduce a position or
        protect one, cancels and changes of stops pass. A halt in force gets the new reason, and keeps its
        time; with *only_own* one that somebody else made is left as it is. Raises NotFound for an unknown
        account, InvalidReference for an unknown strategy, and InvalidValue for an empty *reason*.
        """
        if not reason.strip():
            raise InvalidValue("a halt has a reason", account_id=account_id, strategy_id=strategy_id)
        halted = await self._locked(account_id, strategy_id)
        if only_own and halted.halted_at is not None and halted.halted_by != by:
            return halted
        if halted.halted_at is None:
            halted.halted_at = await self._now()
        halted.halt_reason = reason
        halted.halted_by = by
        await self._flush()
        return halted

    async def resume(
        self,
        *,
        account_id: str = DEFAULT_ACCOUNT_ID,
        strategy_id: str | None = None,
        made_by: str | None = None,
    ) -> Account | StrategyHalt | None:
        """Let the account, or one strategy in it, go on; None where it was not halted. Raises NotFound.

        With *made_by* only where the halt is theirs. A strategy goes on only where its account does.
        """
        halted = await self._locked(account_id, strategy_id)
        if halted.halted_at is None or made_by not in {None, halted.halted_by}:
            return None
        halted.halted_at = halted.halt_reason = halted.halted_by = None
        await self._flush()
        return halted

    @one_statement
    async def in_force(self, *, account_id: str = DEFAULT_ACCOUNT_ID) -> Sequence[StrategyHalt]:
        """Strategies halted in the account, by name."""
        return await self.find_all(
            StrategyHalt.account_id == account_id,
            StrategyHalt.halted_at.is_not(None),
            order_by=StrategyHalt.strategy_id,
        )

    async def wait_for_intents(self, account_id: str = DEFAULT_ACCOUNT_ID) -> None:
        """Return once every transaction has ended that was intending something in the account.

        Those that begin meanwhile wait behind. Raises StatementTimeout, or LockTimeout where one is set.
        """
        await self._session.execute(select(func.lock_intents(account_id, true())))

    async def require_risk_allowed(self, order_id: UUID) -> None:
        """Refuse to go on where a halt forbids what the order adds. Raises TradingHalted."""
        await self._session.execute(
            select(func.require_risk_allowed(_WHOLE_ORDER)).where(Order.id == order_id)
        )

    async def _locked(self, account_id: str, strategy_id: str | None) -> Account | StrategyHalt:
        """What says whether it is halted; the account's row is changed in any case, which tells snapshots."""
        touched = update(Account).where(Account.account_id == account_id).values(halted_by=Account.halted_by)
        await self._session.execute(touched, execution_options={"synchronize_session": False})
        account = await self._session.get(Account, account_id, populate_existing=True)
        if account is None:
            raise NotFound(table=Account.__tablename__, key=account_id)
        if strategy_id is None:
            return account
        key = {"account_id": account_id, "strategy_id": strategy_id}
        await self._session.execute(insert(StrategyHalt).values(key).on_conflict_do_nothing())
        return await self._session.get_one(
            StrategyHalt, (account_id, strategy_id), with_for_update=True, populate_existing=True
        )

    async def _now(self) -> datetime:
        moment: datetime = (await self._session.scalars(select(func.clock_timestamp()))).one()
        return moment
