"""The bus when NATS goes, loses its store, delivers twice or out of order, and when a message kills the process."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from nats.js import JetStreamContext

from chassis.bus import subscriptions
from chassis.bus.subscriptions import Received
from chassis.record.eventstore import AlreadyHandled
from contracts.streams import CONSUMERS, ConsumerSpec, consumer_named
from tests.support.bus_process import BusProcess, letters
from tests.support.eventually import eventually
from tests.support.messages import backup_requested, envelope_of, publish
from tests.support.nats_server import NatsServer

pytest_plugins = ["tests.support.nats_server"]
pytestmark = pytest.mark.stack

ACCEPT = consumer_named("executor--accept-backup")


class Inbox:
    """A handler with the inbox's rule: an event's effect once, a repeat is recognised."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.calls = 0

    async def __call__(self, received: Received) -> None:
        """Take the event, or recognise it."""
        self.calls += 1
        if received.envelope.id in self.effects:
            raise AlreadyHandled
        self.effects.append(received.envelope.id)


def _ids(numbers: range) -> list[str]:
    return [f"event-gateway-{number}" for number in numbers]


async def _publish_some(server: NatsServer, numbers: range) -> None:
    async with server.connected() as client:
        for number in numbers:
            await publish(client.jetstream(), envelope_of(backup_requested(number), number))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGUSR2, signal.SIGKILL], ids=lambda how: how.name)
async def test_bus_goes_on_when_nats_was_stopped_and_started_in_the_middle(
    own_nats: NatsServer, how: signal.Signals
) -> None:
    """Every event has its effect once, without anybody starting the service anew."""
    await own_nats.apply()
    inbox = Inbox()
    async with BusProcess(own_nats, "executor").running((ACCEPT, inbox)) as process:
        for round_ in range(3):
            await _publish_some(own_nats, range(20 * round_, 20 * round_ + 10))
            await eventually(lambda: inbox.calls > 0)
            own_nats.stop(how)
            assert await eventually(process.connection.check)
            own_nats.start()
            await _publish_some(own_nats, range(20 * round_ + 10, 20 * round_ + 20))
        await eventually(lambda: sorted(inbox.effects) == sorted(_ids(range(60))))
        assert len(set(inbox.effects)) == len(inbox.effects)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
async def test_what_was_asked_of_a_server_that_went_is_asked_again(
    own_nats: NatsServer, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new server knows of no open request; however long that one would have waited, nobody waits for it."""
    monkeypatch.setattr(subscriptions, "PULL_SECONDS", 3_600.0)
    await own_nats.apply()
    inbox = Inbox()
    async with BusProcess(own_nats, "executor").running((ACCEPT, inbox)) as process:
        await _publish_some(own_nats, range(1))
        await eventually(lambda: inbox.effects)
        for number in range(1, 3):
            own_nats.stop(how)
            assert await eventually(process.connection.check)
            own_nats.start()
            await eventually(lambda: process.connection.client.is_connected)
            await _publish_some(own_nats, range(number, number + 1))
            await eventually(lambda number=number: len(inbox.effects) > number)


async def test_bus_stops_while_nats_is_away(own_nats: NatsServer) -> None:
    """A process can be stopped without its server, cleanly and at once, with a handler under way."""
    await own_nats.apply()
    begun, release = asyncio.Event(), asyncio.Event()

    async def handler(_: Received) -> None:
        begun.set()
        await release.wait()

    process = BusProcess(own_nats, "executor")
    async with process.running((ACCEPT, handler)):
        await _publish_some(own_nats, range(1))
        await begun.wait()
        own_nats.kill()
        await eventually(process.connection.check)
        release.set()
        async with asyncio.timeout(60):
            await process.bus.stop()
            await process.connection.stop()


async def test_bus_goes_on_after_the_store_was_deleted_and_filled_again(own_nats: NatsServer) -> None:
    """A lost store: the service says what is missing, and after topology and refill handles only what is new."""
    await own_nats.apply()
    inbox = Inbox()
    async with BusProcess(own_nats, "executor").running((ACCEPT, inbox)) as process:
        await _publish_some(own_nats, range(10))
        await eventually(lambda: len(inbox.effects) == 10)
        own_nats.kill()
        own_nats.wipe()
        own_nats.start()
        problem = await eventually(process.bus.check)
        assert "does not answer" in str(problem)
        await own_nats.apply()
        # The relay publishes the record from its beginning, under the identities that it always had.
        await _publish_some(own_nats, range(15))
        await eventually(lambda: inbox.calls == 25)
        assert sorted(inbox.effects) == sorted(_ids(range(15)))
        await eventually(lambda: _is_well(process))


async def _is_well(process: BusProcess) -> bool:
    return await process.bus.check() is None


async def test_duplicates_and_reordering_change_nothing(own_nats: NatsServer) -> None:
    """At-least-once in any order: each event has its effect once."""
    await own_nats.apply()
    inbox = Inbox()
    order = [(number * 7) % 40 for number in range(40)] + [(number * 11) % 40 for number in range(40)]
    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, inbox)):
        js = client.jetstream()
        for place, number in enumerate(order):
            envelope = envelope_of(backup_requested(number), number)
            await publish(js, envelope, message_id=f"delivery-{place}")
        await eventually(lambda: _is_idle(js, ACCEPT))
        assert sorted(inbox.effects) == sorted(_ids(range(40)))
        assert inbox.calls == len(order)
        assert await letters(js) == []


async def _is_idle(js: JetStreamContext, spec: ConsumerSpec) -> bool:
    info = await js.consumer_info(spec.stream, spec.durable_name)
    return info.num_pending == 0 and info.num_ack_pending == 0


async def test_good_messages_pass_between_bad_ones(own_nats: NatsServer) -> None:
    """Malformed and unknown messages neither block nor lose the good ones among them."""
    specs = tuple(msgspec.structs.replace(spec, max_deliveries=2) if spec == ACCEPT else spec for spec in CONSUMERS)
    accept = next(spec for spec in specs if spec.durable_name == ACCEPT.durable_name)
    await own_nats.apply(consumers=specs)
    inbox = Inbox()
    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((accept, inbox)):
        js = client.jetstream()
        subject = "backup.gateway.studio-a.backup-requested.v1"
        for number in range(30):
            if number % 3 == 0:
                await js.publish(subject, os.urandom(200))
            elif number % 3 == 1:
                unknown = envelope_of(backup_requested(number), number, type="gateway.backup-requested.v7")
                await js.publish(subject, msgspec.json.encode(unknown))
            else:
                await publish(js, envelope_of(backup_requested(number), number))
        await eventually(lambda: _is_idle(js, accept))
        assert sorted(inbox.effects) == sorted(f"event-gateway-{number}" for number in range(2, 30, 3))
        codes = [letter.burial.code for letter in await letters(js)]
        assert codes.count("malformed-message") == 10
        assert codes.count("unknown-event-version") == 10


_DYING = """
import asyncio, os, signal, sys
import msgspec
from chassis.bus.subscriptions import Bus
from chassis.bus.connection import Connection
from chassis.life.health import Health
from chassis.telemetry.instruments import Telemetry
from contracts.streams import consumer_named

async def main(url, seed_file, deliveries):
    accept = consumer_named("executor--accept-backup")
    spec = msgspec.structs.replace(accept, ack_wait_seconds=1.5, max_deliveries=int(deliveries))
    telemetry, health = Telemetry("executor"), Health("executor")
    connection = Connection(url=url, identity="executor", telemetry=telemetry, health=health, seed_file=seed_file)
    bus = Bus(connection, "executor", telemetry=telemetry, health=health)

    async def handler(received):
        if received.envelope.id.endswith("-13"):
            os.kill(os.getpid(), signal.SIGKILL)

    bus.handle(spec, handler)
    await connection.start()
    await bus.start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_message_that_kills_the_process_each_time_is_buried(own_nats: NatsServer, tmp_path: Path) -> None:
    """A crash loop is bounded: after as many deaths as there are deliveries the message is a dead letter.

    Its neighbours, which died with it each time, are not: from the third delivery on they are handled apart.
    """
    deaths_max = 5
    spec = msgspec.structs.replace(ACCEPT, ack_wait_seconds=1.5, max_deliveries=deaths_max)
    await own_nats.apply(consumers=(spec,))
    script = tmp_path / "dying.py"
    script.write_text(_DYING, encoding="utf-8")
    root = str(Path(__file__).resolve().parents[4])

    def live() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, script, own_nats.url, str(own_nats.seed_file("executor")), str(deaths_max)],
            env={**os.environ, "PYTHONPATH": root},
            stdout=subprocess.DEVNULL,
        )

    async with own_nats.connected() as client:
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested(13), 13))
        for number in range(14, 20):
            await publish(js, envelope_of(backup_requested(number), number))
        deaths = 0
        process = live()
        try:
            for _ in range(deaths_max):
                assert await asyncio.wait_for(asyncio.to_thread(process.wait), 60) == -signal.SIGKILL
                deaths += 1
                process = live()
            (letter,) = await eventually(lambda: letters(js))
            assert process.poll() is None, "the process must live on"
            assert deaths == deaths_max
            assert letter.burial.headers["ce-id"] == "event-gateway-13"
            assert letter.burial.code == "handler-failed"
            assert letter.burial.cause == f"delivered {deaths_max} times and never answered"
            await eventually(lambda: _is_idle(js, spec))
            assert len(await letters(js)) == 1
        finally:
            process.kill()
            process.wait()
