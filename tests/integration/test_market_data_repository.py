"""Candles, ticks and points; snapshots; backtests, models and predictions; logs."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest

from gal_friday.dal.base import UpsertCounts
from gal_friday.dal.models import (
    Account,
    BacktestStatus,
    Candle,
    MachineLearningModel,
    ModelStage,
    Severity,
    new_id,
)
from gal_friday.dal.repositories.portfolio_repository import EquityPoint
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.database import Database
from gal_friday.errors import AlreadyExists, ConstraintViolated, InvalidFilter, NotFound
from tests.concurrency import at_once
from tests.factories import (
    MINUTE,
    NOON,
    a_backtest,
    a_candle,
    a_log,
    a_market_trade,
    a_model,
    a_prediction,
    a_series_point,
    a_snapshot,
    a_strategy,
)

BOT_B = "bot-b"
SERIES = ("kraken", "BTC/USD", "1m")

pytestmark = pytest.mark.of_hypertables_too


def closes(candles: Sequence[Candle]) -> list[Decimal]:
    return [candle.close for candle in candles]


async def test_candles_come_back_from_start_up_to_end_oldest_first(uow: UnitOfWork) -> None:
    candles = [a_candle(timestamp=NOON + number * MINUTE, close=Decimal(100 + number)) for number in range(5)]
    assert await uow.market_data.store_candles(reversed(candles)) == UpsertCounts(5, 0, 0)
    await uow.market_data.store_candles([a_candle(timeframe="5m"), a_candle(exchange="binance")])

    span = (NOON + MINUTE, NOON + 4 * MINUTE)
    assert closes(await uow.market_data.get_historical_data(*SERIES, *span)) == [101, 102, 103]
    assert closes(await uow.market_data.get_historical_data(*SERIES, *span, limit=2)) == [101, 102]
    assert closes(await uow.market_data.get_latest_candles(*SERIES, limit=2)) == [103, 104]
    assert len(await uow.market_data.get_latest_candles(*SERIES)) == 5
    assert await uow.market_data.get_latest_candles("kraken", "BTC/USD", "1h") == []


async def test_storing_the_same_candles_again_changes_nothing(uow: UnitOfWork) -> None:
    stored = [a_candle(timestamp=NOON + number * MINUTE) for number in range(3)]
    await uow.market_data.store_candles(stored)
    again = [a_candle(timestamp=NOON + number * MINUTE) for number in range(4)]
    again[0] = a_candle(volume=Decimal(1))
    assert await uow.market_data.store_candles(again) == UpsertCounts(inserted=1, updated=1, unchanged=2)
    assert await uow.market_data.store_candles([]) == UpsertCounts(0, 0, 0)


async def test_a_live_candle_is_replaced_as_a_whole_until_it_is_final(uow: UnitOfWork) -> None:
    async def stored() -> Candle:
        (candle,) = await uow.market_data.get_latest_candles(*SERIES)
        await uow.session.refresh(candle)
        return candle

    await uow.market_data.store_candles([a_candle(is_final=False, vwap=Decimal(99), close=Decimal(100))])
    await uow.market_data.store_candles([a_candle(is_final=False, close=Decimal(101))])
    live = await stored()
    assert (live.close, live.vwap, live.is_final) == (Decimal(101), None, False)

    await uow.market_data.store_candles([a_candle(close=Decimal(102))])
    final = await stored()
    assert (final.close, final.is_final) == (Decimal(102), True)

    counts = await uow.market_data.store_candles([a_candle(is_final=False, close=Decimal(103))])
    assert counts == UpsertCounts(inserted=0, updated=0, unchanged=1)
    assert (await stored()).close == Decimal(102)

    await uow.market_data.store_candles([a_candle(close=Decimal(104))])
    assert (await stored()).close == Decimal(104), "a final candle may be corrected by another"


async def test_a_final_candle_gives_way_to_one_of_the_same_or_a_better_source(uow: UnitOfWork) -> None:
    async def store(close: int, quality: int, *, is_final: bool = True) -> UpsertCounts:
        candle = a_candle(close=Decimal(close), data_quality_score=quality, is_final=is_final)
        return await uow.market_data.store_candles([candle])

    assert await store(101, 90, is_final=False) == UpsertCounts(1, 0, 0)
    assert await store(102, 10) == UpsertCounts(0, 1, 0), "one that still changes gives way to any"
    assert await store(103, 9) == UpsertCounts(0, 0, 1)
    assert await store(104, 10) == UpsertCounts(0, 1, 0)
    assert await store(105, 100, is_final=False) == UpsertCounts(0, 0, 1)
    assert await store(106, 100) == UpsertCounts(0, 1, 0)
    assert closes(await uow.market_data.get_latest_candles(*SERIES)) == [106]


async def test_of_candles_stored_together_the_best_stands(uow: UnitOfWork) -> None:
    candles = [
        a_candle(close=Decimal(101), data_quality_score=99),
        a_candle(close=Decimal(102)),
        a_candle(close=Decimal(103), data_quality_score=50),
    ]
    await uow.market_data.store_candles(candles)
    assert closes(await uow.market_data.get_latest_candles(*SERIES)) == [102]


async def test_of_a_live_and_a_final_candle_stored_together_the_final_one_stands(uow: UnitOfWork) -> None:
    await uow.market_data.store_candles(
        [a_candle(close=Decimal(102), is_final=True), a_candle(close=Decimal(101), is_final=False)]
    )
    assert closes(await uow.market_data.get_latest_candles(*SERIES)) == [102]


async def test_of_candles_that_give_different_columns_the_last_one_counts(uow: UnitOfWork) -> None:
    plain = [a_candle(close=Decimal(close)) for close in (101, 102)]
    with_vwap = [a_candle(close=Decimal(close), vwap=Decimal(99)) for close in (103, 104)]
    await uow.market_data.store_candles([*plain, *with_vwap, a_candle(close=Decimal(105))])
    assert closes(await uow.market_data.get_latest_candles(*SERIES)) == [105]
    uow.session.expunge_all()
    await uow.market_data.store_candles([with_vwap[0], plain[0], with_vwap[1]])
    assert closes(await uow.market_data.get_latest_candles(*SERIES)) == [104]


async def test_the_same_candles_stored_at_once_in_any_order_do_not_deadlock(database: Database) -> None:
    times = [NOON + number * MINUTE for number in range(3_000)]

    async def store(number: int) -> None:
        candles = [a_candle(timestamp=time, volume=Decimal(number)) for time in times]
        await database.market_data.store_candles(candles[:: -1 if number % 2 else 1])

    await at_once(store, 6)
    assert await database.market_data.count() == 3_000


async def test_a_crossed_candle_is_refused_and_so_are_those_with_it(uow: UnitOfWork) -> None:
    crossed = a_candle(timestamp=NOON + MINUTE, high=Decimal(1))
    with pytest.raises(ConstraintViolated):
        async with uow.savepoint():
            await uow.market_data.store_candles([a_candle(), crossed])
    assert await uow.market_data.count() == 0


async def test_ten_thousand_candles_are_stored_in_one_call(uow: UnitOfWork) -> None:
    candles = (a_candle(timestamp=NOON + number * MINUTE) for number in range(10_000))
    assert await uow.market_data.store_candles(candles) == UpsertCounts(10_000, 0, 0)
    assert await uow.market_data.count() == 10_000


async def test_trades_of_the_market_are_read_by_time(uow: UnitOfWork) -> None:
    early, late = a_market_trade(), a_market_trade(traded_at=NOON + MINUTE)
    await uow.market_trades.upsert_many([late, early, a_market_trade(trading_pair="XRP/USD")])

    async def ids(limit: int | None = None) -> list[str]:
        trades = await uow.market_trades.between("kraken", "BTC/USD", NOON, NOON + 2 * MINUTE, limit=limit)
        return [trade.trade_id for trade in trades]

    assert await ids() == [early.trade_id, late.trade_id]
    assert await ids(limit=1) == [early.trade_id]


async def test_points_are_read_by_measurement_time_and_tags(uow: UnitOfWork) -> None:
    on_a = a_series_point(nanosecond=2)
    on_a_before = a_series_point(nanosecond=1, series_hash=on_a.series_hash)
    on_b = a_series_point(tags={"host": "b", "core": "0"}, timestamp=NOON + MINUTE)
    await uow.series_points.add_many([on_a, on_a_before, on_b, a_series_point(measurement="other")])

    span = ("system_metrics", NOON, NOON + 2 * MINUTE)
    assert await uow.series_points.between(*span) == [on_a_before, on_a, on_b]
    assert await uow.series_points.between(*span, tags={"host": "b"}) == [on_b]
    assert await uow.series_points.between(*span, limit=1) == [on_a_before]


async def test_snapshots_are_of_the_account_or_of_one_strategy(uow: UnitOfWork) -> None:
    await uow.accounts.add(Account(account_id=BOT_B))
    strategy = await uow.strategies.add(a_strategy())
    first = a_snapshot()
    last = a_snapshot(snapshot_timestamp=NOON + MINUTE, total_equity=Decimal(5_000_100))
    of_strategy = a_snapshot(strategy_id=strategy.strategy_id, snapshot_timestamp=NOON + 2 * MINUTE)
    theirs = a_snapshot(account_id=BOT_B, snapshot_timestamp=NOON + 3 * MINUTE)
    await uow.snapshots.add_many([last, first, of_strategy, theirs])

    assert await uow.snapshots.latest() is last
    assert await uow.snapshots.latest(strategy_id=strategy.strategy_id) is of_strategy
    assert await uow.snapshots.latest(account_id=BOT_B) is theirs
    assert await uow.snapshots.latest(account_id="nobody") is None
    span = (NOON, NOON + 9 * MINUTE)
    assert await uow.snapshots.between(*span) == [first, last]
    assert await uow.snapshots.between(NOON, NOON + MINUTE) == [first]
    assert await uow.snapshots.equity_curve(*span) == [
        EquityPoint(NOON, Decimal(5_000_000), "USD"),
        EquityPoint(NOON + MINUTE, Decimal(5_000_100), "USD"),
    ]
    assert len(await uow.snapshots.equity_curve(*span, strategy_id=strategy.strategy_id)) == 1


async def test_there_is_one_snapshot_of_an_instant(uow: UnitOfWork) -> None:
    await uow.snapshots.add(a_snapshot())
    with pytest.raises(AlreadyExists):
        await uow.snapshots.add(a_snapshot())


async def test_a_backtest_that_ran_before_is_found_instead_of_run_again(uow: UnitOfWork) -> None:
    strategy = await uow.strategies.add(a_strategy())
    ran = await uow.backtests.add(a_backtest(strategy))
    inputs = {
        "config_hash": ran.config_hash or "",
        "code_version": ran.code_version or "",
        "data_fingerprint": ran.data_fingerprint or "",
    }
    await uow.backtests.add(a_backtest(strategy, **inputs, status=BacktestStatus.RUNNING))
    assert await uow.backtests.find_identical(**inputs) is ran
    assert await uow.backtests.find_identical(**{**inputs, "code_version": "2"}) is None


async def test_the_best_backtests_come_first(uow: UnitOfWork) -> None:
    strategy, other = a_strategy(), a_strategy()
    await uow.strategies.add_many([strategy, other])
    good, better, best = (
        a_backtest(owner, sharpe_ratio=Decimal(sharpe), total_return=Decimal(total), trading_pair=pair)
        for owner, sharpe, total, pair in (
            (strategy, 1, 9, "XRP/USD"),
            (other, 2, 1, "BTC/USD"),
            (strategy, 2, 2, "BTC/USD"),
        )
    )
    failed = a_backtest(strategy, status="FAILED", error_message="no data", sharpe_ratio=Decimal(9))
    await uow.backtests.add_many([good, best, better, failed, a_backtest(strategy)])

    assert await uow.backtests.top() == [best, better, good]
    assert await uow.backtests.top(1) == [best]
    assert await uow.backtests.top(strategy_id=strategy.strategy_id) == [best, good]
    assert await uow.backtests.top(trading_pair="XRP/USD") == [good]


async def test_one_version_of_a_model_is_in_production(uow: UnitOfWork) -> None:
    first = a_model(version="1", created_at=NOON)
    second = a_model(version="2", created_at=NOON + MINUTE)
    other = a_model(model_name="volatility", stage=ModelStage.PRODUCTION)
    await uow.models.add_many([first, second, other])
    assert await uow.models.get_production("direction") is None
    assert await uow.models.get_latest("direction") is second
    assert await uow.models.get_latest("unheard of") is None
    assert await uow.models.get_versions("direction") == [second, first]

    await uow.models.promote(first.id)
    promoted = await uow.models.promote(second.id)

    assert promoted is second
    assert await uow.models.get_production("direction") is second
    assert (first.stage, second.stage) == (ModelStage.ARCHIVED, ModelStage.PRODUCTION)
    assert await uow.models.get_production("volatility") is other
    assert (await uow.models.promote(second.id)).stage is ModelStage.PRODUCTION
    second.hyperparameters = {"depth": 3}
    await uow.models.update(second)
    with pytest.raises(NotFound):
        await uow.models.promote(new_id())


async def test_of_many_promotions_at_once_exactly_one_stands(database: Database) -> None:
    models = await database.models.add_many([a_model() for _ in range(8)])

    async def promote(number: int) -> MachineLearningModel:
        promoted: MachineLearningModel = await database.models.promote(models[number].id)
        return promoted

    await at_once(promote, 8)
    stages = [model.stage for model in await database.models.get_versions("direction")]
    assert stages.count(ModelStage.PRODUCTION) == 1
    assert stages.count(ModelStage.ARCHIVED) == 7


async def test_predictions_are_found_by_id_model_and_pair(uow: UnitOfWork) -> None:
    model = await uow.models.add(a_model())
    early, late = a_prediction(model), a_prediction(model, predicted_at=NOON + MINUTE, exchange="binance")
    await uow.predictions.add_many([late, early])

    assert await uow.predictions.get_by_id(early.id) is early
    assert await uow.predictions.get_by_id(new_id()) is None
    assert await uow.predictions.of_model(model.id, NOON, NOON + 2 * MINUTE) == [early, late]
    assert await uow.predictions.of_model(model.id, NOON, NOON + MINUTE) == [early]
    assert await uow.predictions.get_latest("BTC/USD") is late
    assert await uow.predictions.get_latest("BTC/USD", exchange="kraken") is early
    assert await uow.predictions.get_latest("BTC/USD", prediction_target="volatility") is None


async def test_logs_are_searched_by_level_source_category_text_and_time(uow: UnitOfWork) -> None:
    calm = a_log(log_timestamp=NOON)
    alarm = a_log(
        log_timestamp=NOON + MINUTE,
        log_level=Severity.ERROR,
        source_module="orders",
        category="ORDER",
        message="Lost 100% of the orders_book",
    )
    await uow.logs.add_many([calm, alarm])

    async def found(**filters: object) -> list[object]:
        return list((await uow.logs.search(**filters)).items)  # type: ignore[arg-type]  # any of them

    assert await found() == [alarm, calm]
    assert await found(min_level=Severity.WARNING) == [alarm]
    assert await found(source_module="risk") == [calm]
    assert await found(category="ORDER") == [alarm]
    assert await found(text="lost 100% of") == [alarm]
    assert await found(text="l%t") == []
    assert await found(text="orders_book") == [alarm]
    assert await found(text="ordersxbook") == []
    assert await found(start=NOON + MINUTE) == [alarm]
    assert await found(end=NOON + MINUTE) == [calm]


async def test_a_level_no_log_has_is_refused(uow: UnitOfWork) -> None:
    with pytest.raises(InvalidFilter):
        await uow.logs.search(min_level="WARN")  # type: ignore[arg-type]  # on purpose


async def test_logs_are_paged_newest_first(uow: UnitOfWork) -> None:
    logs = [a_log(log_timestamp=NOON + number * MINUTE) for number in range(5)]
    await uow.logs.add_many(logs)
    first = await uow.logs.search(limit=3)
    second = await uow.logs.search(limit=3, after=first.next)
    assert [*first.items, *second.items] == logs[::-1]
    assert second.next is None


async def test_recent_errors_leave_out_what_is_old_or_harmless(uow: UnitOfWork) -> None:
    error, worse = a_log(log_level=Severity.ERROR), a_log(log_level=Severity.CRITICAL)
    old = a_log(log_level=Severity.ERROR, log_timestamp=NOON - timedelta(days=400))
    await uow.logs.add_many([error, worse, old, a_log(log_level=Severity.WARNING)])
    assert set(await uow.logs.get_recent_errors()) == {error, worse}
    assert len(await uow.logs.get_recent_errors(limit=1)) == 1
