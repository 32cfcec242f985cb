"""Predictions in both places: the row that signals refer to, and the point beside their features."""

from datetime import datetime

from sqlalchemy import inspect

from gal_friday.dal.criteria import within
from gal_friday.dal.models import Prediction, Signal
from gal_friday.database import Database
from gal_friday.timeseries.measurements import ModelPrediction

_AT_ONCE = 1_000


async def record_prediction(
    database: Database,
    prediction: Prediction,
    *,
    signal: Signal | None = None,
    actor: str | None = None,
) -> Prediction:
    """Store *prediction*, and *signal*, new or stored, as one that follows from it.

    Row and signal are one transaction, and the truth. Once it is committed the point is handed to
    `database.points`, which takes it to the time-series store in its own time: nothing here waits for that
    store. What a crash keeps from being handed over `resend_predictions` makes good.

    Raises InvalidValue where the point cannot be made, before anything is stored, and what `add` and `update`
    of the repositories do.
    """
    point = prediction_point(prediction)
    async with database.transaction(actor=actor) as uow:
        await uow.predictions.add(prediction)
        if signal is not None:
            signal.prediction_id = prediction.id
            signal.prediction_value = prediction.prediction_value
            is_new = inspect(signal).transient
            await (uow.signals.add(signal) if is_new else uow.signals.update(signal))
    database.points.write(point)
    return prediction


async def resend_predictions(database: Database, start: datetime, end: datetime) -> int:
    """Hand over the points of all predictions made from *start* up to, not including, *end*.

    Those the time-series store has already change nothing. Gives back how many there were.
    """
    count = 0
    async with database.transaction(read_only=True) as uow:
        async for prediction in uow.predictions.stream(*within(Prediction.predicted_at, start, end)):
            database.points.write(prediction_point(prediction))
            count += 1
            if not count % _AT_ONCE:
                await database.points.flush()  # what is in memory is bounded, and its oldest would go
    return count


def prediction_point(prediction: Prediction) -> ModelPrediction:
    """The point of a row. Raises InvalidValue."""
    return ModelPrediction(
        prediction.exchange,
        prediction.trading_pair,
        str(prediction.model_id),
        prediction.prediction_target,
        prediction.predicted_at,
        prediction.prediction_value,
        prediction.confidence,
        str(prediction.id),
    )
