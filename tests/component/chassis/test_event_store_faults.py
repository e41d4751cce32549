"""The record when Postgres goes away: nothing is lost, nothing is written twice, nothing hangs."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from chassis.eventstore import AlreadyHandled, EventStore, Handled
from contracts import errors
from contracts.errors import PlatformError
from tests.component.chassis.record_fixtures import open_store, store
from tests.support.commit_proxy import CommitProxy, Lose, commit_proxy
from tests.support.eventually import eventually
from tests.support.postgres_server import PostgresServer, SchemaAccess, running_postgres
from tests.support.sample_runs import CONTEXT, LongRun, SampleRun

__all__ = ["store"]

pytestmark = pytest.mark.stack


@pytest.fixture
async def proxy(postgres: PostgresServer) -> AsyncIterator[CommitProxy]:
    """A proxy before the session's server."""
    async with commit_proxy(postgres.port) as opened:
        yield opened


@pytest.fixture
async def proxied(record_access: SchemaAccess, proxy: CommitProxy) -> AsyncIterator[EventStore]:
    """A store whose connections go through the proxy."""
    access = SchemaAccess(
        dsn=proxy.dsn(record_access.dsn), schema=record_access.schema, role="", admin_dsn=record_access.admin_dsn
    )
    async with open_store(access) as opened:
        yield opened


@pytest.mark.parametrize("what", list(Lose))
async def test_commit_that_is_lost_on_the_way_is_made_exactly_once(
    proxied: EventStore, proxy: CommitProxy, what: Lose
) -> None:
    """Whether the commit or only its answer was lost, save returns and the events are there once."""
    proxy.lose.append(what)
    run = SampleRun("a").fail()
    envelopes = await proxied.save(run, SampleRun("b").fail().fail(), context=CONTEXT, handled=Handled("c", "e"))
    assert proxy.lost == 1
    assert [envelope for _, envelope in await proxied.events()] == envelopes
    assert run.pending == ()
    assert await proxied.was_handled(Handled("c", "e"))


async def test_commit_that_is_lost_again_and_again_is_made_exactly_once(
    proxied: EventStore, proxy: CommitProxy
) -> None:
    """Doubt is resolved also when the first answer to it is wrong."""
    proxy.lose += [Lose.REQUEST, Lose.ANSWER, Lose.REQUEST]
    envelopes = await proxied.save(LongRun("a").fail(4), context=CONTEXT)
    assert [envelope for _, envelope in await proxied.events()] == envelopes
    assert (await proxied.load(LongRun, "a")).failures == 4


async def test_foreign_change_during_the_doubt_is_a_conflict(
    proxied: EventStore, proxy: CommitProxy, store: EventStore
) -> None:
    """Events of somebody else at the same place are not taken for one's own."""
    await store.save(SampleRun("a").fail(), context=CONTEXT)
    late = SampleRun("a").fail()
    proxy.lose.append(Lose.REQUEST)
    with pytest.raises(PlatformError) as refused:
        await proxied.save(late, context=CONTEXT)
    assert refused.value.code is errors.CONCURRENT_CHANGE
    assert proxy.lost == 0


async def test_message_without_events_stays_in_doubt_and_is_recognised_when_it_comes_again(
    proxied: EventStore, proxy: CommitProxy
) -> None:
    """Where no event tells whether it was committed, the redelivery does."""
    proxy.lose.append(Lose.ANSWER)
    with pytest.raises(PlatformError) as refused:
        await proxied.save(context=CONTEXT, handled=Handled("c", "e"))
    assert refused.value.code is errors.UNAVAILABLE
    with pytest.raises(AlreadyHandled):
        await proxied.save(context=CONTEXT, handled=Handled("c", "e"))


async def test_connections_that_were_cut_are_replaced_within_the_call(
    store: EventStore, record_access: SchemaAccess
) -> None:
    """A caller does not notice that its connections were terminated while they were idle."""
    await store.save(SampleRun("a").fail(), context=CONTEXT)
    for number in range(3):
        with psycopg.connect(record_access.admin_dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (record_access.role,)
            )
        await store.save(SampleRun(f"b{number}").fail(), context=CONTEXT)
        assert (await store.load(SampleRun, "a")).version == 1
    assert len(await store.events()) == 4


async def test_store_survives_restarts_of_postgres_without_losing_what_it_confirmed() -> None:
    """Whatever save returned is there after a stop and after a crash; what failed is there once or not at all."""
    with running_postgres(settings=()) as server:
        access = server.fresh()
        async with open_store(access) as store:
            confirmed: list[str] = []
            tried: list[str] = []
            stop = asyncio.Event()

            async def append() -> None:
                while not stop.is_set():
                    run = SampleRun(str(len(tried))).fail()
                    tried.append(run.id)
                    try:
                        await store.save(run, context=CONTEXT)
                    except PlatformError as error:
                        assert error.code is errors.UNAVAILABLE  # noqa: PT017  # anything else fails the test
                    else:
                        confirmed.append(run.id)

            appending = asyncio.create_task(append())
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGINT):
                before = len(confirmed)
                await eventually(lambda seen=before: len(confirmed) > seen + 20)
                await server.restart(how)
            before = len(confirmed)
            await eventually(lambda: len(confirmed) > before + 20)
            stop.set()
            await appending
            log = await store.events(limit=100_000)
            stored = [envelope.subject.removeprefix("sample-run/") for _, envelope in log]
            assert len(stored) == len(set(stored))
            assert set(confirmed) <= set(stored) <= set(tried)


async def test_store_without_postgres_fails_in_bounded_time_and_comes_back() -> None:
    """A server that is away is UNAVAILABLE within seconds, also for the readiness check."""
    with running_postgres() as server:
        access = server.fresh()
        async with open_store(access) as store:
            run = SampleRun("a").fail()
            await asyncio.to_thread(server.stop)
            begin = time.monotonic()
            with pytest.raises(PlatformError) as refused:
                await store.save(run, context=CONTEXT)
            assert refused.value.code is errors.UNAVAILABLE
            assert "password" not in str(refused.value)
            refusal = await store.check()
            assert isinstance(refusal, PlatformError)
            assert refusal.code is errors.UNAVAILABLE
            assert time.monotonic() - begin < 20
            await asyncio.to_thread(server.start)
            assert await store.check() is None
            await store.save(run, context=CONTEXT)
            assert (await store.load(SampleRun, "a")).version == 1
