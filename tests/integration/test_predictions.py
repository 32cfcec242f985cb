"""Predictions in both places, in one call."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import URL

from gal_friday.config import Settings
from gal_friday.dal.models import MachineLearningModel, Prediction, new_id
from gal_friday.database import Database, open_database
from gal_friday.errors import ConfigurationError, InvalidReference, InvalidValue
from gal_friday.services.predictions import prediction_point, record_prediction, resend_predictions
from gal_friday.timeseries.points import Point, as_point
from tests.factories import MINUTE, NOON, a_model, a_prediction, a_signal, a_strategy


@pytest.fixture
async def opened(database_url: URL, tmp_path: Path) -> AsyncIterator[Database]:
    """A database as a bot opens it, which has a writer of points."""
    settings = Settings(
        database={"url": database_url.render_as_string(hide_password=False), "migrate_on_open": False},
        spool={"directory": tmp_path, "flush_interval_seconds": 0.01},
    )
    async with open_database(settings) as database:
        yield database


@pytest.fixture
async def model(opened: Database) -> MachineLearningModel:
    added: MachineLearningModel = await opened.models.add(a_model())
    return added


async def points_of(database: Database, model_id: UUID) -> list[Point]:
    await database.points.drain()
    tags = {"model_id": str(model_id)}
    return list(
        await database.time_series.query_data("predictions", tags=tags, start=NOON, end=NOON + MINUTE)
    )


async def test_a_prediction_is_stored_in_both_places_and_its_signal_refers_to_it(
    opened: Database, model: MachineLearningModel
) -> None:
    strategy = await opened.strategies.add(a_strategy())
    prediction = a_prediction(model, confidence=Decimal("0.8"))
    signal = a_signal(strategy)

    assert await record_prediction(opened, prediction, signal=signal, actor="predictor") is prediction

    stored = await opened.signals.one(signal.id)
    assert (stored.prediction_id, stored.prediction_value) == (prediction.id, Decimal("0.62"))
    row = await opened.predictions.get_by_id(prediction.id)
    assert row is not None
    (point,) = await points_of(opened, model.id)
    assert point == as_point(prediction_point(row))
    assert point.fields()["prediction_id"] == str(row.id)
    assert point.fields()["confidence"] == 0.8


async def test_a_signal_that_is_stored_already_comes_to_refer_to_its_prediction(
    opened: Database, model: MachineLearningModel
) -> None:
    strategy = await opened.strategies.add(a_strategy())
    signal = await opened.signals.add(a_signal(strategy))
    prediction = await record_prediction(opened, a_prediction(model), signal=signal)
    assert (await opened.signals.one(signal.id)).prediction_id == prediction.id


async def test_without_the_row_there_is_no_point_and_no_signal(opened: Database) -> None:
    strategy = await opened.strategies.add(a_strategy())
    nobody = a_model(id=new_id())
    with pytest.raises(InvalidReference):
        await record_prediction(opened, a_prediction(nobody), signal=a_signal(strategy))
    assert await opened.signals.count() == 0
    assert await points_of(opened, nobody.id) == []


async def test_without_a_point_there_is_no_row(opened: Database, model: MachineLearningModel) -> None:
    with pytest.raises(InvalidValue):
        await record_prediction(opened, a_prediction(model, prediction_target="close\nin 5m"))
    assert await opened.predictions.count() == 0


async def test_points_a_crash_kept_back_are_sent_again(opened: Database, model: MachineLearningModel) -> None:
    def a_later_prediction(number: int) -> Prediction:
        return a_prediction(model, predicted_at=NOON + timedelta(milliseconds=number))

    recorded = [await record_prediction(opened, a_later_prediction(number)) for number in range(3)]
    lost = await opened.predictions.add_many([a_later_prediction(number) for number in range(3, 1_003)])
    assert await resend_predictions(opened, NOON, NOON + MINUTE) == 1_003
    expected = [as_point(prediction_point(prediction)) for prediction in (*recorded, *lost)]
    assert await points_of(opened, model.id) == expected


async def test_a_database_opened_without_a_writer_says_so(database: Database, database_url: URL) -> None:
    with pytest.raises(ConfigurationError, match="open_database"):
        _ = database.points
    url = database_url.render_as_string(hide_password=False)
    settings = Settings(
        database={"url": url, "migrate_on_open": False},
        spool={"enabled": False, "directory": "/proc/nobody/writes/here"},
    )
    async with open_database(settings) as opened:
        await opened.time_series.write_points([])
        with pytest.raises(ConfigurationError, match="GAL_FRIDAY_SPOOL__ENABLED"):
            _ = opened.points
