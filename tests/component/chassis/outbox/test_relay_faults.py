"""The relay when everything around it dies: at the end the stream is the log."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from chassis.record.eventstore import AlreadyHandled, EventStore, Handled
from contracts import errors
from contracts.errors import PlatformError
from tests.component.chassis.record_fixtures import STREAM, caught_up, expected, open_relay, open_store, stored_messages
from tests.support.eventually import eventually
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer, SchemaAccess, running_postgres
from tests.support.sample_runs import CONTEXT, SampleRun

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A durable server that the tests of this module may crash."""
    with running_postgres(settings=()) as server:
        yield server


@pytest.fixture
def access(own_postgres: PostgresServer) -> SchemaAccess:
    """A fresh schema on that server."""
    return own_postgres.fresh()


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server with the topology, which writes every message to disk before it answers."""
    server = NatsServer(tmp_path / "nats", sync_always=True).start()
    await server.apply()
    yield server
    server.kill()


@contextmanager
def _relay_process(access: SchemaAccess, nats: NatsServer) -> Iterator["subprocess.Popen[bytes]"]:
    """A relay that can be killed."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.support.relay_process",
            access.dsn,
            access.schema,
            nats.url,
            str(nats.seed_file("executor")),
        ],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class _Appending:
    """Records events without a break, whatever happens to Postgres."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._stop = asyncio.Event()
        self.count = 0

    async def run(self) -> None:
        while not self._stop.is_set():
            run = SampleRun(f"run-{self.count}")
            for _ in range(1 + self.count % 9):
                run.fail()
            try:
                await self._store.save(run, context=CONTEXT)
            except PlatformError as error:
                assert error.code is errors.UNAVAILABLE  # noqa: PT017  # anything else fails the test
            self.count += 1
            await asyncio.sleep(0.002)

    def stop(self) -> None:
        self._stop.set()


async def _stream_length(nats: NatsServer) -> int:
    async with nats.connected() as client:
        return (await client.jetstream().stream_info(STREAM)).state.messages


async def _grown(nats: NatsServer, by: int) -> None:
    """Wait until the stream has so many messages more than now."""
    before = await _stream_length(nats)

    async def has_grown() -> bool:
        return await _stream_length(nats) >= before + by

    await eventually(has_grown, every=0.05)


async def test_relay_and_nats_that_are_killed_again_and_again_lose_and_repeat_nothing(
    access: SchemaAccess, nats: NatsServer
) -> None:
    """Six kills of the relay and three of NATS in the middle of publishing: the stream is the log."""
    async with open_store(access) as store:
        appending = _Appending(store)
        work = asyncio.create_task(appending.run())
        try:
            for round_ in range(6):
                with _relay_process(access, nats):
                    await _grown(nats, by=40 + 13 * round_)
                    if round_ % 2:
                        await asyncio.to_thread(nats.kill)
                        await asyncio.to_thread(nats.start)
                        await _grown(nats, by=20)
        finally:
            appending.stop()
            await work
        async with open_relay(access, nats) as relay:
            await caught_up(relay, store)
        log = await expected(store)
        assert len(log) > 400
        assert await stored_messages(nats) == log


async def test_relay_survives_restarts_of_postgres(
    own_postgres: PostgresServer, access: SchemaAccess, nats: NatsServer
) -> None:
    """A relay whose database stops and crashes goes on by itself, and the stream is the log."""
    async with open_store(access) as store, open_relay(access, nats) as relay:
        appending = _Appending(store)
        work = asyncio.create_task(appending.run())
        try:
            for how in (signal.SIGINT, signal.SIGQUIT):
                await _grown(nats, by=40)
                await own_postgres.restart(how)
            await _grown(nats, by=40)
        finally:
            appending.stop()
            await work
        await caught_up(relay, store)
        assert await relay.check() is None
        assert await stored_messages(nats) == await expected(store)


async def test_redelivered_messages_have_one_effect_each(access: SchemaAccess, nats: NatsServer) -> None:
    """Deliveries that are lost, late, out of order and at once with others: the inbox lets each message act once."""
    async with open_store(access) as store, nats.connected() as client:
        js = client.jetstream()
        count = 120
        for number in range(count):
            await js.publish("backup.executor.org.x.v1", str(number).encode())
        subscription = await js.pull_subscribe(
            "", stream=STREAM, config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=0.4, max_ack_pending=64)
        )
        repeated = 0
        done: set[str] = set()

        async def handle(message: Msg) -> None:
            nonlocal repeated
            name, delivery = message.data.decode(), message.metadata.num_delivered
            try:
                await store.save(SampleRun(f"{name}-{delivery}").fail(), context=CONTEXT, handled=Handled("c", name))
            except AlreadyHandled:
                repeated += 1
            # The first answer is lost, the second comes too late for some, and some ask to have it again at once.
            if delivery == 1 or (delivery == 2 and int(name) % 3 == 0):
                if int(name) % 2:
                    await message.nak()
                return
            await message.ack()
            done.add(name)

        async with asyncio.timeout(60):
            while len(done) < count:
                try:
                    batch = await subscription.fetch(32, timeout=0.3)
                except TimeoutError:
                    continue
                await asyncio.gather(*(handle(message) for message in batch))
        effects = [envelope.subject.rpartition("-")[0] for _, envelope in await store.events(limit=10_000)]
        assert sorted(effects) == sorted(f"sample-run/{number}" for number in range(count))
        assert repeated >= count
