"""A call of every query of every repository, on the rows of filling.py."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from gal_friday.dal.models import (
    Candle,
    CashFlowKind,
    MarketTrade,
    Order,
    OrderStatus,
    ProcessingStatus,
    RolloverStatus,
    Severity,
    SignalStatus,
    StrategyState,
    TradeStatus,
)
from gal_friday.dal.series_rows import rows_of
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.timeseries.instants import nanoseconds
from gal_friday.timeseries.points import Point
from tests.factories import (
    a_candle,
    a_cash_flow,
    a_fill,
    a_signal,
    a_signal_log,
    a_snapshot,
    a_strategy_metric,
    an_unmatched_fill,
)
from tests.plans.sample import (
    DAY_AGO,
    ENDED,
    EXCHANGE,
    HOUR_AGO,
    MARKS,
    NOW,
    OPEN,
    PAIR,
    STRATEGY,
    STRATEGY_ID,
    TWO_DAYS_AGO,
    Call,
    an_external_order,
    an_order_here,
    hexadecimal,
    identifier,
    pair,
)


async def _page(uow: UnitOfWork) -> None:
    first = await uow.orders.page(order_by=Order.created_at.desc(), limit=50)
    await uow.orders.page(order_by=Order.created_at.desc(), limit=50, after=first.next)


async def _stream(uow: UnitOfWork) -> None:
    async for _ in uow.orders.stream(Order.account_id == "default", Order.created_at >= HOUR_AGO):
        pass


async def _update(uow: UnitOfWork) -> None:
    order = await uow.orders.one(identifier(OPEN))
    order.error_message = "again"
    await uow.orders.update(order)


async def _delete(uow: UnitOfWork) -> None:
    state = StrategyState(strategy_id=STRATEGY_ID, key="new", value=1)
    await uow.strategy_states.delete(await uow.strategy_states.add(state))


async def _mark_executed(uow: UnitOfWork) -> None:
    await uow.signals.approve(identifier(OPEN))
    await uow.signals.mark_executed(identifier(OPEN))


async def _renew(uow: UnitOfWork) -> None:
    lease = await uow.leases.take(f"instance-{OPEN}", duration=timedelta(minutes=1))
    assert await uow.leases.renew(lease, duration=timedelta(minutes=1))


async def _fill(uow: UnitOfWork) -> None:
    order = await uow.orders.one(identifier(OPEN))
    await uow.execution.apply_fill(a_fill(order, exchange_order_id=order.exchange_order_id))


async def _fills(uow: UnitOfWork) -> None:
    orders = [await uow.orders.one(identifier(OPEN + step)) for step in (0, 400)]
    await uow.execution.apply_fills([a_fill(order) for order in orders])


_REST_OF_A_TRADE = (MarketTrade.trade_id, MarketTrade.price, MarketTrade.quantity)
_REST_OF_A_CANDLE = (Candle.open, Candle.high, Candle.low, Candle.close, Candle.volume)


def _many_candles() -> list[Candle]:
    """So many that they travel another way."""
    return [a_candle(trading_pair=PAIR, timestamp=NOW + timedelta(minutes=step)) for step in range(600)]


async def _merge(uow: UnitOfWork) -> None:
    await uow.series_points.merge(rows_of([Point("m4", {"host": "a"}, {"value": 1.0}, NOW)]))


#: What every table can be asked, asked of orders.
BASE_CALLS: Mapping[str, list[Call]] = {
    "add": [lambda uow: uow.orders.add(an_order_here())],
    "add_many": [lambda uow: uow.orders.add_many([an_order_here(), an_order_here()])],
    "add_rows": [
        lambda uow: uow.market_trades.add_rows(
            [MarketTrade.exchange, MarketTrade.trading_pair, MarketTrade.traded_at, *_REST_OF_A_TRADE],
            [(EXCHANGE, PAIR, NOW, "new", Decimal(1), Decimal(1))],
        )
    ],
    "frame": [
        lambda uow: uow.orders.frame(Order.signal_id == identifier(ENDED), kind="arrow"),
        lambda uow: uow.orders.frame(Order.id.in_([identifier(ENDED)]), kind="arrow", exact=False),
    ],
    "get": [lambda uow: uow.orders.get(identifier(ENDED))],
    "one": [lambda uow: uow.orders.one(identifier(ENDED))],
    "update": [_update],
    "delete": [_delete],
    "find_all": [lambda uow: uow.orders.find_all(Order.signal_id == identifier(ENDED))],
    "find_one_by": [lambda uow: uow.orders.find_one_by(Order.exchange_order_id == f"exchange-{ENDED}")],
    "exists": [lambda uow: uow.orders.exists(Order.position_id == identifier(ENDED))],
    "page": [_page],
    "stream": [_stream],
    "upsert_many": [
        lambda uow: uow.market_data.upsert_many([a_candle(trading_pair=PAIR)]),
        lambda uow: uow.market_data.upsert_many(_many_candles()),
    ],
    "upsert_rows": [
        lambda uow: uow.market_data.upsert_rows(
            [Candle.exchange, Candle.trading_pair, Candle.timeframe, Candle.timestamp, *_REST_OF_A_CANDLE],
            [(EXCHANGE, PAIR, "1m", NOW, *[Decimal(1)] * 5)],
        )
    ],
}

CALLS: Mapping[str, list[Call]] = {
    "accounts.open_account": [
        lambda uow: uow.accounts.open_account(),
        lambda uow: uow.accounts.open_account("another"),
    ],
    "instruments.get_active_instruments": [lambda uow: uow.instruments.get_active_instruments(EXCHANGE)],
    "cash_flows.add_once": [
        lambda uow: uow.cash_flows.add_once(a_cash_flow(venue_id="new")),
        lambda uow: uow.cash_flows.add_once(
            a_cash_flow(kind=CashFlowKind.DEPOSIT, amount=Decimal(1), venue_id=f"venue-{ENDED}")
        ),
    ],
    "cash_flows.between": [
        lambda uow: uow.cash_flows.between(DAY_AGO, NOW),
        lambda uow: uow.cash_flows.between(DAY_AGO, NOW, currency="USD"),
    ],
    "cash_flows.get_by_venue_id": [
        lambda uow: uow.cash_flows.get_by_venue_id(CashFlowKind.DEPOSIT, f"venue-{ENDED}")
    ],
    "cash_flows.of_position": [lambda uow: uow.cash_flows.of_position(identifier(ENDED))],
    "cash_flows.open_holdings": [
        lambda uow: uow.cash_flows.open_holdings({"EUR": Decimal(1)}, occurred_at=NOW)
    ],
    "cash_flows.transfer": [
        lambda uow: uow.cash_flows.transfer(
            Decimal(1), "USD", source="default", target="account1", occurred_at=NOW, venue_id="new"
        )
    ],
    "strategies.find_active_strategies": [lambda uow: uow.strategies.find_active_strategies()],
    "strategies.get_strategy_performance": [
        lambda uow: uow.strategies.get_strategy_performance(STRATEGY_ID, DAY_AGO, NOW)
    ],
    "strategies.update_performance_metrics": [
        lambda uow: uow.strategies.update_performance_metrics(STRATEGY_ID, total_trades=1, winning_trades=1)
    ],
    "strategy_states.all_of": [lambda uow: uow.strategy_states.all_of(STRATEGY_ID)],
    "strategy_states.get_value": [lambda uow: uow.strategy_states.get_value(STRATEGY_ID, "x")],
    "strategy_states.set_value": [lambda uow: uow.strategy_states.set_value(STRATEGY_ID, "x", 1)],
    "strategy_metrics.between": [
        lambda uow: uow.strategy_metrics.between(STRATEGY_ID, DAY_AGO.date(), NOW.date())
    ],
    "strategy_metrics.store": [lambda uow: uow.strategy_metrics.store(a_strategy_metric(STRATEGY))],
    "signals.claim": [
        lambda uow: uow.signals.claim(a_signal(STRATEGY)),
        lambda uow: uow.signals.claim(a_signal(STRATEGY, fingerprint=hexadecimal(ENDED))),
    ],
    "signals.get_by_fingerprint": [lambda uow: uow.signals.get_by_fingerprint(hexadecimal(ENDED))],
    "signals.approve": [lambda uow: uow.signals.approve(identifier(OPEN))],
    "signals.reject": [lambda uow: uow.signals.reject(identifier(OPEN), "no")],
    "signals.mark_executed": [_mark_executed],
    "signals.decide": [lambda uow: uow.signals.decide(identifier(OPEN), SignalStatus.EXPIRED)],
    "signals.find_by_status": [
        lambda uow: uow.signals.find_by_status(SignalStatus.PROPOSED),
        lambda uow: uow.signals.find_by_status(SignalStatus.EXECUTED, limit=50),
        lambda uow: uow.signals.find_by_status(SignalStatus.PROPOSED, trading_pair=pair(OPEN)),
    ],
    "signals.get_recent_signals": [
        lambda uow: uow.signals.get_recent_signals(),
        lambda uow: uow.signals.get_recent_signals(strategy_id=STRATEGY_ID),
    ],
    "signal_log.between": [
        lambda uow: uow.signal_log.between(DAY_AGO, NOW),
        lambda uow: uow.signal_log.between(DAY_AGO, NOW, instrument=PAIR),
    ],
    "signal_log.find_by_status": [lambda uow: uow.signal_log.find_by_status(ProcessingStatus.RECEIVED)],
    "signal_log.record": [
        lambda uow: uow.signal_log.record(a_signal_log()),
        lambda uow: uow.signal_log.record(a_signal_log(fingerprint=hexadecimal(ENDED))),
    ],
    "signal_log.seen": [lambda uow: uow.signal_log.seen(hexadecimal(ENDED))],
    "risk_limits.get_active_limits": [
        lambda uow: uow.risk_limits.get_active_limits(strategy_id=STRATEGY_ID, trading_pair=PAIR)
    ],
    "risk_decisions.between": [lambda uow: uow.risk_decisions.between(DAY_AGO, NOW)],
    "risk_decisions.of_order": [lambda uow: uow.risk_decisions.of_order(identifier(ENDED))],
    "risk_decisions.of_signal": [lambda uow: uow.risk_decisions.of_signal(identifier(ENDED))],
    "execution.apply_fill": [_fill],
    "execution.apply_fills": [_fills],
    "orders.add_once": [lambda uow: uow.orders.add_once(an_order_here())],
    "orders.adopt_external": [
        lambda uow: uow.orders.adopt_external(an_external_order(), at=NOW),
        lambda uow: uow.orders.adopt_external(
            an_external_order(exchange_order_id=f"exchange-{ENDED}"), at=NOW
        ),
    ],
    "orders.find_by_status": [
        lambda uow: uow.orders.find_by_status(OrderStatus.NEW),
        lambda uow: uow.orders.find_by_status(OrderStatus.FILLED, limit=50),
    ],
    "orders.get_active_orders": [lambda uow: uow.orders.get_active_orders()],
    "orders.get_by_client_order_id": [
        lambda uow: uow.orders.get_by_client_order_id(f"client-{ENDED}"),
        lambda uow: uow.orders.get_by_client_order_id(f"client-{ENDED}", exchange=EXCHANGE),
    ],
    "orders.get_by_exchange_order_id": [
        lambda uow: uow.orders.get_by_exchange_order_id(f"exchange-{ENDED}"),
        lambda uow: uow.orders.get_by_exchange_order_id(
            f"exchange-{ENDED}", exchange=EXCHANGE, trading_pair=PAIR
        ),
    ],
    "orders.get_open_orders_for_pair": [
        lambda uow: uow.orders.get_open_orders_for_pair(pair(OPEN)),
        lambda uow: uow.orders.get_open_orders_for_pair(pair(OPEN), exchange=EXCHANGE),
    ],
    "orders.get_orders_by_signal": [lambda uow: uow.orders.get_orders_by_signal(identifier(ENDED))],
    "orders.get_recent_orders": [lambda uow: uow.orders.get_recent_orders()],
    "orders.record_amendment": [
        lambda uow: uow.orders.record_amendment(identifier(OPEN), at=NOW, quantity=Decimal(2))
    ],
    "orders.record_report": [
        lambda uow: uow.orders.record_report(identifier(OPEN), OrderStatus.CANCELED, at=NOW),
        lambda uow: uow.orders.record_report(identifier(ENDED), OrderStatus.NEW, at=NOW),
    ],
    "orders.transition": [lambda uow: uow.orders.transition(identifier(OPEN), OrderStatus.CANCELED)],
    "orders.update_order_status": [
        lambda uow: uow.orders.update_order_status(identifier(OPEN), OrderStatus.CANCELED)
    ],
    "order_history.of_order": [lambda uow: uow.order_history.of_order(identifier(ENDED))],
    "fills.add_once": [
        lambda uow: uow.fills.add_once(a_fill(an_order_here(id=identifier(ENDED)))),
    ],
    "fills.between": [
        lambda uow: uow.fills.between(DAY_AGO, NOW),
        lambda uow: uow.fills.between(DAY_AGO, NOW, trading_pair=PAIR),
    ],
    "fills.get_by_identity": [
        lambda uow: uow.fills.get_by_identity(EXCHANGE, PAIR, f"exchange-{ENDED}", f"x{ENDED}")
    ],
    "fills.of_order": [lambda uow: uow.fills.of_order(identifier(ENDED))],
    "fills.of_position": [lambda uow: uow.fills.of_position(identifier(ENDED))],
    "fill_aliases.of_fill": [lambda uow: uow.fill_aliases.of_fill(identifier(ENDED))],
    "unmatched_fills.add_once": [lambda uow: uow.unmatched_fills.add_once(an_unmatched_fill())],
    "unmatched_fills.of_exchange_order": [
        lambda uow: uow.unmatched_fills.of_exchange_order(EXCHANGE, f"exchange-{ENDED}")
    ],
    "trades.close_trade": [
        lambda uow: uow.trades.close_trade(identifier(OPEN), exit_price=Decimal(1), exit_reason="done")
    ],
    "trades.find_open_trades": [
        lambda uow: uow.trades.find_open_trades(),
        lambda uow: uow.trades.find_open_trades(STRATEGY_ID),
    ],
    "trades.get_trade_history": [
        lambda uow: uow.trades.get_trade_history(),
        lambda uow: uow.trades.get_trade_history(strategy_id=STRATEGY_ID),
        lambda uow: uow.trades.get_trade_history(trading_pair=PAIR),
        lambda uow: uow.trades.get_trade_history(start=TWO_DAYS_AGO, end=DAY_AGO),
        lambda uow: uow.trades.get_trade_history(after=(DAY_AGO, identifier(ENDED))),
        lambda uow: uow.trades.get_trade_history(status=TradeStatus.OPEN),
        lambda uow: uow.trades.get_trade_history(status=TradeStatus.CLOSED),
    ],
    "positions.close_position": [lambda uow: uow.positions.close_position(identifier(OPEN))],
    "positions.get_active_positions": [
        lambda uow: uow.positions.get_active_positions(),
        lambda uow: uow.positions.get_active_positions(strategy_id=STRATEGY_ID),
    ],
    "positions.get_position_by_pair": [
        lambda uow: uow.positions.get_position_by_pair(f"P{OPEN}/USD"),
        lambda uow: uow.positions.get_position_by_pair(
            f"P{OPEN}/USD", exchange=EXCHANGE, strategy_id=STRATEGY_ID
        ),
    ],
    "positions.update_position_price": [
        lambda uow: uow.positions.update_position_price(identifier(OPEN), Decimal(2))
    ],
    "position_marks.mark_many": [
        lambda uow: uow.position_marks.mark_many({identifier(OPEN): Decimal(2)}, marked_at=NOW)
    ],
    "position_marks.mark_pairs": [lambda uow: uow.position_marks.mark_pairs(MARKS, marked_at=NOW)],
    "portfolio_positions.get_open_positions": [
        lambda uow: uow.portfolio_positions.get_open_positions(),
        lambda uow: uow.portfolio_positions.get_open_positions(instrument=PAIR),
    ],
    "portfolio_positions.get_rollovers": [
        lambda uow: uow.portfolio_positions.get_rollovers(RolloverStatus.PENDING)
    ],
    "portfolio_states.get_for_update": [lambda uow: uow.portfolio_states.get_for_update("USD")],
    "portfolio_states.lock_all": [lambda uow: uow.portfolio_states.lock_all()],
    "portfolio_states.of_account": [lambda uow: uow.portfolio_states.of_account()],
    "portfolio_states.raise_peaks": [lambda uow: uow.portfolio_states.raise_peaks({"USD": Decimal(9)})],
    "pyramiding_states.of_account": [lambda uow: uow.pyramiding_states.of_account()],
    "snapshots.add_once": [lambda uow: uow.snapshots.add_once(a_snapshot())],
    "snapshots.between": [
        lambda uow: uow.snapshots.between(DAY_AGO, NOW),
        lambda uow: uow.snapshots.between(DAY_AGO, NOW, strategy_id=STRATEGY_ID),
    ],
    "snapshots.equity_curve": [
        lambda uow: uow.snapshots.equity_curve(DAY_AGO, NOW),
        lambda uow: uow.snapshots.equity_curve(DAY_AGO, NOW, strategy_id=STRATEGY_ID),
    ],
    "snapshots.latest": [
        lambda uow: uow.snapshots.latest(),
        lambda uow: uow.snapshots.latest(currency="USD"),
        lambda uow: uow.snapshots.latest(until=DAY_AGO, strategy_id=STRATEGY_ID),
    ],
    "market_data.get_historical_data": [
        lambda uow: uow.market_data.get_historical_data(EXCHANGE, PAIR, "1m", DAY_AGO, NOW)
    ],
    "market_data.get_latest_candles": [
        lambda uow: uow.market_data.get_latest_candles(EXCHANGE, PAIR, "1m", limit=5)
    ],
    "market_data.query_ohlcv": [
        lambda uow: uow.market_data.query_ohlcv(EXCHANGE, PAIR, "1h", DAY_AGO, NOW),
    ],
    "market_data.gaps": [lambda uow: uow.market_data.gaps(EXCHANGE, PAIR, "1m", DAY_AGO, NOW)],
    "market_data.coverage": [
        lambda uow: uow.market_data.coverage(exchange=EXCHANGE, trading_pair=PAIR, timeframe="1m")
    ],
    "market_data.store_candles": [lambda uow: uow.market_data.store_candles([a_candle(trading_pair=PAIR)])],
    "market_trades.between": [lambda uow: uow.market_trades.between(EXCHANGE, PAIR, DAY_AGO, NOW)],
    "series_points.between": [
        lambda uow: uow.series_points.between("m4", DAY_AGO, NOW),
        lambda uow: uow.series_points.between("m4", DAY_AGO, NOW, tags={"host": "a"}, limit=10),
    ],
    "series_points.merge": [_merge],
    "series_points.field_types": [lambda uow: uow.series_points.field_types("m4", newest=100)],
    "series_points.points": [
        lambda uow: uow.series_points.points("m4", {}, newest=10),
        lambda uow: uow.series_points.points(
            "m4", {"host": "a"}, start_ns=nanoseconds(DAY_AGO), end_ns=nanoseconds(NOW)
        ),
    ],
    "series_points.delete_points": [
        lambda uow: uow.series_points.delete_points(
            "m4", {}, start_ns=nanoseconds(HOUR_AGO), end_ns=nanoseconds(NOW)
        )
    ],
    "backtests.find_identical": [
        lambda uow: uow.backtests.find_identical(
            config_hash=hexadecimal(ENDED), code_version="1", data_fingerprint=hexadecimal(ENDED)
        )
    ],
    "backtests.top": [
        lambda uow: uow.backtests.top(),
        lambda uow: uow.backtests.top(strategy_id=STRATEGY_ID, trading_pair=PAIR),
    ],
    "models.get_latest": [lambda uow: uow.models.get_latest("x1")],
    "models.get_production": [lambda uow: uow.models.get_production("x1")],
    "models.get_versions": [lambda uow: uow.models.get_versions("x1")],
    "models.promote": [lambda uow: uow.models.promote(identifier(1))],
    "predictions.get_by_id": [lambda uow: uow.predictions.get_by_id(identifier(ENDED))],
    "predictions.get_latest": [
        lambda uow: uow.predictions.get_latest(PAIR),
        lambda uow: uow.predictions.get_latest(PAIR, exchange=EXCHANGE, prediction_target="x1"),
    ],
    "predictions.of_model": [lambda uow: uow.predictions.of_model(identifier(1), DAY_AGO, NOW)],
    "instances.find_silent": [lambda uow: uow.instances.find_silent(timedelta(hours=1))],
    "instances.get_running": [lambda uow: uow.instances.get_running()],
    "instances.heartbeat": [lambda uow: uow.instances.heartbeat(f"instance-{OPEN}")],
    "instances.register": [
        lambda uow: uow.instances.register("new", hostname="host", pid=1, app_version="1")
    ],
    "instances.schema_revision": [lambda uow: uow.instances.schema_revision()],
    "leases.take": [
        lambda uow: uow.leases.take(f"instance-{OPEN}", duration=timedelta(minutes=1)),
    ],
    "leases.renew": [_renew],
    "leases.require": [lambda uow: uow.leases.require()],
    "halts.halt": [
        lambda uow: uow.halts.halt(reason="why", by="me"),
        lambda uow: uow.halts.halt(reason="why", by="me", strategy_id=STRATEGY_ID),
    ],
    "halts.in_force": [lambda uow: uow.halts.in_force()],
    "halts.require_risk_allowed": [lambda uow: uow.halts.require_risk_allowed(identifier(OPEN))],
    "halts.resume": [lambda uow: uow.halts.resume(strategy_id=STRATEGY_ID)],
    "halts.wait_for_intents": [lambda uow: uow.halts.wait_for_intents()],
    "recoveries.latest": [lambda uow: uow.recoveries.latest()],
    "commit_markers.prune": [lambda uow: uow.commit_markers.prune()],
    "audit.search": [
        lambda uow: uow.audit.search(),
        lambda uow: uow.audit.search(since=DAY_AGO, until=NOW),
        lambda uow: uow.audit.search(table="orders", key=identifier(ENDED)),
        lambda uow: uow.audit.search(table="orders"),
        lambda uow: uow.audit.search(actor="actor1", since=DAY_AGO),
    ],
    "logs.get_recent_errors": [lambda uow: uow.logs.get_recent_errors()],
    "logs.search": [
        lambda uow: uow.logs.search(),
        lambda uow: uow.logs.search(min_level=Severity.ERROR),
        lambda uow: uow.logs.search(source_module="module1"),
        lambda uow: uow.logs.search(category="category1"),
        lambda uow: uow.logs.search(text="x1", start=DAY_AGO),
    ],
    "configurations.activate": [lambda uow: uow.configurations.activate(hexadecimal(1))],
    "configurations.get_active": [lambda uow: uow.configurations.get_active()],
    "configurations.get_by_hash": [lambda uow: uow.configurations.get_by_hash(hexadecimal(1))],
    "configurations.load": [lambda uow: uow.configurations.load({"new": 1})],
    "system_config.get_value": [lambda uow: uow.system_config.get_value("x1")],
    "system_config.in_category": [lambda uow: uow.system_config.in_category("none")],
    "system_config.set_value": [lambda uow: uow.system_config.set_value("x1", {"new": 1})],
    "system_config.upsert_many": [lambda uow: uow.system_config.upsert_many([])],
}

#: Methods that read what they are asked about, all of it, and why that is right.
READS_ALL = {
    "count": "how many there are takes reading them, as its description says",
    "market_data.coverage": "it counts every candle of the series it is asked about",
    "cash_flows.totals": "an account's whole cash, compared with the books by audits",
    "positions.get_position_summary": "totals over all of an account's positions, for reports",
}
