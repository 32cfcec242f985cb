"""Points of any measurement."""

import typing
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Table,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    delete,
    func,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, Insert, insert

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import within
from gal_friday.dal.models.timeseries import SeriesPoint
from gal_friday.dal.series_rows import SeriesRow, point_of
from gal_friday.timeseries.instants import moment
from gal_friday.timeseries.points import Point

_ROWS_AT_ONCE = 5_000


class SeriesPointRepository(BaseRepository[SeriesPoint]):
    model = SeriesPoint

    @one_statement
    async def between(
        self,
        measurement: str,
        start: datetime,
        end: datetime,
        *,
        tags: dict[str, str] | None = None,
        limit: int | None = None,
    ) -> Sequence[SeriesPoint]:
        """Points from *start* up to, not including, *end* whose tags contain *tags*, oldest first."""
        return await self.find_all(
            SeriesPoint.measurement == measurement,
            *within(SeriesPoint.timestamp, start, end),
            SeriesPoint.tags.contains(tags or {}),
            order_by=[SeriesPoint.timestamp, SeriesPoint.nanosecond],
            limit=limit,
        )

    async def merge(self, rows: Sequence[SeriesRow]) -> None:
        """Store *rows*, each key once; a row that is there keeps its other fields."""
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[first : first + _ROWS_AT_ONCE]
            measurements, hashes, times, tags, fields = zip(*some, strict=True)
            columns = {
                "measurements": list(measurements),
                "hashes": list(hashes),
                "timestamps": [moment(time) for time in times],
                "nanoseconds": [time % 1_000 for time in times],
                "tags": list(tags),
                "fields": list(fields),
            }
            await self._session.execute(_merge(), columns)

    async def field_types(self, measurement: str, *, newest: int = 1_000) -> dict[str, str]:
        """What the fields of the *newest* points are: `float`, `integer`, `boolean` or `string`."""
        points = (
            select(SeriesPoint.fields)
            .where(SeriesPoint.measurement == measurement)
            .order_by(SeriesPoint.timestamp.desc())
            .limit(newest)
            .subquery()
        )
        field = func.jsonb_each(points.c.fields).table_valued("key", column("value", JSONB)).lateral("field")
        kind = func.jsonb_typeof(field.c.value)
        has_point = func.strpos(cast(field.c.value, Text), ".") > 0
        type_name = case((kind != "number", kind), (has_point, "float"), else_="integer")
        statement = select(field.c.key, type_name).select_from(points.join(field, true())).distinct()
        return dict((await self._session.execute(statement)).all())

    async def points(
        self,
        measurement: str,
        tags: Mapping[str, str],
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        fields: Collection[str] | None = None,
        newest: int | None = None,
    ) -> list[Point]:
        """Points whose tags contain *tags*, oldest first: those in the span that have any of *fields*.

        With *newest* at most so many of the last.
        """
        statement = select(
            SeriesPoint.tags, SeriesPoint.fields, SeriesPoint.timestamp, SeriesPoint.nanosecond
        ).where(*_chosen(measurement, tags, start_ns, end_ns))
        if fields is not None:
            statement = statement.where(SeriesPoint.fields.has_any(cast(list(fields), ARRAY(Text))))
        order = SeriesPoint.timestamp, SeriesPoint.nanosecond
        if newest is None:
            statement = statement.order_by(*order, SeriesPoint.series_hash)
        else:
            statement = statement.order_by(*(part.desc() for part in order)).limit(newest)
        rows = (await self._session.execute(statement)).all()
        ordered = rows if newest is None else rows[::-1]
        return [point_of(measurement, *row) for row in ordered]

    async def delete_points(
        self, measurement: str, tags: Mapping[str, str], *, start_ns: int, end_ns: int
    ) -> None:
        """Remove the points in the span whose tags contain *tags*."""
        chosen = _chosen(measurement, tags, start_ns, end_ns)
        await self._session.execute(
            delete(SeriesPoint).where(*chosen), execution_options={"synchronize_session": False}
        )


def _chosen(
    measurement: str, tags: Mapping[str, str], start_ns: int | None, end_ns: int | None
) -> list[ColumnElement[bool]]:
    """Rows of these points. The times bound `timestamp` alone as well: partitions are cut by it."""
    chosen = [SeriesPoint.measurement == measurement]
    if tags:
        chosen.append(SeriesPoint.tags.contains(dict(tags)))
    place = tuple_(SeriesPoint.timestamp, SeriesPoint.nanosecond)
    if start_ns is not None:
        chosen += [SeriesPoint.timestamp >= moment(start_ns), place >= (moment(start_ns), start_ns % 1_000)]
    if end_ns is not None:
        chosen += [SeriesPoint.timestamp <= moment(end_ns), place < (moment(end_ns), end_ns % 1_000)]
    return chosen


@cache
def _merge() -> Insert:
    """All rows in one statement, a column in an array each: one round trip, and few parameters."""
    given = (
        func.unnest(
            bindparam("measurements", type_=ARRAY(Text)),
            bindparam("hashes", type_=ARRAY(Uuid)),
            bindparam("timestamps", type_=ARRAY(DateTime(timezone=True))),
            bindparam("nanoseconds", type_=ARRAY(Integer)),
            bindparam("tags", type_=ARRAY(Text)),
            bindparam("fields", type_=ARRAY(Text)),
        )
        .table_valued("measurement", "series_hash", "timestamp", "nanosecond", "tags", "fields")
        .render_derived(name="given")
    )
    key = ["measurement", "series_hash", "timestamp", "nanosecond"]
    values = [given.c[name] for name in key] + [cast(given.c[name], JSONB) for name in ("tags", "fields")]
    table = typing.cast("Table", SeriesPoint.__table__)
    statement = insert(table).from_select([*key, "tags", "fields"], select(*values))
    both = table.c.fields.op("||")(statement.excluded.fields)
    return statement.on_conflict_do_update(
        index_elements=key, set_={"fields": both}, where=table.c.fields.is_distinct_from(both)
    )
