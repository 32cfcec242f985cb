"""The statements a decision begins with: two that lock, and one that reads all of one moment."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    SelectBase,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy import cast as as_type
from sqlalchemy.orm import aliased

from gal_friday.dal.models.accounts import Account, CashFlow, Instrument
from gal_friday.dal.models.enums import (
    WORKING_ORDER_STATUSES,
    CashFlowKind,
    PositionSide,
    RiskScope,
    RiskVerdict,
    Side,
    SignalStatus,
)
from gal_friday.dal.models.fills import Fill
from gal_friday.dal.models.orders import Order
from gal_friday.dal.models.portfolio import PortfolioState
from gal_friday.dal.models.positions import Position, PositionMark
from gal_friday.dal.models.signals import RiskDecision, RiskLimit, Signal
from gal_friday.dal.models.strategies import StrategyHalt
from gal_friday.dal.models.system import Configuration
from gal_friday.dal.models.types import Money, UtcDateTime
from gal_friday.services.risk.situation import PRICE_KEY

#: The kinds of lines READ gives.
HOLDING = "HOLDING"
INTENTION = "INTENTION"

#: The decisions under which a signal may become an order.
ALLOWING = (RiskVerdict.APPROVED, RiskVerdict.RESIZED)

#: Cash flows that are gains and losses of the day; others move capital, or correct the past.
RESULT_KINDS = (CashFlowKind.FUNDING, CashFlowKind.INTEREST, CashFlowKind.FEE)

_THE_SIGNAL = bindparam("signal_id", type_=Signal.id.type)
_MOMENT = func.coalesce(bindparam("at", type_=UtcDateTime()), func.statement_timestamp(), type_=UtcDateTime())
_DAY = func.date_trunc("day", _MOMENT, "UTC")

LEAD = select(func.require_lease(Signal.account_id)).where(Signal.id == _THE_SIGNAL)

LOCK = (
    select(Account)
    .where(Account.account_id == select(Signal.account_id).where(Signal.id == _THE_SIGNAL).scalar_subquery())
    .with_for_update(key_share=True)
)


def _on_the_day(column: Any) -> ColumnElement[bool]:
    return and_(column >= _DAY, column < _DAY + timedelta(days=1))


def _currency_of(pair: Any) -> ColumnElement[str]:
    quote = func.nullif(func.split_part(pair, "/", 2), "")
    return func.coalesce(Instrument.quote_currency, quote, Account.reporting_currency)


def _listed_at(table: Any) -> ColumnElement[bool]:
    return and_(Instrument.exchange == table.exchange, Instrument.trading_pair == table.trading_pair)


def _rows_of(statement: SelectBase) -> ColumnElement[Any]:
    """ARRAY(SELECT ROW(…)): the rows as one value; asyncpg gives each value back in its own type."""
    rows: FromClause = statement.subquery()
    return func.array(select(func.row(*rows.columns)).scalar_subquery())


_APPLIES = and_(
    RiskLimit.account_id == Signal.account_id,
    RiskLimit.active,
    or_(
        RiskLimit.scope == RiskScope.ACCOUNT,
        and_(RiskLimit.scope == RiskScope.STRATEGY, RiskLimit.key == Signal.strategy_id),
        and_(RiskLimit.scope == RiskScope.PAIR, RiskLimit.key == Signal.trading_pair),
    ),
)

_LIMITS = (
    select(
        RiskLimit.scope,
        RiskLimit.key,
        RiskLimit.max_position_quantity,
        RiskLimit.max_notional,
        RiskLimit.max_daily_loss,
        RiskLimit.max_drawdown,
        RiskLimit.max_open_positions,
        RiskLimit.max_leverage,
    )
    .where(_APPLIES)
    .correlate(Signal)
    .order_by(RiskLimit.scope, RiskLimit.key)
)


def _line(kind: str, of: Any, **columns: Any) -> list[ColumnElement[Any]]:
    """The columns every line has, in the order `situation_of` takes them in."""
    return [
        literal(kind, String()).label("kind"),
        of.strategy_id,
        of.exchange,
        of.trading_pair,
        columns["currency"].label("currency"),
        func.coalesce(Instrument.contract_multiplier, literal(Decimal(1), Money())).label("multiplier"),
        columns["side"].label("side"),
        columns["quantity"].label("quantity"),
        columns["price"].label("price"),
        columns["amount"].label("amount"),
    ]


_HOLDINGS = (
    select(
        *_line(
            HOLDING,
            Position,
            currency=Position.quote_currency,
            side=case((Position.side == PositionSide.LONG, Side.BUY.value), else_=Side.SELL.value),
            quantity=Position.quantity,
            price=PositionMark.current_price,
            amount=Position.cost,
        )
    )
    .select_from(Position)
    .outerjoin(PositionMark, PositionMark.position_id == Position.id)
    .outerjoin(Instrument, _listed_at(Position))
    .where(Position.account_id == Signal.account_id, Position.closed_at.is_(None))
    .correlate(Signal)
)


def _decision_on(signal_id: Any) -> Any:
    """The last decision that allows an order for the signal."""
    return (
        select(
            func.coalesce(RiskDecision.approved_quantity, RiskDecision.requested_quantity).label("quantity"),
            as_type(RiskDecision.portfolio[PRICE_KEY].astext, Money()).label("price"),
        )
        .where(RiskDecision.signal_id == signal_id, RiskDecision.decision.in_(ALLOWING))
        .order_by(RiskDecision.decided_at.desc(), RiskDecision.id.desc())
        .limit(1)
        .lateral()
    )


_ITS_SIGNAL = aliased(Signal)
_ITS_DECISION = _decision_on(Order.signal_id)

_WORKING = (
    select(
        *_line(
            INTENTION,
            Order,
            currency=_currency_of(Order.trading_pair),
            side=Order.side,
            quantity=Order.remaining_quantity,
            price=func.coalesce(
                Order.limit_price,
                Order.stop_price,
                _ITS_DECISION.c.price,
                _ITS_SIGNAL.proposed_entry_price,
            ),
            amount=Order.quote_quantity - Order.cost,
        )
    )
    .select_from(Order)
    .outerjoin(Instrument, _listed_at(Order))
    .outerjoin(_ITS_SIGNAL, _ITS_SIGNAL.id == Order.signal_id)
    .outerjoin(_ITS_DECISION, literal(value=True))
    .where(
        Order.account_id == Signal.account_id,
        Order.status.in_(WORKING_ORDER_STATUSES),
        # These can only make a position smaller.
        ~Order.reduce_only,
        Order.parent_order_id.is_(None),
    )
    .correlate(Signal, Account)
)

_OTHER = aliased(Signal)
_DECISION = _decision_on(_OTHER.id)

_APPROVED = (
    select(
        *_line(
            INTENTION,
            _OTHER,
            currency=_currency_of(_OTHER.trading_pair),
            side=_OTHER.side,
            quantity=_DECISION.c.quantity,
            price=func.coalesce(_DECISION.c.price, _OTHER.proposed_entry_price),
            amount=literal(None, Money()),
        )
    )
    .select_from(_OTHER)
    .join(_DECISION, literal(value=True))
    .outerjoin(Instrument, _listed_at(_OTHER))
    .where(
        _OTHER.account_id == Signal.account_id,
        _OTHER.status == SignalStatus.APPROVED,
        _OTHER.id != Signal.id,
        ~exists().where(Order.signal_id == _OTHER.id),
    )
    .correlate(Signal, Account)
)

# Asked for only where a limit wants to know: a busy day has many fills.
_IS_LOSS_LIMITED = exists().where(_APPLIES, RiskLimit.max_daily_loss.is_not(None)).correlate(Signal)

_NET_GAIN = func.sum(func.coalesce(Fill.realized_pnl, 0) - func.coalesce(Fill.commission_quote, 0))

_FILLED = (
    select(
        Order.strategy_id,
        Fill.trading_pair,
        Fill.quote_currency.label("currency"),
        _NET_GAIN.label("amount"),
    )
    .select_from(Fill)
    .join(Order, Order.id == Fill.order_id)
    .where(Fill.account_id == Signal.account_id, _on_the_day(Fill.filled_at), _IS_LOSS_LIMITED)
    .group_by(Order.strategy_id, Fill.trading_pair, Fill.quote_currency)
    .correlate(Signal)
)

_PAID = (
    select(
        Position.strategy_id,
        Position.trading_pair,
        CashFlow.currency,
        func.sum(CashFlow.amount).label("amount"),
    )
    .select_from(CashFlow)
    .outerjoin(Position, Position.id == CashFlow.position_id)
    .where(
        CashFlow.account_id == Signal.account_id,
        CashFlow.kind.in_(RESULT_KINDS),
        _on_the_day(CashFlow.occurred_at),
        _IS_LOSS_LIMITED,
    )
    .group_by(Position.strategy_id, Position.trading_pair, CashFlow.currency)
    .correlate(Signal)
)

READ = (
    select(
        Signal,
        _currency_of(Signal.trading_pair).label("currency"),
        func.coalesce(Instrument.contract_multiplier, literal(Decimal(1), Money())).label("multiplier"),
        Instrument.quantity_step,
        Instrument.min_notional,
        PortfolioState.closed_equity,
        PortfolioState.peak_equity,
        select(Configuration.config_hash).where(Configuration.is_active).scalar_subquery(),
        Account.halt_reason,
        select(StrategyHalt.halt_reason)
        .where(StrategyHalt.account_id == Signal.account_id, StrategyHalt.strategy_id == Signal.strategy_id)
        .scalar_subquery(),
        _MOMENT.label("moment"),
        _rows_of(_LIMITS),
        _rows_of(union_all(_HOLDINGS, _WORKING, _APPROVED)),
        _rows_of(union_all(_FILLED, _PAID)),
    )
    .select_from(Signal)
    .join(Account, Account.account_id == Signal.account_id)
    .outerjoin(Instrument, _listed_at(Signal))
    .outerjoin(
        PortfolioState,
        and_(
            PortfolioState.account_id == Signal.account_id,
            PortfolioState.currency == _currency_of(Signal.trading_pair),
        ),
    )
    .where(Signal.id == _THE_SIGNAL)
)
