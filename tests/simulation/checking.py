"""Reading what is stored at the end, and holding it against every promise."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gal_friday.dal.models import (
    AuditEntry,
    Fill,
    FillAlias,
    Order,
    OrderHistory,
    PortfolioState,
    Position,
    Signal,
    UnmatchedFill,
)
from gal_friday.state.recovery import RestoredState
from gal_friday.state.verification import verify
from tests.simulation import promises, truth
from tests.simulation.bot import LAST_SIGNAL
from tests.simulation.promises import Deed, Entry, Findings
from tests.simulation.world import World


async def findings(world: World) -> Findings:
    async with world.database.transaction(read_only=True, snapshot=True) as uow:
        session = uow.session
        portfolio = await session.get_one(PortfolioState, ("default", "USD"))
        fills = (await session.scalars(select(Fill).order_by(Fill.exchange_order_id, Fill.filled_at))).all()
        return Findings(
            orders=(await session.scalars(select(Order).order_by(Order.client_order_id))).all(),
            fills=fills,
            names=await _names(session, fills),
            unmatched=(await session.scalars(select(UnmatchedFill))).all(),
            positions=(await session.scalars(select(Position))).all(),
            signals=(await session.scalars(select(Signal).order_by(Signal.fingerprint))).all(),
            history=(await session.scalars(select(OrderHistory).order_by(OrderHistory.id))).all(),
            deeds=await _deeds(session),
            closed_equity=portfolio.closed_equity,
            steps=portfolio.state.get("steps", 0),
            verification=await verify(uow),
        )


async def _deeds(session: AsyncSession) -> Sequence[Entry]:
    """Those that leave a row in the audit record, which is written under the lock that fences them."""
    statement = (
        select(AuditEntry)
        .where(AuditEntry.table_name.in_(("account_leases", "accounts", "signals", "orders")))
        .order_by(AuditEntry.position)
    )
    deeds = []
    for entry in await session.scalars(statement):
        after, is_new = entry.after or {}, entry.before is None
        deed, what = None, entry.row_key
        if entry.table_name == "account_leases" and "epoch" in after:
            deed = Deed.LEADS
        elif entry.table_name == "accounts" and "halted_at" in after:
            deed = Deed.RESUMES if after["halted_at"] is None else Deed.HALTS
        elif entry.table_name == "signals" and is_new:
            deed, what = Deed.INTENDS, f"signal {after['fingerprint']}"
        elif entry.table_name == "orders" and is_new and after["origin"] == "ENGINE":
            is_entry = not after["reduce_only"] and after["parent_order_id"] is None
            deed, what = Deed.ENTERS if is_entry else Deed.INTENDS, f"order {after['client_order_id']}"
        elif entry.table_name == "orders" and after.get("status") == "PENDING_CANCEL":
            deed = Deed.INTENDS
        if deed is not None:
            deeds.append(Entry(entry.application or "", deed, what))
    return deeds


async def _names(session: AsyncSession, fills: Sequence[Fill]) -> Mapping[UUID, str]:
    """The exchange's ids of fills."""
    real = select(FillAlias.aliased_fill_id, FillAlias.fill_id).where(~FillAlias.fill_id_synthetic)
    learned = {row.aliased_fill_id: row.fill_id for row in await session.execute(real)}
    return {
        fill.id: learned.get(fill.id, fill.fill_id) if fill.fill_id_synthetic else fill.fill_id
        for fill in fills
    }


async def check_restored(world: World, state: RestoredState) -> None:
    """P02, at the moment a process has recovered."""
    async with world.database.transaction(read_only=True, snapshot=True) as uow:
        fills = (await uow.session.scalars(select(Fill))).all()
        names = await _names(uow.session, fills)
        history = (await uow.session.scalars(select(OrderHistory).order_by(OrderHistory.id))).all()
        orders = (await uow.session.scalars(select(Order))).all()
        signals = (await uow.session.scalars(select(Signal).order_by(Signal.id))).all()
    remembered = {name: kept[LAST_SIGNAL] for name, kept in state.strategy_states.items()}
    if remembered != {signal.strategy_id: signal.fingerprint for signal in signals}:
        world.record.violated("P02", f"{len(remembered)} strategies remember other signals than their last")
    if not set(names.values()) <= {fill.id for fill in world.venue.fills}:
        return  # of some fill the exchange has not told the id yet
    for violation in truth.p02_a_restart_restores_everything(
        state,
        orders=orders,
        fills=fills,
        names=names,
        history=history,
        venue=world.venue,
        record=world.record,
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
        "P10": truth.p10_all_is_as_at_the_exchange(found, venue),
    }
    for promise, violations in checks.items():
        for violation in violations:
            record.violated(promise, violation)
    for order in found.orders:
        record.note("end", "order", order.client_order_id, order.status, order.filled_quantity)
    for fill in sorted(found.fills, key=lambda fill: found.names[fill.id]):
        record.note(
            "end", "fill", found.names[fill.id], fill.quantity_filled, fill.fill_price, fill.commission
        )
    for balance in sorted(venue.balances.items()):
        record.note("end", "balance", *balance)
    record.note("end", "equity", found.closed_equity)
