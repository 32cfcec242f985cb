"""Comments of tables and columns travel with what comes after them, or else with the commit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import URL, Column, Connection, MetaData, Table, Text, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable, SetColumnComment, SetTableComment

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.connections import migration_engine
from gal_friday.errors import PersistenceError

NOTES = Table("notes", MetaData(), Column("body", Text, comment="What is noted; it's text"), comment="Notes")
COMMENTS = text("SELECT obj_description('notes'::regclass), col_description('notes'::regclass, 1)")


@asynccontextmanager
async def connected(url: URL) -> AsyncIterator[AsyncConnection]:
    engine = migration_engine(url, DatabaseSettings())
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


def comment(connection: Connection) -> None:
    connection.execute(SetTableComment(NOTES))
    connection.execute(SetColumnComment(NOTES.c.body))


async def test_comments_are_sent_before_what_comes_after_them(empty_database_url: str) -> None:
    async with connected(make_url(empty_database_url)) as connection:
        await connection.execute(CreateTable(NOTES))
        await connection.run_sync(comment)
        assert (await connection.execute(COMMENTS)).one() == ("Notes", "What is noted; it's text")


async def test_comments_that_come_last_are_sent_before_the_commit(empty_database_url: str) -> None:
    async with connected(make_url(empty_database_url)) as connection:
        await connection.execute(CreateTable(NOTES))
        await connection.run_sync(comment)
        await connection.commit()
    async with connected(make_url(empty_database_url)) as connection:
        assert (await connection.execute(COMMENTS)).one() == ("Notes", "What is noted; it's text")


async def test_comments_that_were_rolled_back_are_forgotten(empty_database_url: str) -> None:
    async with connected(make_url(empty_database_url)) as connection:
        await connection.execute(CreateTable(NOTES))
        await connection.run_sync(comment)
        await connection.rollback()
        assert (await connection.execute(text("SELECT to_regclass('notes')"))).scalar() is None


async def test_a_comment_that_is_refused_says_so(empty_database_url: str) -> None:
    async with connected(make_url(empty_database_url)) as connection:
        await connection.execute(text("SELECT 1"))
        await connection.run_sync(comment)
        with pytest.raises(PersistenceError, match="notes"):
            await connection.execute(text("SELECT 2"))
