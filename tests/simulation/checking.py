"""Reading what is stored at the end, and holding it against every promise."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.models import (
    AuditEntry,
    Fill,
    Order,
    OrderHistory,
    PortfolioState,
    Position,
    Signal,
    UnmatchedFill,
)
from gal_friday.state.recovery import RestoredState
from gal_friday.state.verification import verify
from tests.simulation import promises
from tests.simulation.promises import Findings, Intent
from tests.simulation.world import World


async def findings(world: World) -> Findings:
    async with world.database.transaction(read_only=True, snapshot=True) as uow:
        session = uow.session
        portfolio = await session.get_one(PortfolioState, ("default", "USD"))
        return Findings(
            orders=(await session.scalars(select(Order).order_by(Order.client_order_id))).all(),
            fills=(await session.scalars(select(Fill).order_by(Fill.fill_id))).all(),
            unmatched=(await session.scalars(select(UnmatchedFill))).all(),
            positions=(await session.scalars(select(Position))).all(),
            signals=(await session.scalars(select(Signal).order_by(Signal.fingerprint))).all(),
            history=(await session.scalars(select(OrderHistory).order_by(OrderHistory.id))).all(),
            intents=await _intents(session),
            closed_equity=portfolio.closed_equity,
            steps=portfolio.state.get("steps", 0),
            verification=await verify(uow),
        )


async def _intents(session: AsyncSession) -> Sequence[Intent]:
    """Those that leave a row in the audit record, which is written under the lock that fences them."""
    statement = (
        select(AuditEntry)
        .where(AuditEntry.table_name.in_(("account_leases", "signals", "orders")))
        .order_by(AuditEntry.position)
    )
    found = []
    for entry in await session.scalars(statement):
        process, after, is_new = entry.application or "", entry.after or {}, entry.before is None
        if entry.table_name == "account_leases" and "epoch" in after and process != "gal_friday":
            found.append(Intent(process, None))
        elif entry.table_name == "signals" and is_new:
            found.append(Intent(process, f"signal {after['fingerprint']}"))
        elif entry.table_name == "orders" and is_new and after["origin"] == "ENGINE":
            found.append(Intent(process, f"order {after['client_order_id']}"))
        elif entry.table_name == "orders" and after.get("status") == "PENDING_CANCEL":
            found.append(Intent(process, f"cancel of {entry.row_key}"))
    return found


async def check_restored(world: World, state: RestoredState) -> None:
    """P02, at the moment a process has recovered."""
    async with world.database.transaction(read_only=True, snapshot=True) as uow:
        fills = (await uow.session.scalars(select(Fill))).all()
        history = (await uow.session.scalars(select(OrderHistory).order_by(OrderHistory.id))).all()
        orders = (await uow.session.scalars(select(Order))).all()
    for violation in promises.p02_a_restart_restores_everything(
        state, orders=orders, fills=fills, history=history, venue=world.venue, record=world.record
    ):
        world.record.violated("P02", violation)


async def check(world: World) -> None:
    """Put every violation on record, and with them how all ended."""
    found, record, venue = await findings(world), world.record, world.venue
    checks = {
        "P01": promises.p01_what_was_acknowledged_is_there(found, record),
        "P03": promises.p03_each_fill_of_the_exchange_counts_once(found, venue),
        "P04": promises.p04_orders_only_move_forward(found),
        "P05": promises.p05_no_update_is_lost(found, record),
        "P06": promises.p06_money_is_exact(found, venue),
        "P07": promises.p07_the_books_balance(found),
        "P08": promises.p08_one_process_leads(found),
        "P09": promises.p09_a_signal_is_taken_once(found),
        "P10": promises.p10_all_is_as_at_the_exchange(found, venue),
    }
    for promise, violations in checks.items():
        for violation in violations:
            record.violated(promise, violation)
    for order in found.orders:
        record.note("end", "order", order.client_order_id, order.status, order.filled_quantity)
    for fill in found.fills:
        record.note("end", "fill", fill.fill_id, fill.quantity_filled, fill.fill_price, fill.commission)
    for balance in sorted(venue.balances.items()):
        record.note("end", "balance", *balance)
    record.note("end", "equity", found.closed_equity)
