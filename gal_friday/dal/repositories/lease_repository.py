"""Which instance may act for which account."""

from datetime import timedelta

from sqlalchemy import func, select, true, update

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models.enums import RUNNING_INSTANCE_STATUSES, InstanceStatus
from gal_friday.dal.models.instances import AccountLease, Instance
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.errors import LeaseHeld, NotFound

#: Waited for transactions that intend something, at each try.
TAKEOVER_LOCK_TIMEOUT = "1s"

_NOW = func.clock_timestamp()  # a transaction may have waited for long since it began


class LeaseRepository(BaseRepository[AccountLease]):
    model = AccountLease

    async def take(
        self, instance_id: str, *, duration: timedelta, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> AccountLease:
        """The account's lease, held by the registered instance for *duration* from now.

        A takeover raises the epoch, after everybody who intends something under the present one has ended
        their transaction; the instance that let its lease expire is marked as crashed. Who holds the lease
        already has it prolonged. Raises LeaseHeld with holder and expiry where it has not expired,
        LockTimeout where somebody has been intending something for long, be it a process that has stopped,
        and NotFound for an unknown account or instance. Time is the server's.
        """
        await self._session.execute(select(func.set_config("lock_timeout", TAKEOVER_LOCK_TIMEOUT, true())))
        lease = await self._locked(account_id)
        if lease.holder != instance_id:
            await self._retire_holder(lease)
            lease.holder = instance_id
            lease.epoch += 1
            lease.acquired_at = await self._session.scalar(select(_NOW))
            await self._flush()
        if not await self.renew(lease, duration=duration):
            raise NotFound(table=Instance.__tablename__, key=instance_id)
        return lease

    async def renew(self, lease: AccountLease, *, duration: timedelta) -> bool:
        """Prolong the *lease* to *duration* from now, with a sign of life; False where somebody else has it.

        An expired lease that nobody took over goes on. No writer waits for it, nor it for them.
        """
        is_still_held = select(AccountLease.holder).where(
            AccountLease.account_id == lease.account_id,
            AccountLease.holder == lease.holder,
            AccountLease.epoch == lease.epoch,
        )
        renewed = await self._session.execute(
            update(Instance)
            .where(
                Instance.instance_id == lease.holder,
                # Having waited for a takeover, the statement sees what that did to this row alone.
                Instance.status != InstanceStatus.CRASHED,
                is_still_held.exists(),
            )
            .values(last_heartbeat=_NOW, lease_expires_at=_NOW + duration)
            .returning(Instance.instance_id)
            .execution_options(synchronize_session=False)
        )
        return renewed.one_or_none() is not None

    async def require(self, account_id: str = DEFAULT_ACCOUNT_ID) -> None:
        """Refuse to go on where this process does not lead the account; nobody takes over before it ends.

        The database asks the same of every signal, decision, order and cancel. Raises LeaseLost.
        """
        await self._session.execute(select(func.require_lease(account_id)))

    async def _locked(self, account_id: str) -> AccountLease:
        lease = await self._session.get(
            AccountLease, account_id, with_for_update=True, populate_existing=True
        )
        if lease is None:
            raise NotFound(table="accounts", key=account_id)
        return lease

    async def _retire_holder(self, lease: AccountLease) -> None:
        found = await self._session.execute(
            select(Instance, Instance.lease_expires_at > _NOW)
            .where(Instance.instance_id == lease.holder)
            .with_for_update(),
            execution_options={"populate_existing": True},
        )
        row = found.one_or_none()
        if row is None:
            return
        holder, has_time = row
        if holder.status in RUNNING_INSTANCE_STATUSES:
            if has_time:
                raise LeaseHeld(
                    account_id=lease.account_id,
                    holder=holder.instance_id,
                    hostname=holder.hostname,
                    pid=holder.pid,
                    expires_at=holder.lease_expires_at,
                )
            holder.status = InstanceStatus.CRASHED
            await self._flush()
