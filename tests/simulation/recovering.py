"""What a bot does once it leads: it recovers, and trades when its certificate says that it may."""

from collections.abc import Mapping

from gal_friday.state.recovery import recover
from tests.simulation.bot import Desk
from tests.simulation.listening import poll


async def come_to_lead(desk: Desk) -> None:
    """Compete for the lease; who has it and does not know all that happened before, recovers."""
    await desk.compete()
    if desk.lease is None or desk.may_trade:
        return
    lines = len(desk.record.lines)
    recovery = await recover(desk.database, lease=desk.lease)
    certificate = recovery.certificate
    failing = [each["name"] for each in certificate.invariants if not each["holds"]]
    desk.record.note(desk.name, "recovers", recovery.may_trade, _shown(certificate.counts), *failing)
    for name in failing:
        desk.record.violated("P02", f"after a restart {name} does not hold")
    if len(desk.record.lines) == lines + 1:  # else the world went on while it was paused
        await desk.on_restored(recovery.state)
    desk.may_trade = recovery.may_trade
    await poll(desk)


def _shown(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()) if count)
