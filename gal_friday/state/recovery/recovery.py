"""Recovery: from a process that has just started to one that may trade, or is told why it may not."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Protocol

from gal_friday.dal.models import DEFAULT_ACCOUNT_ID, RecoveryCertificate
from gal_friday.dal.open_database import OpenDatabase
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import InvalidValue, RecoveryRefused
from gal_friday.state.leases import Lease
from gal_friday.state.recovery.attention import orders_in_doubt, unmatched_fills, unprotected_positions
from gal_friday.state.recovery.invariants import CHECKS, Findings, Invariant, Unchecked
from gal_friday.state.recovery.restoring import RestoredState, restore

log = logging.getLogger(__name__)

#: What may be found wanting, by the names an operator overrides it by.
NAMES = frozenset({"journal", "exchange", *CHECKS})

#: Who halts an account that may not trade, and lets it go on once it may.
RECOVERY = "recovery"


class JournalOutcome(Protocol):
    """What became of the facts a journal on disk held."""

    @property
    def pending(self) -> int:
        """Facts it still holds."""
        ...

    @property
    def refused(self) -> int:
        """Facts the database refused, which are set aside."""
        ...

    @property
    def damaged(self) -> Collection[str]:
        """Files that cannot be read to the end."""
        ...

    def as_json(self) -> dict[str, Any]:
        """Its figures."""
        ...


class Journal(Protocol):
    """Facts that were taken while the database was away."""

    async def drain(self) -> JournalOutcome:
        """Store what is held, in order; what became of it."""
        ...

    async def retry_refused(self) -> int:
        """Put what was refused back among what is held; how many facts that were."""
        ...


class Reconciliation(Protocol):
    """What a comparison with the exchange found, and repaired."""

    @property
    def is_complete(self) -> bool:
        """Whether the exchange answered all it was asked, and all was understood."""
        ...

    @property
    def failures(self) -> Collection[str]:
        """What it did not answer."""
        ...

    @property
    def not_understood(self) -> Collection[str]:
        """Answers that make no sense."""
        ...

    def as_json(self) -> dict[str, Any]:
        """Repairs and differences."""
        ...


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was restored, and the certificate of it."""

    certificate: RecoveryCertificate
    state: RestoredState

    @property
    def may_trade(self) -> bool:
        """Whether every invariant holds, or the operator trades in spite of it."""
        return self.certificate.may_trade

    def require(self) -> RestoredState:
        """The state to go on with. Raises RecoveryRefused, naming what does not hold."""
        if not self.may_trade:
            raise RecoveryRefused(
                account_id=self.certificate.account_id,
                certificate=self.certificate.id,
                invariants=_failing(self.certificate),
            )
        return self.state


async def recover(
    database: OpenDatabase,
    *,
    account_id: str = DEFAULT_ACCOUNT_ID,
    lease: Lease | None = None,
    journal: Journal | None = None,
    reconcile: Callable[[], Awaitable[Reconciliation]] | None = None,
    override: Collection[str] = (),
    override_reason: str | None = None,
    dry_run: bool = False,
) -> Recovery:
    """Bring the account from whatever happened to where it can trade, and put that on record.

    The database is migrated and the *lease* held before. Then facts of the *journal* are stored, the exchange
    is asked by *reconcile*, and, in one snapshot, the state is read and its invariants are checked: what was
    read before the facts were in would be stale. Where an invariant fails the account is halted, in the
    database, for every process; it goes on once a recovery finds none that fails.

    *override* names invariants to trade in spite of, for *override_reason*. An override holds for later
    recoveries as long as the findings are the same. With *dry_run* nothing is stored or halted; give a
    *journal* that drains nothing and a *reconcile* that repairs nothing.

    What failed at the last recovery and is not looked at by this one is taken to fail: a recovery that asks
    no exchange does not overrule one that did.

    Raises NotFound for an unknown account, InvalidValue for an override without reason or of no invariant,
    LeaseLost where *lease* was lost meanwhile, and DatabaseUnavailable.
    """
    wanted = _wanted_overrides(override, override_reason)
    started_at = datetime.now(UTC)
    invariants: list[Invariant | Unchecked] = []
    drained = None
    if journal is not None:
        drained = await journal.drain()
    reconciliation = None
    if reconcile is not None:
        reconciliation = await reconcile()
        invariants.append(Invariant("exchange", _unanswered(reconciliation)))
    if journal is not None and drained is not None:
        if drained.refused and await journal.retry_refused():  # its order may have been found at the exchange
            drained = await journal.drain()
        invariants.append(Invariant("journal", _left_on_disk(drained)))
    async with database.pool.transaction(read_only=True, snapshot=True) as uow:
        account = await uow.accounts.one(account_id)
        state = await restore(uow.session, account)
        for name, check in CHECKS.items():
            invariants.append(Invariant(name, await check(uow.session, account_id)))
        before = await uow.recoveries.latest(account_id=account_id)
        invariants += _left_unchecked(before, {each.name for each in invariants})
        overrides = _overrides(invariants, before, wanted)
        certificate = RecoveryCertificate(
            account_id=account_id,
            instance_id=lease and lease.instance_id,
            epoch=lease.epoch if lease else 0,
            app_version=version("gal_friday"),
            schema_revision=await uow.instances.schema_revision(),
            started_at=started_at,
            counts=dict(state.counts),
            checksums=dict(state.checksums),
            invariants=[invariant.as_json() for invariant in invariants],
            orders_in_doubt=list(await orders_in_doubt(uow.session, account_id)),
            unprotected_positions=list(await unprotected_positions(uow.session, account_id)),
            unmatched_fills=list(await unmatched_fills(uow.session, account_id)),
            journal=drained.as_json() if drained else {},
            reconciliation=reconciliation and reconciliation.as_json(),
            overrides=[{"name": name, "reason": reason} for name, reason in sorted(overrides.items())],
            recovered_at=datetime.now(UTC),
            may_trade=all(each.holds or each.name in overrides for each in invariants),
        )
    if not dry_run:
        put_on_record = partial(_put_on_record, certificate=certificate, lease=lease)
        await database.pool.retrying(put_on_record, actor=RECOVERY)
    log.log(
        logging.INFO if certificate.may_trade else logging.ERROR,
        "recovered" if certificate.may_trade else "recovered, and may not trade",
        extra={"account": account_id, "counts": dict(state.counts), "failing": _failing(certificate)},
    )
    return Recovery(certificate, state)


def _left_on_disk(drained: JournalOutcome) -> Findings:
    left = {"pending": drained.pending, "refused": drained.refused}
    counted = [left] if any(left.values()) else []
    return [*counted, *({"damaged": file} for file in drained.damaged)]


def _unanswered(reconciliation: Reconciliation) -> Findings:
    return [
        *({"failure": failure} for failure in reconciliation.failures),
        *({"not_understood": record} for record in reconciliation.not_understood),
    ]


def _wanted_overrides(names: Collection[str], reason: str | None) -> dict[str, str]:
    if unknown := set(names) - NAMES:
        raise InvalidValue("no such invariant", unknown=sorted(unknown), known=sorted(NAMES))
    if names and not (reason or "").strip():
        raise InvalidValue("an override has a reason", override=sorted(names))
    return dict.fromkeys(names, reason or "")


def _left_unchecked(before: RecoveryCertificate | None, checked: Collection[str]) -> list[Unchecked]:
    """What failed at the last recovery, and this one did not look at: the exchange, where none was asked."""
    stored = before.invariants if before else []
    return [Unchecked(each) for each in stored if not each["holds"] and each["name"] not in checked]


def _overrides(
    invariants: Collection[Invariant | Unchecked],
    before: RecoveryCertificate | None,
    wanted: Mapping[str, str],
) -> Mapping[str, str]:
    """Reasons to trade in spite of what fails: those *wanted*, those of *before* for the same findings."""
    failing = {each.name: each.checksum for each in invariants if not each.holds}
    if unchecked := wanted.keys() - {each.name for each in invariants}:
        raise InvalidValue("was not checked at this recovery", override=sorted(unchecked))
    reasons = {}
    if before is not None:
        known = {each["name"]: each["checksum"] for each in before.invariants}
        kept = {each["name"]: each["reason"] for each in before.overrides}
        reasons = {name: kept[name] for name in kept if failing.get(name) == known[name]}
    reasons.update({name: reason for name, reason in wanted.items() if name in failing})
    return reasons


def _failing(certificate: RecoveryCertificate) -> list[str]:
    overridden = {each["name"] for each in certificate.overrides}
    return [
        each["name"]
        for each in certificate.invariants
        if not each["holds"] and each["name"] not in overridden
    ]


async def _put_on_record(uow: UnitOfWork, *, certificate: RecoveryCertificate, lease: Lease | None) -> None:
    """Store the certificate, and halt the account or let it go on as it says; under *lease*, if any."""
    account_id = certificate.account_id
    if lease is not None:
        lease.check()
        await uow.leases.require(account_id)
    await uow.recoveries.add(certificate)
    if not certificate.may_trade:
        reason = f"recovery {certificate.id} found wanting: {', '.join(_failing(certificate))}"
        await uow.halts.halt(reason=reason, by=RECOVERY, account_id=account_id, only_own=True)
    else:
        await uow.halts.resume(account_id=account_id, made_by=RECOVERY)
