"""Halting trading and letting it go on, each with who and why on record in `system_logs`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import DEFAULT_ACCOUNT_ID, Account, Log, Severity, StrategyHalt
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import InvalidValue

#: Category of the entries in `system_logs`.
CATEGORY = "RISK"


@dataclass(frozen=True, slots=True)
class Halt:
    """A halt of an account, or of one strategy in it: since when, why, and by whom."""

    account_id: str
    strategy_id: str | None
    since: datetime
    reason: str
    by: str | None


async def halt(
    uow: UnitOfWork,
    *,
    reason: str,
    by: str,
    account_id: str = DEFAULT_ACCOUNT_ID,
    strategy_id: str | None = None,
) -> Halt:
    """As `uow.halts.halt`, with an entry in the log; the halt as it is in force then."""
    row = await uow.halts.halt(reason=reason, by=by, account_id=account_id, strategy_id=strategy_id)
    made = _in_force(row)
    assert made is not None
    await uow.logs.add(_entry(made, f"halted: {reason}", by=by, level=Severity.WARNING))
    return made


async def wait_for_intents(
    pool: DatabaseConnectionPool, *, account_id: str = DEFAULT_ACCOUNT_ID, seconds: float = 90.0
) -> None:
    """Return once all has ended that was being intended in the account: after a halt, nothing follows it.

    Raises LockTimeout where something has not ended after *seconds*; a halt is in force all the same.
    """
    limit = {"lock_timeout": f"{seconds:g}s", "statement_timeout": "0"}
    async with pool.session(limit) as session:
        await UnitOfWork(session).halts.wait_for_intents(account_id)


async def resume(
    uow: UnitOfWork,
    *,
    reason: str,
    by: str,
    account_id: str = DEFAULT_ACCOUNT_ID,
    strategy_id: str | None = None,
) -> Halt | None:
    """As `uow.halts.resume`, with an entry in the log; the halt that was lifted, None where there was none.

    Raises InvalidValue for an empty *reason*.
    """
    if not reason.strip():
        raise InvalidValue("to go on has a reason as well", account_id=account_id, strategy_id=strategy_id)
    known = await in_force(uow, account_id=account_id)
    lifted = next((each for each in known if each.strategy_id == strategy_id), None)
    row = await uow.halts.resume(account_id=account_id, strategy_id=strategy_id)
    if row is None or lifted is None:
        return None
    await uow.logs.add(_entry(lifted, f"resumed: {reason}", by=by, level=Severity.WARNING))
    return lifted


async def in_force(uow: UnitOfWork, *, account_id: str = DEFAULT_ACCOUNT_ID) -> Sequence[Halt]:
    """What is halted in the account: itself first, then strategies by name. Raises NotFound."""
    account = await uow.accounts.one(account_id)
    rows: list[Account | StrategyHalt] = [account, *await uow.halts.in_force(account_id=account_id)]
    return [each for row in rows if (each := _in_force(row)) is not None]


def _in_force(row: Account | StrategyHalt) -> Halt | None:
    if row.halted_at is None or row.halt_reason is None:
        return None
    strategy_id = row.strategy_id if isinstance(row, StrategyHalt) else None
    return Halt(row.account_id, strategy_id, row.halted_at, row.halt_reason, row.halted_by)


def _entry(halt: Halt, message: str, *, by: str, level: Severity) -> Log:
    return Log(
        source_module=__name__,
        log_level=level,
        category=CATEGORY,
        message=message,
        strategy_id=halt.strategy_id,
        user_id=by,
        context={
            "account_id": halt.account_id,
            "since": halt.since.isoformat(),
            "halt_reason": halt.reason,
            "halted_by": halt.by,
        },
    )
