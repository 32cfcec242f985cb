"""When an engine may intend anything: led, recovered, and not being stopped."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Protocol

from gal_friday.dal.models import AccountMode, InstanceStatus
from gal_friday.database import Database
from gal_friday.errors import AccountMismatch, NotTrading, PersistenceError
from gal_friday.services.live.gateway import TradingGateway
from gal_friday.state.leases import Lease, hold_lease

log = logging.getLogger(__name__)


class Certificate(Protocol):
    """What a recovery found."""

    @property
    def may_trade(self) -> bool:
        """Whether anything may be intended now."""
        ...


class Recover(Protocol):
    """Restores what is stored and compares it, under the lease: `gal_friday.state.recovery.recover` does."""

    async def __call__(self, database: Database, *, account_id: str, lease: Lease) -> Certificate:
        """The certificate of the recovery made."""
        ...


class Leadership:
    """The lease of one account, the certificate of its recovery, and what is being done under them."""

    def __init__(
        self, database: Database, *, account_id: str, lease_seconds: float, metadata: dict[str, Any] | None
    ) -> None:
        self._database = database
        self._account_id = account_id
        self._lease_seconds = lease_seconds
        self._metadata = metadata
        self._held = AsyncExitStack()
        self._lease: Lease | None = None
        self.certificate: Certificate | None = None
        self._is_draining = False
        self.is_recovering = False
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def lease(self) -> Lease:
        """The lease held. Raises NotTrading where there is none."""
        if self._lease is None:
            raise NotTrading("it was not started", account_id=self._account_id)
        return self._lease

    @property
    def held(self) -> Lease | None:
        """The lease, or None where there is none."""
        return self._lease

    @property
    def is_trading(self) -> bool:
        """Whether something may be intended as far as is known here."""
        return (
            self._lease is not None
            and not self._lease.lost.is_set()
            and not (self._is_draining or self.is_recovering)
            and self.certificate is not None
            and self.certificate.may_trade
        )

    async def take(self, *, wait_seconds: float) -> Lease:
        """Begin to lead. Raises as `hold_lease` does, NotTrading where it leads already."""
        if self._lease is not None:
            raise NotTrading("it was started already", account_id=self._account_id)
        self._lease = await self._held.enter_async_context(
            hold_lease(
                self._database,
                account_id=self._account_id,
                ttl_seconds=self._lease_seconds,
                wait_seconds=wait_seconds,
                metadata=self._metadata,
            )
        )
        self._is_draining = False
        return self._lease

    def check(self, *, adds_risk: bool) -> None:
        """Raise NotTrading or LeaseLost where nothing, or nothing that adds risk, may be intended."""
        self.lease.check()
        if self._is_draining:
            raise NotTrading("it is being stopped", account_id=self._account_id)
        if self.is_recovering:
            raise NotTrading("it is recovering", account_id=self._account_id)
        if self.certificate is None or (adds_risk and not self.certificate.may_trade):
            raise NotTrading("recovery does not allow it", account_id=self._account_id)

    @asynccontextmanager
    async def intending(self, *, adds_risk: bool = True) -> AsyncIterator[Lease]:
        """A block that intends something, which `drain` waits for. Raises as `check` does."""
        self.check(adds_risk=adds_risk)
        with self.busy():
            yield self.lease

    @contextmanager
    def busy(self) -> Iterator[None]:
        """A block that `drain` and `alone` wait for."""
        self._busy += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Lease]:
        """A block in which nothing else is intended; what is under way ends before it."""
        lease = self.lease
        self.is_recovering = True
        try:
            await self._idle.wait()
            yield lease
        finally:
            self.is_recovering = False

    async def drain(self, *, timeout_seconds: float) -> bool:
        """Let nothing new be intended, and wait for what is; whether all of it ended in time."""
        self._is_draining = True
        telling = asyncio.create_task(self._tell_of_draining(self.lease))
        idle = asyncio.create_task(self._idle.wait())
        try:
            await asyncio.wait({telling, idle}, timeout=timeout_seconds)
        finally:
            is_drained = idle.done()
            for task in (telling, idle):
                task.cancel()
            await asyncio.gather(telling, idle, return_exceptions=True)
        if not telling.cancelled():
            telling.result()
        if not is_drained:
            log.warning("stopped amid something", extra={"account": self._account_id, "left": self._busy})
        return is_drained

    async def _tell_of_draining(self, lease: Lease) -> None:
        """Let others see it, where the database takes it: nothing depends on it."""
        if lease.lost.is_set():
            return
        try:
            await self._database.instances.heartbeat(lease.instance_id, status=InstanceStatus.DRAINING)
        except PersistenceError as error:
            log.warning("draining, which is not stored", extra={"error": str(error)})

    async def give_up(self) -> None:
        """Give the lease up."""
        self._lease = None
        self.certificate = None
        await self._held.aclose()


async def check_account(
    database: Database, gateway: TradingGateway, *, account_id: str, mode: AccountMode
) -> None:
    """Raise AccountMismatch unless account, gateway and engine are all for one mode, and one exchange."""
    if gateway.mode is not mode:
        raise AccountMismatch(
            "the gateway is for the other mode", wanted=mode.value, gateway=gateway.mode.value
        )
    account = await database.accounts.one(account_id)
    if account.mode is not mode:
        raise AccountMismatch(
            "the account is of the other mode",
            account_id=account_id,
            wanted=mode.value,
            mode=account.mode.value,
        )
    if account.exchange not in {None, gateway.exchange}:
        raise AccountMismatch(
            "the account is held at another exchange",
            account_id=account_id,
            exchange=account.exchange,
            gateway=gateway.exchange,
        )
