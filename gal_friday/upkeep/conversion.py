"""A partitioned table made a hypertable: the same columns, rules, triggers, privileges and rows."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnClause, MetaData, column, insert, literal, select, table, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from gal_friday.dal.models import Base
from gal_friday.dal.models.privileges import CANDLE_HOURS
from gal_friday.dal.models.server_side import triggers_of
from gal_friday.errors import SchemaOutdated
from gal_friday.upkeep.catalog import PartitionedTable, as_sql, execute_ddl
from gal_friday.upkeep.policies import Interval

#: TimescaleDB knows no months.
_LENGTHS: Mapping[Interval, timedelta] = MappingProxyType(
    {Interval.DAY: timedelta(days=1), Interval.WEEK: timedelta(days=7), Interval.MONTH: timedelta(days=30)}
)

# Names of indexes are the schema's: the new table takes them over while the old one is still there.
_SET_ASIDE = """
    DO $$ DECLARE index regclass; BEGIN
        FOR index IN SELECT indexrelid FROM pg_index WHERE indrelid = to_regclass(quote_ident(%(name)s))
        LOOP
            EXECUTE format('ALTER INDEX %%s RENAME TO %%I', index, 'old_' || index::oid);
        END LOOP;
        EXECUTE format('ALTER TABLE %%I RENAME TO %%I', %(name)s, %(aside)s);
    END $$
"""
_GRANT_ALIKE = """
    DO $$ DECLARE command text; BEGIN
        FOR command IN
            SELECT format(
                'GRANT %%s ON TABLE %%I TO %%s%%s', privilege_type || column_list, %(to)s,
                CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END
            )
            FROM (
                SELECT relowner, relacl AS acl, '' AS column_list
                FROM pg_class WHERE oid = to_regclass(quote_ident(%(from)s))
                UNION ALL
                SELECT relowner, attacl, format(' (%%I)', attname)
                FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                WHERE attrelid = to_regclass(quote_ident(%(from)s)) AND NOT attisdropped
            ) AS held, aclexplode(acl)
            WHERE grantee <> relowner AND privilege_type = ANY (%(privileges)s)
        LOOP
            EXECUTE command;
        END LOOP;
    END $$
"""
_EVERY_PRIVILEGE = "{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER,MAINTAIN}"
_CREATE_TRIGGER = """
    CREATE TRIGGER %(name)s %(events)s ON %(table)s FOR EACH %(per)s EXECUTE FUNCTION %(function)s()
"""
_CREATE_HYPERTABLE = text("""
    SELECT FROM create_hypertable(
        CAST(:name AS regclass), CAST(:time AS name),
        chunk_time_interval => CAST(:length AS interval), create_default_indexes => false
    )
""")
_COMPRESS = """
    ALTER TABLE %(table)s SET (
        timescaledb.compress, timescaledb.compress_segmentby = %(series)s,
        timescaledb.compress_orderby = %(order)s
    )
"""
# What `aggregated` in candle_statements.py makes of minutes, for every series at once.
_MAKE_HOURS = """
    CREATE MATERIALIZED VIEW %(hours)s
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT exchange, trading_pair, time_bucket('1 hour', "timestamp") AS "timestamp",
        first(open, "timestamp") AS open, max(high) AS high, min(low) AS low,
        last(close, "timestamp") AS close, sum(volume) AS volume,
        CASE WHEN count(trades_count) = count(*) THEN sum(trades_count) END AS trades_count,
        CASE WHEN sum(volume) > 0 AND bool_and(volume = 0 OR vwap IS NOT NULL)
            THEN average_price_rounded(sum(vwap * volume), sum(volume)) END AS vwap,
        bool_and(is_final) AS is_final, count(*) AS candles
    FROM market_data
    WHERE timeframe = '1m' AND "timestamp" = time_bucket('1 minute', "timestamp")
    GROUP BY 1, 2, 3
    WITH NO DATA
"""


async def become_hypertable(connection: AsyncConnection, old: PartitionedTable, interval: Interval) -> int:
    """Put a hypertable in the place of *old*, which is locked, and give back how many rows it took along.

    Commits nothing. Raises SchemaOutdated where the table is not of this version.
    """
    model = Base.metadata.tables[old.name]
    if set(old.columns) != set(model.columns.keys()):
        raise SchemaOutdated("a table is not as this version has it", table=old.name)
    aside = f"{old.name}_partitioned"
    await execute_ddl(connection, _SET_ASIDE, {"name": _literal(old.name), "aside": _literal(aside)})
    await connection.run_sync(_create, old.name)
    binds = {"name": old.name, "time": old.time_column, "length": _LENGTHS[interval]}
    await connection.execute(_CREATE_HYPERTABLE, binds)
    for trigger in triggers_of(model):
        words = {"events": trigger.events, "per": trigger.per}
        names = {"name": trigger.name, "table": old.name, "function": trigger.function}
        await execute_ddl(connection, _CREATE_TRIGGER, words, **names)
    await _grant_alike(connection, aside, old.name, _EVERY_PRIVILEGE)
    columns: list[ColumnClause[Any]] = [column(name) for name in old.columns]
    taken = select(*columns).select_from(table(aside))
    into = insert(table(old.name, *map(column, old.columns))).from_select(old.columns, taken)
    rows = (await connection.execute(into)).rowcount
    await execute_ddl(connection, "DROP TABLE %(aside)s", aside=aside)
    return rows


async def compress_by_series(connection: AsyncConnection, hypertable: PartitionedTable) -> None:
    """Say how chunks are compressed: a series in batches, in the order of time; the key is both."""
    key = [each.name for each in Base.metadata.tables[hypertable.name].primary_key]
    place = key.index(hypertable.time_column)
    order = [f'"{name}" DESC' for name in key[place:]]
    words = {"series": _literal(", ".join(key[:place])), "order": _literal(", ".join(order))}
    await execute_ddl(connection, _COMPRESS, words, table=hypertable.name)


async def make_hours(connection: AsyncConnection) -> None:
    """Make the view of hours, for whoever may read the candles; it is empty until it is refreshed."""
    await execute_ddl(connection, _MAKE_HOURS, hours=CANDLE_HOURS)
    await _grant_alike(connection, "market_data", CANDLE_HOURS, "{SELECT}")


def _create(connection: Connection, name: str) -> None:
    """Create the table the model *name* declares, not partitioned."""
    plain = Base.metadata.tables[name].to_metadata(
        MetaData(naming_convention=Base.metadata.naming_convention)
    )
    plain.dialect_options["postgresql"]["partition_by"] = None
    plain.create(connection, checkfirst=False)


async def _grant_alike(connection: AsyncConnection, source: str, to: str, privileges: str) -> None:
    words = {"from": source, "to": to, "privileges": privileges}
    await execute_ddl(connection, _GRANT_ALIKE, {name: _literal(word) for name, word in words.items()})


def _literal(value: str) -> str:
    return as_sql(literal(value))
