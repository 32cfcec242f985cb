"""What a bot does once it leads: it recovers, and trades when its certificate says that it may."""

from gal_friday.services.reconciliation import Reconciler, ReconciliationReport
from gal_friday.state.recovery import recover
from tests.simulation.bot import Desk
from tests.simulation.listening import poll
from tests.simulation.translation import VENUE

#: Longer than any simulation lasts.
_PATIENCE_SECONDS = 3_600.0


async def come_to_lead(desk: Desk) -> None:
    """Compete for the lease; who has it and does not know all that happened before, recovers."""
    await desk.compete()
    if desk.lease is None or desk.may_trade:
        return
    recovery = await recover(
        desk.database,
        lease=desk.lease,
        journal=desk.database.journal,
        reconcile=lambda: reconcile(desk),
    )
    certificate = recovery.certificate
    failing = [each["name"] for each in certificate.invariants if not each["holds"]]
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(certificate.counts.items()) if count)
    desk.record.note(desk.name, "recovers", recovery.may_trade, counts, *failing)
    desk.record.counts["recovery"] += 1
    for name in failing:
        if name != "exchange":  # which may well not have answered
            desk.record.violated("P02", f"after a restart of {desk.name} {name} does not hold")
    if len(desk.record.lines) == desk.reconciled_at_line + 1:  # else the world went on while it was paused
        await desk.on_restored(recovery.state)
    desk.may_trade = recovery.may_trade
    await poll(desk)


async def reconcile(desk: Desk) -> ReconciliationReport:
    """Compare with the exchange, repair what it decides, and note the rest."""
    reconciler = Reconciler(
        desk.database,
        desk.exchange,
        exchange=VENUE,
        trading_pairs=[listing.symbol for listing in desk.market.listings],
        grace_seconds=0,
        answer_timeout_seconds=_PATIENCE_SECONDS,
        actor=desk.name,
    )
    report = await reconciler.reconcile()
    repairs = sorted(f"{number} {kind}" for kind, number in report.repaired().items())
    differences = sorted(f"{each.kind}:{each.subject.exchange_order_id}" for each in report.differences)
    desk.record.note(desk.name, "reconciles", *repairs, *differences, *map(_kind, report.failures))
    desk.record.counts["repair"] += len(report.repairs)
    desk.reconciled_at_line = len(desk.record.lines)
    return report


async def agree(desk: Desk) -> None:
    """With the faults over, nothing may be left that differs."""
    report = await reconcile(desk)
    for difference in (*report.differences, *report.failures, *report.not_understood):
        desk.record.violated("P10", f"{desk.name} finds {difference}")


def _kind(failure: str) -> str:
    return failure.partition(":")[0]
