"""What `check` and autogenerate notice, and what they leave alone."""

import pytest

from gal_friday.dal.models import Base
from tests.migration.synthetic import Scratch


@pytest.mark.parametrize(
    ("change", "noticed"),
    [
        ("ALTER TABLE orders DROP COLUMN error_message", ["add_column orders orders.error_message"]),
        ("ALTER TABLE orders ADD COLUMN extra_column int", ["remove_column orders orders.extra_column"]),
        (
            "ALTER TABLE orders ALTER COLUMN error_message TYPE varchar(9)",
            ["modify_type orders error_message"],
        ),
        ("ALTER TABLE orders ALTER COLUMN side DROP NOT NULL", ["modify_nullable orders side True False"]),
        ("ALTER TABLE orders ALTER COLUMN status DROP DEFAULT", ["modify_default orders status"]),
        ("ALTER TABLE orders DROP CONSTRAINT ck_orders_side", ["add_constraint orders.ck_orders_side"]),
        ("COMMENT ON COLUMN orders.side IS 'other'", ["modify_comment orders side other Buy or sell"]),
        ("COMMENT ON TABLE accounts IS NULL", ["add_table_comment accounts"]),
        ("DROP INDEX ix_orders_working", ["add_index orders.ix_orders_working"]),
        ("CREATE TABLE stray (id int)", ["remove_table stray"]),
        ("DROP TABLE commit_markers", ["add_table commit_markers"]),
        ("DROP TRIGGER raise_row_version ON orders", ["create_trigger raise_row_version orders"]),
        ("DROP TRIGGER refuse_change ON fills", ["create_trigger refuse_change fills"]),
        (
            "DROP TRIGGER refuse_truncate ON system_logs_default",
            ["create_trigger refuse_truncate system_logs_default"],
        ),
        (
            "DROP FUNCTION raise_row_version CASCADE",
            ["create_function raise_row_version", "create_trigger raise_row_version accounts"],
        ),
        ("DROP TABLE market_data_default", ["create_default_partition market_data"]),
    ],
)
async def test_a_change_by_hand_is_noticed(change: str, noticed: list[str], migrated: Scratch) -> None:
    migrated.psql(change)
    differences = await migrated.manager().check()
    assert differences
    for phrase in noticed:
        assert any(difference.startswith(phrase) for difference in differences), differences


async def test_looking_does_not_change_the_models(migrated: Scratch) -> None:
    migrated.psql("ALTER TABLE orders DROP CONSTRAINT ck_orders_side")
    before = len(Base.metadata.tables["orders"].constraints)
    await migrated.manager().check()
    assert len(Base.metadata.tables["orders"].constraints) == before


async def test_a_trigger_on_a_table_without_a_version_is_noticed(migrated: Scratch) -> None:
    migrated.psql(
        "CREATE TRIGGER raise_row_version BEFORE UPDATE ON fills"
        " FOR EACH ROW EXECUTE FUNCTION raise_row_version()"
    )
    assert await migrated.manager().check() == ["drop_trigger raise_row_version fills"]


async def test_a_trigger_that_fires_for_other_events_is_replaced(migrated: Scratch) -> None:
    migrated.psql(
        "CREATE OR REPLACE TRIGGER raise_row_version BEFORE INSERT ON orders"
        " FOR EACH ROW WHEN (NEW.side = 'BUY') EXECUTE FUNCTION raise_row_version('it''s', 'other')"
    )
    assert await migrated.manager().check() == [
        "drop_trigger raise_row_version orders",
        "create_trigger raise_row_version orders",
    ]


async def test_a_partition_of_an_append_only_table_is_to_be_guarded_as_a_whole(migrated: Scratch) -> None:
    migrated.psql(
        "CREATE TABLE audit_log_2026_11 PARTITION OF audit_log"
        " FOR VALUES FROM ('2026-11-01') TO ('2026-12-01')"
    )
    assert await migrated.manager().check() == ["create_trigger refuse_truncate audit_log_2026_11"]


async def test_partitions_are_none_of_its_business(migrated: Scratch) -> None:
    migrated.psql(
        "CREATE TABLE market_data_2026_11 PARTITION OF market_data"
        " FOR VALUES FROM ('2026-11-01') TO ('2026-12-01')"
    )
    assert await migrated.manager().check() == []


async def test_other_peoples_triggers_and_functions_are_left_alone(migrated: Scratch) -> None:
    migrated.psql(
        "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER theirs BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION theirs()"
    )
    assert await migrated.manager().check() == []
