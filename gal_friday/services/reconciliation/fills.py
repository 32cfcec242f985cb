"""Executions the exchange tells: which are not on the books, and putting them there."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from uuid import UUID

from gal_friday.adapters.ccxt import TradeReport
from gal_friday.dal.execution import FillOutcome, FillResult
from gal_friday.dal.models import CashFlow, CashFlowKind, Fill, ReportSource
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.money import ZERO
from gal_friday.services.reconciliation.books import Scope
from gal_friday.services.reconciliation.judgement import differ
from gal_friday.services.reconciliation.report import Difference, DifferenceKind, Repair, RepairKind, Subject

_AT_ONCE = 100


async def take(uow: UnitOfWork, *, scope: Scope, trades: Sequence[TradeReport]) -> list[Repair | Difference]:
    """Apply executions in the order given; fees in further currencies are cash flows of their own."""
    outcomes = await uow.execution.apply_fills([_fill(scope, trade) for trade in trades])
    found: list[Repair | Difference] = []
    for trade, outcome in zip(trades, outcomes, strict=True):
        subject = _subject(trade, outcome)
        what = f"{trade.side} {trade.quantity:f} at {trade.price:f}"
        if outcome.result is FillResult.APPLIED:
            found.append(Repair(RepairKind.FILL, subject, what))
        elif (kind := _KINDS.get(outcome.result)) is not None:
            found.append(Difference(kind, subject, outcome.reason, what))
        elif outcome.reason is not None:
            found.append(Difference(DifferenceKind.FILL_DIFFERS, subject, outcome.reason, what))
        if outcome.result in {FillResult.APPLIED, FillResult.DUPLICATE} and outcome.reason is None:
            found += [
                Repair(RepairKind.FEE, subject, f"{cost:f} {currency}")
                for currency, cost in _further_fees(trade)
                if await uow.cash_flows.add_once(_charge(scope, trade, outcome.position_id, (currency, cost)))
                is not None
            ]
    return found


def not_stored(trades: Iterable[TradeReport], stored: Mapping[tuple[str, str], Fill]) -> list[TradeReport]:
    """Executions that are not on the books exactly as they are told, in the order they happened."""
    return sorted(
        (trade for trade in trades if not _is_stored(trade, stored)),
        key=lambda trade: (trade.filled_at, trade.fill_id or ""),
    )


def batches(trades: Sequence[TradeReport]) -> Iterator[list[TradeReport]]:
    """*trades* in pieces of some hundreds; those of one instant stay together.

    Without ids, equal ones are told apart by being given together.
    """
    batch: list[TradeReport] = []
    for _, of_an_instant in groupby(trades, key=lambda trade: trade.filled_at):
        batch += of_an_instant
        if len(batch) >= _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


_KINDS = {
    FillResult.UNMATCHED: DifferenceKind.FILL_WITHOUT_ORDER,
    FillResult.REJECTED: DifferenceKind.FILL_REJECTED,
}


def _is_stored(trade: TradeReport, stored: Mapping[tuple[str, str], Fill]) -> bool:
    if trade.fill_id is None or (fill := stored.get((trade.exchange_order_id, trade.fill_id))) is None:
        return False
    currency, commission = _fee(trade)
    same_fee = not commission or (
        fill.commission_asset == currency and not differ(fill.commission, commission)
    )
    same = fill.side is trade.side and not differ(fill.quantity_filled, trade.quantity)
    return same and not differ(fill.fill_price, trade.price) and same_fee and not _further_fees(trade)


def _fill(scope: Scope, trade: TradeReport) -> Fill:
    currency, commission = _fee(trade)
    known: dict[str, object] = {"fill_id": trade.fill_id, "liquidity_type": trade.liquidity_type}
    if currency is not None:
        known |= {"commission": commission, "commission_asset": currency}
    return Fill(
        account_id=scope.account_id,
        exchange=scope.exchange,
        trading_pair=trade.trading_pair,
        exchange_order_id=trade.exchange_order_id,
        side=trade.side,
        quantity_filled=trade.quantity,
        fill_price=trade.price,
        filled_at=trade.filled_at,
        source=ReportSource.RECONCILE,
        raw=trade.raw,
        **known,
    )


def _fee(trade: TradeReport) -> tuple[str | None, Decimal]:
    """The fee that is the fill's own: in base currency it changes what is held, so that goes first."""
    if not trade.fees:
        return None, ZERO
    base, _, rest = trade.trading_pair.partition("/")
    quote = rest.partition(":")[0]
    currency = next((each for each in (base, quote) if each in trade.fees), min(trade.fees))
    return currency, trade.fees[currency]


def _further_fees(trade: TradeReport) -> list[tuple[str, Decimal]]:
    own, _ = _fee(trade)
    return sorted((currency, cost) for currency, cost in trade.fees.items() if currency != own)


def _charge(scope: Scope, trade: TradeReport, position_id: UUID | None, fee: tuple[str, Decimal]) -> CashFlow:
    """A further fee as a movement; its identity is the execution's."""
    currency, cost = fee
    name = trade.fill_id or f"{trade.filled_at:%Y%m%dT%H%M%S.%f}"
    return CashFlow(
        account_id=scope.account_id,
        currency=currency,
        amount=cost.copy_negate(),
        kind=CashFlowKind.FEE,
        venue_id=f"{trade.exchange_order_id[-44:]}/{name[-40:]}/{currency}"[:100],
        position_id=position_id,
        reason="a further currency of a fill's fee",
        occurred_at=trade.filled_at,
        raw=trade.raw,
    )


def _subject(trade: TradeReport, outcome: FillOutcome) -> Subject:
    return Subject(
        order_id=outcome.order_id,
        exchange_order_id=trade.exchange_order_id,
        trading_pair=trade.trading_pair,
        fill_id=trade.fill_id,
    )
