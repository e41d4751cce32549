"""Streams that do not continue the log: refused, and filled by explicit permission alone."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from datetime import timedelta

import psycopg
import pytest
from nats.js.api import StreamConfig

from chassis.outbox.chained import stream_view
from chassis.outbox.relay import Relay, request_refill
from chassis.outbox.tables import refill_refusal
from chassis.record.eventstore import EventStore
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.subjects import events_of
from tests.component.chassis.record_fixtures import (
    SERVICE,
    STREAM,
    append,
    caught_up,
    expected,
    nats,
    open_relay,
    open_store,
    store,
    stored_messages,
)
from tests.support.eventually import eventually
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer, SchemaAccess

__all__ = ["nats", "store"]

pytestmark = pytest.mark.stack


async def _publish(store: EventStore, access: SchemaAccess, nats: NatsServer, count: int, name: str = "run") -> None:
    """Records events and publishes them with a relay that is gone afterwards."""
    async with open_relay(access, nats) as relay:
        await append(store, count, name)
        await caught_up(relay, store)


@pytest.fixture
async def published(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer
) -> Callable[[int], Awaitable[None]]:
    """Records events and publishes them with a relay that is gone afterwards."""

    async def publish(count: int) -> None:
        await _publish(store, record_access, nats, count, f"published-{len(await store.events(limit=100_000))}")

    return publish


async def _refused(relay: Relay) -> ErrorCode:
    """The code of a refusal that is more than an interruption."""

    def refusal() -> PlatformError | None:
        error = relay.state.refused
        return None if error is None or error.code is errors.UNAVAILABLE else error

    error = await eventually(refusal)
    assert error is not None
    assert await relay.check() is error
    return error.code


async def _no_refill(access: SchemaAccess, nats: NatsServer) -> PlatformError | None:
    """What `wedsync-backup refill` says before it permits anything; `access` is the administrator's."""
    async with nats.connected() as client:
        view = await stream_view(client.jetstream(), STREAM)
    return await refill_refusal(access.admin_dsn, access.schema, view)


async def _empty(nats: NatsServer) -> None:
    """Lose the whole store, and declare the streams again."""
    await asyncio.to_thread(nats.stop)
    nats.wipe()
    await asyncio.to_thread(nats.start)


async def test_empty_stream_is_refused_until_refill_and_then_filled_under_the_same_ids(
    store: EventStore,
    record_access: SchemaAccess,
    nats: NatsServer,
    published: Callable[[int], Awaitable[None]],
) -> None:
    """After the loss of NATS's store nothing is published by surprise; after the command everything is there again."""
    await published(20)
    before = await stored_messages(nats)
    await _empty(nats)
    async with open_relay(record_access, nats) as relay:
        assert await _refused(relay) is errors.STREAM_MISSING
        await nats.apply()
        await append(store, 5, "meanwhile")
        assert await _refused(relay) is errors.STREAM_MISSING
        assert await stored_messages(nats) == []
        assert await _no_refill(record_access, nats) is None
        await request_refill(record_access.admin_dsn, record_access.schema)
        await caught_up(relay, store)
        assert await relay.check() is None
        assert await _no_refill(record_access, nats) is None
    after = await stored_messages(nats)
    assert after == await expected(store)
    assert after[:20] == before


async def test_relay_that_fills_a_stream_says_how_far_it_is(
    store: EventStore,
    record_access: SchemaAccess,
    nats: NatsServer,
    published: Callable[[int], Awaitable[None]],
) -> None:
    """A platform whose streams are not whole yet does not say that it is ready and nothing else."""
    await published(200)
    await _empty(nats)
    await nats.apply()
    async with open_relay(record_access, nats, window=1) as relay:
        assert await _refused(relay) is errors.STREAM_MISSING
        assert await relay.unfinished() is None, "it fills nothing yet, and says why"
        said: set[str] = set()

        async def listen() -> None:
            while True:
                said.update(filter(None, [await relay.unfinished()]))
                await asyncio.sleep(0)

        listening = asyncio.create_task(listen())
        await request_refill(record_access.admin_dsn, record_access.schema)
        await caught_up(relay, store)
        listening.cancel()
        assert await relay.unfinished() is None
    assert any(words.startswith(f"still filling {STREAM}: ") and words.endswith(" of 200") for words in said), said


async def test_stream_that_is_lost_while_the_relay_runs_is_refused(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer
) -> None:
    """The chain notices in the middle of the work what a start would notice."""
    async with open_relay(record_access, nats) as relay:
        await append(store, 10)
        await caught_up(relay, store)
        await _empty(nats)
        await nats.apply()
        await append(store, 1, "after")
        assert await _refused(relay) is errors.STREAM_MISSING
        assert await stored_messages(nats) == []
        await request_refill(record_access.admin_dsn, record_access.schema)
        await caught_up(relay, store)
    assert await stored_messages(nats) == await expected(store)


async def test_permission_is_used_once(
    store: EventStore,
    record_access: SchemaAccess,
    nats: NatsServer,
    published: Callable[[int], Awaitable[None]],
) -> None:
    """A permission that was given for one loss does not cover the next, nor one that nobody needed."""
    await request_refill(record_access.admin_dsn, record_access.schema)
    await published(5)
    await _empty(nats)
    await nats.apply()
    async with open_relay(record_access, nats) as relay:
        assert await _refused(relay) is errors.STREAM_MISSING
        await request_refill(record_access.admin_dsn, record_access.schema)
        await caught_up(relay, store)
    await _empty(nats)
    await nats.apply()
    async with open_relay(record_access, nats) as relay:
        assert await _refused(relay) is errors.STREAM_MISSING


async def test_short_stream_is_refused_until_refill_and_then_continued(
    store: EventStore,
    record_access: SchemaAccess,
    nats: NatsServer,
    published: Callable[[int], Awaitable[None]],
) -> None:
    """A store that has forgotten its last acknowledged messages gets them again, and those before stay."""
    await published(10)
    await asyncio.to_thread(nats.stop)
    shutil.copytree(nats.store, nats.folder / "older")
    await asyncio.to_thread(nats.start)
    await published(10)
    await asyncio.to_thread(nats.stop)
    nats.wipe()
    (nats.folder / "older").rename(nats.store)
    await asyncio.to_thread(nats.start)
    async with open_relay(record_access, nats) as relay:
        assert await _refused(relay) is errors.STREAM_MISSING
        assert len(await stored_messages(nats)) == 10
        await request_refill(record_access.admin_dsn, record_access.schema)
        await caught_up(relay, store)
        assert relay.state.published == 10
    assert await stored_messages(nats) == await expected(store)


async def test_stream_of_another_record_is_refused_until_refill_and_then_continued_behind(
    postgres: PostgresServer,
    store: EventStore,
    record_access: SchemaAccess,
    nats: NatsServer,
    published: Callable[[int], Awaitable[None]],
) -> None:
    """A record that meets a stranger's stream adds nothing to it by itself, and destroys nothing of it ever."""
    await published(10)
    theirs = await expected(store)
    ours = postgres.fresh()
    async with open_store(ours) as second:
        await append(second, 7, "ours")
        async with open_relay(ours, nats) as relay:
            assert await _refused(relay) is errors.STREAM_OF_ANOTHER_LOG
            assert len(await stored_messages(nats)) == 10
            await request_refill(ours.admin_dsn, ours.schema)
            await caught_up(relay, second)
        async with open_relay(ours, nats) as relay:
            await append(second, 1, "more")
            await caught_up(relay, second)
            assert relay.state.published == 1
        assert await stored_messages(nats) == theirs + await expected(second)
    postgres.drop(ours)


def _forget(access: SchemaAccess, after: int) -> None:
    """Restore the record to an earlier point, as a backup would."""
    with psycopg.connect(access.admin_dsn, autocommit=True) as connection:
        connection.execute(f"DELETE FROM {access.schema}.stored_events WHERE notification_id > {after}")
        connection.execute(
            f"ALTER TABLE {access.schema}.stored_events ALTER COLUMN notification_id RESTART WITH {after + 1}"
        )


async def test_record_behind_its_stream_is_refused_until_it_begins_a_new_log(
    store: EventStore,
    record_access: SchemaAccess,
    nats: NatsServer,
    published: Callable[[int], Awaitable[None]],
) -> None:
    """A restored record never reuses an identity: only a new incarnation goes on, with its whole history."""
    await published(10)
    before = await expected(store)
    _forget(record_access, 6)
    async with open_relay(record_access, nats) as relay:
        assert await _refused(relay) is errors.STREAM_OF_ANOTHER_LOG
        await request_refill(record_access.admin_dsn, record_access.schema)
        await append(store, 1, "after")
        assert await _refused(relay) is errors.STREAM_OF_ANOTHER_LOG
        assert len(await stored_messages(nats)) == 10
        why = await _no_refill(record_access, nats)
        assert why is not None
        assert why.code is errors.STREAM_OF_ANOTHER_LOG
        assert "--new-incarnation" in why.hint
        await request_refill(record_access.admin_dsn, record_access.schema, new_incarnation=True)
        await caught_up(relay, store)
    after = await expected(store)
    assert await stored_messages(nats) == before + after
    assert not {identity for identity, _ in before} & {identity for identity, _ in after}


async def test_record_that_has_grown_differently_is_refused(
    store: EventStore,
    record_access: SchemaAccess,
    nats: NatsServer,
    published: Callable[[int], Awaitable[None]],
) -> None:
    """As many events are not the same events: the last message is compared byte by byte."""
    await published(10)
    _forget(record_access, 6)
    await append(store, 8, "another history")
    async with open_relay(record_access, nats) as relay:
        assert await _refused(relay) is errors.STREAM_OF_ANOTHER_LOG
    assert len(await stored_messages(nats)) == 10


async def test_message_that_was_published_past_the_record_is_noticed(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer
) -> None:
    """Whoever adds to a service's stream without its record stops the relay, and does not go unseen."""
    async with open_relay(record_access, nats) as relay:
        await append(store, 3)
        await caught_up(relay, store)
        async with nats.connected() as client:
            await client.jetstream().publish(f"backup.{SERVICE}.org.forged.v1", b"{}")
        await append(store, 1, "after")
        assert await _refused(relay) is errors.STREAM_OF_ANOTHER_LOG
    assert len(await stored_messages(nats)) == 4


async def _bare_stream(nats: NatsServer, duplicate_window: timedelta) -> None:
    """A stream as nobody should declare it: its messages can be deleted and purged."""
    async with nats.connected() as client:
        await client.jetstream().add_stream(
            StreamConfig(name=STREAM, subjects=[events_of(SERVICE)], duplicate_window=duplicate_window.total_seconds())
        )


async def test_hole_in_the_stream_is_refused_until_the_record_begins_a_new_log(
    store: EventStore, record_access: SchemaAccess, own_nats: NatsServer
) -> None:
    """A message that is lost in the middle is noticed, and the record published anew behind what is left."""
    await _bare_stream(own_nats, timedelta(minutes=2))
    await _publish(store, record_access, own_nats, 5)
    async with own_nats.connected() as client:
        await client.jetstream().delete_msg(STREAM, 3)
    async with open_relay(record_access, own_nats) as relay:
        assert await _refused(relay) is errors.STREAM_MISSING
        await request_refill(record_access.admin_dsn, record_access.schema)
        assert await _refused(relay) is errors.STREAM_MISSING
        why = await _no_refill(record_access, own_nats)
        assert why is not None
        assert "messages inside the stream are lost" in why.message
        await request_refill(record_access.admin_dsn, record_access.schema, new_incarnation=True)
        await caught_up(relay, store)
    messages = await stored_messages(own_nats)
    assert len(messages) == 9
    assert messages[4:] == await expected(store)


async def test_purged_stream_that_remembers_the_ids_is_filled_and_not_believed(
    store: EventStore, record_access: SchemaAccess, own_nats: NatsServer
) -> None:
    """A server that acknowledges duplicates without keeping them is found out by their place in the stream."""
    await _bare_stream(own_nats, timedelta(seconds=3))
    await _publish(store, record_access, own_nats, 5)
    async with own_nats.connected() as client:
        await client.jetstream().purge_stream(STREAM)
    async with open_relay(record_access, own_nats) as relay:
        assert await _refused(relay) is errors.STREAM_MISSING
        await request_refill(record_access.admin_dsn, record_access.schema)
        await caught_up(relay, store)
    assert await stored_messages(own_nats) == await expected(store)


async def test_stream_that_is_purged_while_the_relay_runs_is_noticed(
    store: EventStore, record_access: SchemaAccess, own_nats: NatsServer
) -> None:
    """What the chain alone does not notice, since the server remembers the last id, a regular look does."""
    await _bare_stream(own_nats, timedelta(seconds=1))
    async with open_relay(record_access, own_nats, look_seconds=0.3) as relay:
        await append(store, 5)
        await caught_up(relay, store)
        async with own_nats.connected() as client:
            await client.jetstream().purge_stream(STREAM)
        await append(store, 5, "after")
        assert await _refused(relay) is errors.STREAM_MISSING
        assert len(await stored_messages(own_nats)) <= 5


async def test_service_cannot_permit_the_refill_to_itself(record_access: SchemaAccess) -> None:
    """The permission is the administrator's to give."""
    with pytest.raises(PlatformError, match="not this right on it: table refill_permissions") as refused:
        await request_refill(record_access.dsn, record_access.schema)
    assert "wedsync-backup down, then wedsync-backup up" in refused.value.hint, "up alone is refused where it runs"


async def test_refill_without_postgres_says_so() -> None:
    """The command fails with a code when the record cannot be reached."""
    with pytest.raises(PlatformError) as refused:
        await request_refill("host=127.0.0.1 port=1 connect_timeout=1", "executor")
    assert refused.value.code is errors.UNAVAILABLE
