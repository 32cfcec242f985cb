import asyncio
import traceback
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ForeignKey,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    cast,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.exc import FlushError

from gal_friday import errors
from gal_friday.dal.error_translation import translate_orm_errors
from gal_friday.dal.models.types import Json, Money, PlainText, WholeNumber
from gal_friday.errors import PersistenceError
from tests.engines import engine_for
from tests.servers import PostgresServer


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={"ck": "ck_%(table_name)s_%(constraint_name)s"})


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(WholeNumber(), primary_key=True)
    row_version: Mapped[int] = mapped_column(WholeNumber())
    name: Mapped[str | None] = mapped_column(PlainText())
    __mapper_args__ = {"version_id_col": row_version}  # noqa: RUF012 -- SQLAlchemy's declared form


orders = Table(
    "orders",
    Base.metadata,
    Column("id", WholeNumber(), primary_key=True),
    Column("account_id", WholeNumber(), ForeignKey("accounts.id", name="fk_orders_account_id")),
    Column("venue", PlainText()),
    Column("code", PlainText()),
    Column("quantity", Money(), nullable=False),
    Column("filled", Money()),
    UniqueConstraint("venue", "code", name="uq_orders_venue_code"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("filled <= quantity", name="filled_within_quantity"),
)
system_config = Table(
    "system_config",
    Base.metadata,
    Column("key", PlainText(), primary_key=True),
    Column("value", Json("any")),
    CheckConstraint("value <> '\"hunter2\"'::jsonb", name="value"),
)
FAIL_WITH = text(
    "CREATE FUNCTION fail_with(code text) RETURNS void LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = code; END $$"
)


@pytest.fixture(scope="module")
async def database_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    postgres_server.create_database("error_translation")
    engine = engine_for(postgres_server.url("error_translation"))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(FAIL_WITH)
    await engine.dispose()
    yield postgres_server.url("error_translation")
    postgres_server.drop_database("error_translation")


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE accounts, orders, system_config"))
    yield engine
    await engine.dispose()


async def failure_of(engine: AsyncEngine, statement: Any, parameters: Any = None) -> PersistenceError:
    with pytest.raises(PersistenceError) as caught:
        async with engine.begin() as connection:
            await connection.execute(statement, parameters)
    return caught.value


def an_order(**values: Any) -> Any:
    return insert(orders).values({"id": 1, "quantity": Decimal(1), **values})


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("22003", errors.InvalidValue),
        ("22021", errors.InvalidValue),
        ("22P02", errors.InvalidValue),
        ("23001", errors.InvalidReference),
        ("23503", errors.InvalidReference),
        ("23505", errors.AlreadyExists),
        ("23514", errors.ConstraintViolated),
        ("23P01", errors.ConstraintViolated),
        ("40001", errors.TransactionConflict),
        ("40P01", errors.TransactionConflict),
        ("42501", errors.PermissionDenied),
        ("53100", errors.DiskFull),
        ("53300", errors.TooManyConnections),
        ("55P03", errors.LockTimeout),
        ("57014", errors.StatementTimeout),
        ("57P01", errors.ConnectionLost),
        ("08006", errors.ConnectionLost),
        ("42P01", errors.DatabaseError),
        ("P0001", errors.DatabaseError),
        ("ZZ999", errors.DatabaseError),
    ],
)
async def test_an_sqlstate_is_one_error_of_ours(
    engine: AsyncEngine, sqlstate: str, expected: type[PersistenceError]
) -> None:
    error = await failure_of(engine, text("SELECT fail_with(:code)"), {"code": sqlstate})
    assert type(error) is expected
    assert error.facts["sqlstate"] == sqlstate
    assert error.explanation == "as asked"
    assert error.__cause__ is not None


async def test_a_repeated_key_is_named_with_its_columns_and_values(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(an_order(venue="kraken", code="A-1"))
    error = await failure_of(engine, an_order(id=2, venue="kraken", code="A-1"))
    assert isinstance(error, errors.AlreadyExists)
    assert error.facts == {
        "table": "orders",
        "constraint": "uq_orders_venue_code",
        "column": None,
        "key": {"venue": "kraken", "code": "A-1"},
        "sqlstate": "23505",
        "statement": "INSERT",
    }


async def test_a_key_with_commas_in_it_is_given_as_the_server_wrote_it(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(an_order(venue="a, b", code="(c)=(d)"))
    error = await failure_of(engine, an_order(id=2, venue="a, b", code="(c)=(d)"))
    assert error.facts["key"] == {"venue, code": "a, b, (c)=(d)"}


async def test_a_reference_to_nothing_names_the_key_it_looked_for(engine: AsyncEngine) -> None:
    error = await failure_of(engine, an_order(account_id=7))
    assert isinstance(error, errors.InvalidReference)
    assert error.facts["constraint"] == "fk_orders_account_id"
    assert error.facts["key"] == {"account_id": "7"}


async def test_a_row_still_referred_to_is_not_deleted(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(Account).values(id=7, row_version=1))
        await connection.execute(an_order(account_id=7))
    error = await failure_of(engine, text("DELETE FROM accounts"))
    assert isinstance(error, errors.InvalidReference)
    assert (error.facts["table"], error.facts["key"]) == ("orders", {"id": "7"})
    assert 'on table "accounts"' in error.explanation


async def test_a_violated_rule_is_named_with_the_value_that_broke_it(engine: AsyncEngine) -> None:
    error = await failure_of(engine, an_order(quantity=Decimal(-2)))
    assert isinstance(error, errors.ConstraintViolated)
    assert error.facts["constraint"] == "ck_orders_quantity_positive"
    assert (error.facts["table"], error.facts["column"], error.facts["value"]) == ("orders", "quantity", -2)


async def test_a_rule_over_several_columns_is_named_with_the_value_of_each(engine: AsyncEngine) -> None:
    error = await failure_of(engine, an_order(quantity=Decimal(1), filled=Decimal(2)))
    assert error.facts["value"] == {"quantity": 1, "filled": 2}


async def test_of_many_rows_no_value_is_guessed(engine: AsyncEngine) -> None:
    rows = [{"id": n, "quantity": Decimal(n)} for n in range(3)]
    error = await failure_of(engine, insert(orders), rows)
    assert isinstance(error, errors.ConstraintViolated)
    assert "value" not in error.facts


async def test_a_missing_value_names_its_column(engine: AsyncEngine) -> None:
    error = await failure_of(engine, insert(orders).values(id=1))
    assert isinstance(error, errors.ConstraintViolated)
    assert (error.facts["column"], error.facts["sqlstate"]) == ("quantity", "23502")


async def test_the_failing_row_is_in_no_traceback(engine: AsyncEngine) -> None:
    error = await failure_of(engine, an_order(quantity=Decimal(-2), venue="confidential"))
    assert "confidential" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("value", ["hunter2", {"password": "hunter2\x00"}])
async def test_values_of_the_configuration_are_never_repeated(engine: AsyncEngine, value: Any) -> None:
    error = await failure_of(engine, insert(system_config).values(key="api", value=value))
    assert isinstance(error, errors.ConstraintViolated | errors.InvalidValue)
    assert error.facts["table"] == "system_config"
    assert "hunter2" not in "".join(traceback.format_exception(error))


async def test_a_value_refused_by_its_column_type_names_table_and_column(engine: AsyncEngine) -> None:
    values = {"id": 1, "quantity": Decimal(1), "code": "fine", "venue": "nul\x00"}
    error = await failure_of(engine, insert(orders), values)
    assert isinstance(error, errors.InvalidValue)
    assert (error.facts["table"], error.facts["column"]) == ("orders", "venue")
    assert error.facts["value"] == "nul\x00"


async def test_a_value_the_driver_cannot_send_names_its_argument(engine: AsyncEngine) -> None:
    statement = text("SELECT CAST(:first AS int), CAST(:second AS int)")
    error = await failure_of(engine, statement, {"first": 1, "second": 2**70})
    assert isinstance(error, errors.InvalidValue)
    assert error.facts["column"] == "second"


async def test_what_the_driver_cannot_send_to_the_configuration_is_not_repeated(engine: AsyncEngine) -> None:
    statement = text("INSERT INTO system_config (key) VALUES (CAST(:key AS text))")
    error = await failure_of(engine, statement, {"key": ["hunter2"]})
    assert isinstance(error, errors.InvalidValue)
    assert error.facts["column"] == "key"
    assert "hunter2" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "mistake",
    [text("SELECT :missing"), select(cast(literal({"a", "set"}, JSON), Text))],
    ids=["bind", "type"],
)
async def test_a_mistake_in_using_sqlalchemy_is_left_to_sqlalchemy(engine: AsyncEngine, mistake: Any) -> None:
    async with engine.connect() as connection:
        with pytest.raises(StatementError):
            await connection.execute(mistake)


async def test_a_call_the_driver_refuses_is_a_database_error(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        with pytest.raises(errors.DatabaseError, match="expects 1 argument"):
            await connection.exec_driver_sql("SELECT $1::int", ())


async def test_a_lone_surrogate_is_an_invalid_value(engine: AsyncEngine) -> None:
    error = await failure_of(engine, text("SELECT CAST(:text AS text)"), {"text": "\ud800"})
    assert isinstance(error, errors.InvalidValue)


async def test_a_connection_is_as_good_as_before_after_a_refused_statement(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        with pytest.raises(errors.InvalidValue):
            await connection.execute(an_order(venue="nul\x00"))
        with pytest.raises(errors.ConstraintViolated):
            await connection.execute(an_order(quantity=Decimal(-2)))
        await connection.rollback()
        await connection.execute(an_order())
        assert (await connection.execute(select(orders.c.id))).scalars().all() == [1]


async def test_the_loser_of_a_race_gets_a_stale_write(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        session.add(account := Account(id=1))
        await session.commit()
        await session.refresh(account)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE accounts SET row_version = row_version + 1"))
        account.name = "late"
        with pytest.raises(errors.StaleWrite) as caught, translate_orm_errors():
            await session.flush()
        assert caught.value.facts == {"table": "accounts", "rows_expected": 1, "rows_found": 0}


async def test_a_session_after_an_error_says_that_it_is_void(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        session.add(Account(id=1))
        await session.flush()
        session.expunge_all()
        session.add(Account(id=1))
        with pytest.raises(errors.AlreadyExists), translate_orm_errors():
            await session.flush()
        with pytest.raises(errors.DatabaseError, match="start a new one"), translate_orm_errors():
            await session.execute(text("SELECT 1"))


def test_what_the_orm_cannot_flush_is_an_invalid_value() -> None:
    with pytest.raises(errors.InvalidValue, match="NULL identity key"), translate_orm_errors():
        raise FlushError("Instance has a NULL identity key")


async def test_a_deadlock_is_a_conflict_for_one_and_nothing_for_the_other(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(Account).values([{"id": n, "row_version": 1} for n in (1, 2)]))
    both_hold_one = asyncio.Barrier(2)
    lock = text("SELECT FROM accounts WHERE id = :id FOR UPDATE")

    async def lock_in_turn(*ids: int) -> None:
        async with engine.begin() as connection:
            await connection.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
            await connection.execute(lock, {"id": ids[0]})
            await both_hold_one.wait()
            await connection.execute(lock, {"id": ids[1]})

    outcomes = await asyncio.gather(lock_in_turn(1, 2), lock_in_turn(2, 1), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome] == [errors.TransactionConflict]


async def test_a_lock_not_granted_in_time_is_a_lock_timeout(engine: AsyncEngine) -> None:
    lock = text("LOCK TABLE accounts")
    async with engine.begin() as holder, engine.connect() as waiter:
        await holder.execute(lock)
        await waiter.execute(text("SET lock_timeout = '10ms'"))
        with pytest.raises(errors.LockTimeout):
            await waiter.execute(lock)
