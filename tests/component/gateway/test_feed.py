"""The feed of facts: what a crash of Postgres has taken is told once more and never kept as if it were there."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg import sql

from gateway.monitoring.feed import FactFeed
from gateway.projections.fact import Fact
from gateway.projections.state import SKIPPED
from gateway.reading.made import Made
from gateway.schema import STATEMENTS
from tests.support.eventually import eventually
from tests.support.postgres_server import PostgresServer, SchemaAccess

pytestmark = pytest.mark.stack

ORGANISATION = "018f5f2c-0000-7000-8000-00000000000a"


@pytest.fixture
async def access(postgres: PostgresServer) -> AsyncIterator[SchemaAccess]:
    """A gateway's schema without a gateway."""
    access = postgres.fresh(statements=STATEMENTS, prefix="gateway")
    yield access
    postgres.drop(access)


async def _number(access: SchemaAccess, number: int, *events: str, lost: Sequence[str] = ()) -> None:
    """Facts get numbers from one on, in the transaction that takes what was lost."""
    async with await psycopg.AsyncConnection.connect(access.admin_dsn) as database:
        await database.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(access.schema)))
        await database.execute("DELETE FROM facts WHERE event_id = ANY(%s)", (list(lost),))
        for each, event in enumerate(events, number):
            await database.execute(
                "INSERT INTO facts (sequence, organisation, type, event_id, time, fields)"
                " VALUES (%s, %s, 'x', %s, now(), '{}')",
                (each, ORGANISATION, event),
            )
        await database.execute("UPDATE projection_state SET sequence = %s", (number + len(events) - 1,))


@asynccontextmanager
async def _following(feed: FactFeed) -> AsyncIterator[None]:
    await feed.loop.start()
    try:
        yield
    finally:
        await feed.loop.stop()


async def test_facts_that_a_crash_has_taken_come_again_once_though_later_numbers_are_there_already(
    access: SchemaAccess,
) -> None:
    """Whoever is connected late after a crash keeps nothing under a lost number, beside the same fact under its own."""
    heard: list[Sequence[Fact]] = []
    feed = FactFeed(access.dsn, access.schema, Made())
    feed.listen(heard.append)
    await _number(access, 1, "kept", "lost", "lost too")
    async with _following(feed):
        await eventually(lambda: feed.sequence == 3)
        assert [fact.event_id for fact in feed.since(ORGANISATION, feed.epoch, 1) or ()] == ["lost", "lost too"]
    assert feed.since(ORGANISATION, feed.epoch, 1) is None  # as long as nobody can tell what is kept
    again = SKIPPED + 4
    await _number(access, again, "lost", "lost too", "later", lost=("lost", "lost too"))
    heard.clear()
    async with _following(feed):
        await eventually(lambda: feed.sequence == again + 2)
        assert feed.since(ORGANISATION, feed.epoch, 3) is None
        told = feed.since(ORGANISATION, feed.epoch, 1)
        assert told is not None
        assert [(fact.sequence, fact.event_id) for fact in told] == [
            (again, "lost"),
            (again + 1, "lost too"),
            (again + 2, "later"),
        ]
    # Listeners are told that it begins anew, then what they may have heard of already.
    assert [[fact.event_id for fact in each] for each in heard] == [[], ["lost", "lost too", "later"]]
