"""The bus against a real NATS server: what is delivered, acknowledged, delivered again, held and buried."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from nats.js import JetStreamContext
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chassis.bus import topology
from chassis.bus.deadletters import Dismissal, dismiss, replay, show
from chassis.bus.pull import PacedPull
from chassis.bus.subscriptions import SLOTS, Received
from chassis.clock import SystemClock
from chassis.record.eventstore import AlreadyHandled
from contracts import errors
from contracts.envelope import encode
from contracts.errors import PlatformError
from contracts.gateway_events import BackupRequested
from contracts.streams import (
    DEAD_LETTER_STREAM,
    STREAMS,
    consumer_named,
)
from contracts.subjects import event_subject
from tests.support.bus_process import BusProcess, letters
from tests.support.eventually import eventually
from tests.support.messages import TRACEPARENT, backup_requested, configuration_created, envelope_of, publish
from tests.support.nats_server import NatsServer

pytest_plugins = ["tests.support.nats_server"]
pytestmark = pytest.mark.stack

ACCEPT = consumer_named("executor--accept-backup")
DURABLE = ACCEPT.durable_name
REQUESTED = BackupRequested.NAME


async def _is_answered(js: JetStreamContext, stream: str = ACCEPT.stream, durable: str = DURABLE) -> bool:
    """Nothing waits at the consumer, and nothing delivered is without an answer."""
    info = await js.consumer_info(stream, durable)
    return info.num_pending == 0 and info.num_ack_pending == 0


async def test_handler_gets_the_decoded_event_and_acknowledges(own_nats: NatsServer) -> None:
    """An event reaches its handler once, decoded, with its envelope, and is not delivered again."""
    await own_nats.apply()
    got: list[Received] = []

    async def accept(received: Received) -> None:
        got.append(received)

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)) as process:
        js = client.jetstream()
        envelope = envelope_of(backup_requested())
        await publish(js, envelope)
        await eventually(lambda: got)
        assert got[0].envelope == envelope
        assert got[0].event == backup_requested()
        assert (got[0].deliveries, got[0].last, got[0].consumer) == (1, False, DURABLE)
        await eventually(lambda: _is_answered(js))
        assert len(got) == 1
        labels = {"consumer": DURABLE, "event": REQUESTED, "outcome": "acknowledged"}
        assert process.sample("wedsync_events_handled_total", **labels) == 1
        assert process.sample("wedsync_handler_seconds_count", consumer=DURABLE) == 1
        assert process.sample("wedsync_event_age_seconds_count", consumer=DURABLE) == 1


async def test_trace_goes_from_the_event_through_the_handler_onward(own_nats: NatsServer) -> None:
    """The handler's span is a child of the event's, and the handler knows its own traceparent."""
    await own_nats.apply()
    exporter = InMemorySpanExporter()
    got: list[Received] = []

    async def accept(received: Received) -> None:
        got.append(received)

    process = BusProcess(own_nats, "executor", exporter=exporter)
    async with own_nats.connected() as client, process.running((ACCEPT, accept)):
        await publish(client.jetstream(), envelope_of(backup_requested()))
        await eventually(lambda: got)
    (span,) = exporter.get_finished_spans()
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACEPARENT.split("-")[1]
    assert f"{span.parent.span_id:016x}" == TRACEPARENT.split("-")[2]
    assert got[0].traceparent is not None
    assert got[0].traceparent.split("-")[1:3] == [f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"]
    assert span.name == DURABLE


async def test_repeated_event_is_acknowledged_when_its_effect_is_in_the_record(own_nats: NatsServer) -> None:
    """A duplicate that the inbox knows is taken from the queue without a trace."""
    await own_nats.apply()
    seen: list[str] = []

    async def accept(received: Received) -> None:
        if received.envelope.id in seen:
            raise AlreadyHandled
        seen.append(received.envelope.id)

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)) as process:
        js = client.jetstream()
        for copy in range(3):
            await publish(js, envelope_of(backup_requested()), message_id=f"copy-{copy}")
        labels = {"consumer": DURABLE, "event": REQUESTED, "outcome": "repeated"}
        await eventually(lambda: process.sample("wedsync_events_handled_total", **labels) == 2)
        await eventually(lambda: _is_answered(js))
        assert len(seen) == 1
        assert await letters(js) == []


async def test_handler_waits_for_a_fact_of_another_stream_by_delayed_redelivery(own_nats: NatsServer) -> None:
    """Streams have no order among each other: a request that is ahead of its configuration is handled after it."""
    await own_nats.apply()
    known: list[str] = []
    accepted: list[int] = []

    async def accept(received: Received) -> None:
        assert isinstance(received.event, BackupRequested)
        if not known:
            raise PlatformError(errors.CONFIGURATION_NOT_SEEN_YET, "not yet")
        accepted.append(received.deliveries)

    async def replicate(received: Received) -> None:
        known.append(received.envelope.id)

    process = BusProcess(own_nats, "executor")
    handlers = ((ACCEPT, accept), (consumer_named("executor--replicate-configuration"), replicate))
    async with own_nats.connected() as client, process.running(*handlers):
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested()))
        labels = {"consumer": DURABLE, "event": REQUESTED, "outcome": "again"}
        await eventually(lambda: process.sample("wedsync_events_handled_total", **labels) >= 1)
        await publish(js, envelope_of(configuration_created()))
        await eventually(lambda: accepted)
        assert accepted[0] > 1
        await eventually(lambda: _is_answered(js))
        assert await letters(js) == []


async def test_handler_is_told_which_delivery_is_the_last_before_the_message_is_buried(own_nats: NatsServer) -> None:
    """`later` is bounded: the last delivery says so, and then the message is a dead letter with the handler's code."""
    spec = msgspec.structs.replace(ACCEPT, max_deliveries=3)
    await own_nats.apply(consumers=(spec,))
    got: list[tuple[int, bool]] = []

    async def accept(received: Received) -> None:
        got.append((received.deliveries, received.last))
        raise PlatformError(errors.CONFIGURATION_NOT_SEEN_YET, "version 7 has not arrived")

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((spec, accept)):
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested()))
        (letter,) = await eventually(lambda: letters(js))
        assert got == [(1, False), (2, False), (3, True)]
        assert letter.burial.code == "configuration-not-seen-yet"
        assert letter.burial.cause == "configuration-not-seen-yet: version 7 has not arrived"
        assert letter.burial.deliveries == 3
        await eventually(lambda: _is_answered(js))


async def test_message_is_buried_at_once_when_trying_again_cannot_help(own_nats: NatsServer) -> None:
    """`never` costs one delivery; the dead letter keeps bytes, place and headers."""
    await own_nats.apply()
    calls: list[int] = []

    async def accept(received: Received) -> None:
        calls.append(received.deliveries)
        raise PlatformError(errors.RUN_FINISHED, "the run has ended")

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)) as process:
        js = client.jetstream()
        envelope = envelope_of(backup_requested())
        sequence = await publish(js, envelope)
        (letter,) = await eventually(lambda: letters(js))
        assert calls == [1]
        assert (letter.body, letter.burial.subject) == (encode(envelope), event_subject(envelope))
        assert (letter.burial.stream, letter.burial.sequence) == (ACCEPT.stream, sequence)
        assert (letter.burial.service, letter.burial.handler) == ("executor", "accept-backup")
        assert letter.burial.headers["ce-id"] == envelope.id
        await eventually(lambda: _is_answered(js))
        assert process.sample("wedsync_dead_letters_total", consumer=DURABLE, code="run-finished") == 1
        assert await show(js, letter.number) == letter


async def test_unforeseen_error_is_tried_again_and_buried_without_its_text(
    own_nats: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody expected is retried, bounded; its cause says type and place, for its text may quote a person."""
    spec = msgspec.structs.replace(ACCEPT, max_deliveries=2)
    await own_nats.apply(consumers=(spec,))
    caplog.set_level(logging.INFO)

    async def accept(_: Received) -> None:
        raise KeyError("Anna and Ben")

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((spec, accept)):
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested()))
        (letter,) = await eventually(lambda: letters(js))
        assert letter.burial.code == "handler-failed"
        assert letter.burial.cause.startswith("KeyError at tests.component.chassis.bus.test_bus.accept:")
        assert "Anna" not in letter.burial.cause


@pytest.mark.parametrize(
    "body", [b"\x00\xff not json", b"{}", b"", b'{"specversion":"1.0"}', b"[" * 2000], ids=lambda body: str(body[:12])
)
async def test_malformed_message_is_buried_at_once_as_it_was(own_nats: NatsServer, body: bytes) -> None:
    """Bytes that are no event never reach a handler, never block the queue, and are kept byte for byte."""
    await own_nats.apply()
    handled: list[str] = []

    async def accept(received: Received) -> None:
        handled.append(received.envelope.id)

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)):
        js = client.jetstream()
        await js.publish("backup.gateway.studio-a.backup-requested.v1", body)
        await publish(js, envelope_of(backup_requested(2), 2))
        (letter,) = await eventually(lambda: letters(js))
        assert (letter.body, letter.burial.code, letter.burial.deliveries) == (body, "malformed-message", 1)
        await eventually(lambda: handled == ["event-gateway-2"])


async def test_data_that_does_not_fit_its_type_is_malformed(own_nats: NatsServer) -> None:
    """A wrong field is found by the decoder, and the cause names where without its value."""
    await own_nats.apply()

    async def accept(_: Received) -> None:
        raise AssertionError("must not be called")

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)):
        js = client.jetstream()
        raw = msgspec.Raw(b'{"requestId": 5, "guest": "Anna"}')
        await publish(js, envelope_of(backup_requested(), data=raw))
        await publish(js, envelope_of(backup_requested(), 2, traceparent="0" * 500))
        await eventually(lambda: _count(js, 2))
        for letter in await letters(js):
            assert letter.burial.code == "malformed-message"
            assert letter.burial.cause.startswith("malformed event: ")
            assert "Anna" not in letter.burial.cause


async def _count(js: JetStreamContext, number: int) -> bool:
    return len(await letters(js)) == number


async def test_unknown_version_waits_for_a_newer_build_and_is_buried_in_the_end(own_nats: NatsServer) -> None:
    """An event of a newer build is tried again for a while, then kept for replay."""
    spec = msgspec.structs.replace(ACCEPT, max_deliveries=3, subjects=("backup.gateway.*.backup-requested.v9",))
    await own_nats.apply(consumers=(spec,))

    async def accept(_: Received) -> None:
        raise AssertionError("must not be called")

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((spec, accept)) as process:
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested(), type="gateway.backup-requested.v9"))
        (letter,) = await eventually(lambda: letters(js))
        assert (letter.burial.code, letter.burial.deliveries) == ("unknown-event-version", 3)
        assert letter.burial.cause == "unknown event type gateway.backup-requested.v9"
        assert 'event="gateway.backup-requested.v9"' not in process.metrics()


async def test_message_is_held_while_a_part_of_the_platform_is_away(own_nats: NatsServer) -> None:
    """An outage of our own database uses up no deliveries: the handler is called again until it works."""
    await own_nats.apply()
    calls: list[int] = []
    is_back = False

    async def accept(received: Received) -> None:
        calls.append(received.deliveries)
        if not is_back:
            raise PlatformError(errors.UNAVAILABLE, "postgres does not answer")

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)) as process:
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested()))
        await eventually(lambda: len(calls) >= 3)
        report = await process.health.report()
        assert (report.status, report.checks[0].code) == ("degraded", "unavailable")
        is_back = True
        await eventually(lambda: _is_answered(js))
        assert set(calls) == {1}
        assert (await process.health.report()).status == "ready"


async def test_held_message_is_told_however_well_others_go_beside_it(own_nats: NatsServer) -> None:
    """Until it is dealt with: what is held makes no progress."""
    await own_nats.apply()
    done: list[str] = []
    locked = [True]

    async def accept(received: Received) -> None:
        if received.envelope.id == held.id and locked[0]:
            raise PlatformError(errors.UNAVAILABLE, "the table is locked", part="postgres")
        done.append(received.envelope.id)

    held, *others = (envelope_of(backup_requested(), number) for number in range(1, 7))
    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)) as process:

        async def findings() -> list[str]:
            return [each.name for each in (await process.health.report()).checks if each.name.startswith("held:")]

        await publish(client.jetstream(), held)
        await eventually(findings)
        for each in others:
            await publish(client.jetstream(), each)
        await eventually(lambda: len(done) == len(others))
        assert await findings() == [f"held:{DURABLE}"]
        locked.clear()
        locked.append(False)
        await eventually(lambda: held.id in done)

        async def is_over() -> bool:
            return not await findings()

        await eventually(is_over)


async def test_held_message_is_given_back_when_the_process_stops(own_nats: NatsServer) -> None:
    """Another process gets it at once, not after the acknowledgement time of half a minute."""
    await own_nats.apply()
    calls: list[int] = []

    async def unable(received: Received) -> None:
        calls.append(received.deliveries)
        raise PlatformError(errors.UNAVAILABLE, "postgres does not answer")

    async def able(received: Received) -> None:
        calls.append(received.deliveries)

    async with own_nats.connected() as client:
        async with BusProcess(own_nats, "executor").running((ACCEPT, unable)):
            await publish(client.jetstream(), envelope_of(backup_requested()))
            await eventually(lambda: calls)
        calls.clear()
        async with BusProcess(own_nats, "executor").running((ACCEPT, able)):
            await eventually(lambda: calls == [2])


async def test_long_handler_keeps_its_message_beyond_the_acknowledgement_time(own_nats: NatsServer) -> None:
    """The server is told that work goes on, so that nobody else is given the message meanwhile."""
    spec = msgspec.structs.replace(ACCEPT, ack_wait_seconds=0.6)
    await own_nats.apply(consumers=(spec,))
    starts: list[int] = []

    async def accept(received: Received) -> None:
        starts.append(received.deliveries)
        await asyncio.sleep(1.6)

    async with own_nats.connected() as client:
        js = client.jetstream()
        async with (
            BusProcess(own_nats, "executor").running((spec, accept)),
            BusProcess(own_nats, "executor").running((spec, accept)),
        ):
            await publish(js, envelope_of(backup_requested()))
            await eventually(lambda: starts)
            await eventually(lambda: _is_answered(js))
        assert starts == [1]


async def test_handler_that_hangs_is_cut_off_and_tried_again(own_nats: NatsServer) -> None:
    """A handler has a time limit; what hangs once does not block its consumer for ever."""
    await own_nats.apply()
    calls: list[int] = []

    async def accept(received: Received) -> None:
        calls.append(received.deliveries)
        if received.deliveries == 1:
            await asyncio.Event().wait()

    process = BusProcess(own_nats, "executor", handler_seconds=0.2)
    async with own_nats.connected() as client, process.running((ACCEPT, accept)):
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested()))
        await eventually(lambda: calls == [1, 2])
        await eventually(lambda: _is_answered(js))


async def test_stop_lets_handlers_finish_and_gives_back_the_rest(own_nats: NatsServer) -> None:
    """What runs is finished and acknowledged; what cannot be finished in time goes to another process at once."""
    await own_nats.apply()
    begun: list[str] = []
    ended: list[str] = []
    release = asyncio.Event()

    async def slow(received: Received) -> None:
        begun.append(received.envelope.id)
        if received.envelope.id.endswith("-1"):
            await release.wait()
        else:
            await asyncio.Event().wait()
        ended.append(received.envelope.id)

    process = BusProcess(own_nats, "executor", stop_seconds=0.5)
    async with own_nats.connected() as client:
        js = client.jetstream()
        async with process.running((ACCEPT, slow)):
            await publish(js, envelope_of(backup_requested(1), 1))
            await publish(js, envelope_of(backup_requested(2), 2))
            await eventually(lambda: len(begun) == 2)
            release.set()
        assert ended == ["event-gateway-1"]
        again: list[tuple[str, int]] = []

        async def quick(received: Received) -> None:
            again.append((received.envelope.id, received.deliveries))

        async with BusProcess(own_nats, "executor").running((ACCEPT, quick)):
            await eventually(lambda: again == [("event-gateway-2", 2)])


async def test_metrics_name_no_subject_and_no_organisation(own_nats: NatsServer) -> None:
    """Labels come from closed sets, however many organisations and events there are."""
    await own_nats.apply()
    handled = 0

    async def accept(_: Received) -> None:
        nonlocal handled
        handled += 1

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)) as process:
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested(), 1, organisation="first-org"))
        labels = {"consumer": DURABLE, "event": REQUESTED, "outcome": "acknowledged"}
        await eventually(lambda: process.sample("wedsync_events_handled_total", **labels) == 1)
        replays = 'wedsync_consumer_unanswered{consumer="executor--accept-backup--replay"}'
        await eventually(lambda: replays in process.metrics())
        lines = len(process.metrics().splitlines())
        for number in range(2, 30):
            await publish(js, envelope_of(backup_requested(number), number, organisation=f"org-{number}"))
        await eventually(lambda: handled == 29)
        text = process.metrics()
        assert len(text.splitlines()) == lines
        assert "org-" not in text
        assert "event-gateway" not in text
        assert "backup.gateway." not in text


async def test_bus_waits_for_a_consumer_that_is_not_there_yet(own_nats: NatsServer) -> None:
    """A service may start before its topology: it says so, asks seldom, and begins by itself."""
    await own_nats.apply(consumers=())
    got: list[str] = []

    async def accept(received: Received) -> None:
        got.append(received.envelope.id)

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)) as process:
        problem = await eventually(process.bus.check)
        assert isinstance(problem, PlatformError)
        assert problem.code is errors.STREAM_MISSING
        sent, since = process.connection.client.stats["out_msgs"], time.monotonic()
        await publish(client.jetstream(), envelope_of(backup_requested()))
        await eventually(lambda: time.monotonic() - since > 1.0)
        # Two consumers, each a few times a second at first and once a second in the end.
        assert process.connection.client.stats["out_msgs"] - sent < 40
        await own_nats.apply()
        await eventually(lambda: got == ["event-gateway-1"])
        await eventually(lambda: _is_well(process))


async def _is_well(process: BusProcess) -> bool:
    return await process.bus.check() is None


async def test_slow_handler_holds_up_nobody_else(own_nats: NatsServer) -> None:
    """Others are handled while one is slow; no more are fetched than there are hands, so that none waits fetched."""
    await own_nats.apply()
    quick: list[str] = []
    release = asyncio.Event()

    async def accept(received: Received) -> None:
        if int(received.envelope.id.rsplit("-", 1)[1]) <= SLOTS - 1:
            await release.wait()
        else:
            quick.append(received.envelope.id)

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((ACCEPT, accept)):
        js = client.jetstream()
        for number in range(1, SLOTS + 30):
            await publish(js, envelope_of(backup_requested(number), number))
        await eventually(lambda: len(quick) == 30)
        await publish(js, envelope_of(backup_requested(1), 1), message_id="a-slow-one-for-the-last-slot")
        await eventually(lambda: _is_unanswered(js, SLOTS))
        for number in range(100, 120):
            await publish(js, envelope_of(backup_requested(number), number))
        assert (await js.consumer_info(ACCEPT.stream, DURABLE)).num_ack_pending == SLOTS
        release.set()
        await eventually(lambda: _is_answered(js))


async def _is_unanswered(js: JetStreamContext, number: int) -> bool:
    return (await js.consumer_info(ACCEPT.stream, DURABLE)).num_ack_pending == number


async def test_what_waits_is_fetched_by_one_request_for_all_free_slots(
    own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty that ask at one instant wait for no sixty round trips, and none is fetched that nobody has hands for."""
    await own_nats.apply()
    asked: list[dict[str, int | bool]] = []
    at_once, most = 0, 0

    async def accept(_received: Received) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.05)
        at_once -= 1

    request = PacedPull._request

    async def counted(pull: PacedPull, wanted: dict[str, int | bool]) -> None:
        if wanted.get("no_wait"):
            asked.append(wanted)
        await request(pull, wanted)

    monkeypatch.setattr(PacedPull, "_request", counted)
    async with own_nats.connected() as client:
        js = client.jetstream()
        for number in range(2 * SLOTS):
            await publish(js, envelope_of(backup_requested()), message_id=f"many-{number}")
        async with BusProcess(own_nats, "executor").running((ACCEPT, accept)) as process:
            labels = {"consumer": DURABLE, "event": REQUESTED, "outcome": "acknowledged"}
            await eventually(lambda: process.sample("wedsync_events_handled_total", **labels) == 2 * SLOTS)
            await eventually(lambda: _is_answered(js))
    assert asked[0] == {"batch": SLOTS - 1, "no_wait": True}
    assert most == SLOTS


async def test_message_stays_in_its_queue_when_the_dead_letters_cannot_be_written(own_nats: NatsServer) -> None:
    """First the dead letter, then out of the queue: without a dead-letter stream nothing is given up."""
    await own_nats.apply(streams=[spec for spec in STREAMS if spec.name == ACCEPT.stream], consumers=())
    spec = msgspec.structs.replace(ACCEPT, max_deliveries=1)

    async def accept(_: Received) -> None:
        raise PlatformError(errors.RUN_FINISHED, "the run has ended")

    async with own_nats.connected() as client, BusProcess(own_nats, "executor").running((spec, accept)) as process:
        js = client.jetstream()
        await js.add_consumer(spec.stream, durable_name=DURABLE, ack_policy="explicit", filter_subject=spec.subjects[0])
        await publish(js, envelope_of(backup_requested()))
        labels = {"consumer": DURABLE, "event": REQUESTED, "outcome": "dead"}
        await eventually(lambda: process.sample("wedsync_events_handled_total", **labels) >= 1)
        assert (await js.consumer_info(spec.stream, DURABLE)).num_ack_pending == 1
        await own_nats.apply(consumers=(spec,))
        await eventually(lambda: letters(js))
        await eventually(lambda: _is_answered(js))


def test_bus_binds_each_consumer_once_and_only_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two handlers of one consumer would share its messages; another's consumer is not ours to read."""
    process = BusProcess(NatsServer(tmp_path_factory.mktemp("never-started")), "executor")

    async def handler(_: Received) -> None:
        raise AssertionError("never called")

    process.bus.handle(ACCEPT, handler)
    with pytest.raises(ValueError, match="has a handler already"):
        process.bus.handle(ACCEPT, handler)
    with pytest.raises(ValueError, match="belongs to config"):
        process.bus.handle(consumer_named("config--create-configuration"), handler)


async def _refused(process: BusProcess) -> PlatformError | None:
    found = await process.bus.check()
    return found if isinstance(found, PlatformError) else None


async def _refused_for(process: BusProcess, name: str) -> PlatformError | None:
    found = await _refused(process)
    return found if found is not None and name in found.message else None


async def test_paused_consumer_is_not_ready_until_the_topology_is_applied(own_nats: NatsServer) -> None:
    """A consumer that somebody paused answers every request with silence; it is named, and the command resumes it."""
    await own_nats.apply()
    got: list[Received] = []

    async def accept(received: Received) -> None:
        got.append(received)

    process = BusProcess(own_nats, "executor", look_seconds=0.05)
    async with own_nats.connected() as client, process.running((ACCEPT, accept)):
        js = client.jetstream()
        await js.pause_consumer(ACCEPT.stream, DURABLE, "2099-01-01T00:00:00Z")
        await publish(js, envelope_of(backup_requested()))
        error = await eventually(lambda: _refused(process))
        assert error is not None
        assert DURABLE in error.message
        assert "paused until 2099-01-01" in error.message
        assert "topology apply" in error.hint
        await own_nats.apply()
        await eventually(lambda: got)
        await eventually(lambda: _is_well(process))
        assert await topology.compare(js) == []
        assert await topology.apply(js) == []
        # One that ends by itself is no drift, once it is over.
        await js.pause_consumer(ACCEPT.stream, DURABLE, f"{SystemClock().now() + timedelta(seconds=1):%FT%TZ}")
        assert await eventually(lambda: _is_declared(js))


async def _is_declared(js: JetStreamContext) -> bool:
    return await topology.compare(js) == []


async def test_consumer_that_is_deleted_is_named_with_the_command(own_nats: NatsServer) -> None:
    """What is gone is missed by the process that reads it, and read again once it is there."""
    await own_nats.apply()
    got: list[Received] = []

    async def accept(received: Received) -> None:
        got.append(received)

    process = BusProcess(own_nats, "executor", look_seconds=0.05)
    async with own_nats.connected() as client, process.running((ACCEPT, accept)):
        js = client.jetstream()
        await js.delete_consumer(ACCEPT.stream, DURABLE)
        # Until the request that nobody hears any more is over, the look at all consumers tells that it fails.
        error = await eventually(lambda: _refused_for(process, DURABLE))
        assert error is not None
        assert "topology apply" in error.hint
        await own_nats.apply()
        await publish(js, envelope_of(backup_requested()))
        await eventually(lambda: got)
        await eventually(lambda: _is_well(process))


async def test_consumer_that_delivers_nothing_of_what_waits_is_not_ready(own_nats: NatsServer) -> None:
    """Whatever the reason: what waits and does not move is told."""
    await own_nats.apply()

    async def accept(_: Received) -> None:
        return

    watch = BusProcess(own_nats, "executor", look_seconds=0.05, still_seconds=0.2)
    spec = msgspec.structs.replace(ACCEPT, ack_wait_seconds=0.1)
    async with own_nats.connected() as client, watch.running((spec, accept)):
        # Nobody asks any more, as where the task that did has died.
        for pull in watch.bus._broker.pulls.values():
            await pull.close()
        await publish(client.jetstream(), envelope_of(backup_requested()))
        error = await eventually(lambda: _refused(watch))
        assert error is not None
        assert f"{DURABLE} of {ACCEPT.stream} delivers nothing of the 1 that wait" in error.message


async def _is_replayed(js: JetStreamContext) -> bool:
    info = await js.consumer_info(DEAD_LETTER_STREAM, f"{ACCEPT.durable_name}--replay")
    return info.num_pending == 0 and info.num_ack_pending == 0


async def test_dead_letters_show_as_degraded_until_they_are_replayed_or_dismissed(own_nats: NatsServer) -> None:
    """An event that was given up has not had its effect: somebody should look, and is told how."""
    await own_nats.apply()
    is_broken = True

    async def accept(_: Received) -> None:
        if is_broken:
            raise PlatformError(errors.INVALID_FIELD, "never")

    process = BusProcess(own_nats, "executor", look_seconds=0.05)

    async def dead() -> list[str]:
        report = await process.health.report()
        return [f"{each.status}: {each.reason}" for each in report.checks if each.name.startswith("dead-letters:")]

    async def none_is_dead() -> bool:
        return await dead() == []

    async with own_nats.connected() as client, process.running((ACCEPT, accept)):
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested()))
        assert await eventually(dead) == [
            f"degraded: 1 messages of {DURABLE} were given up, and neither replayed nor dismissed"
        ]
        await dismiss(
            js, (await letters(js))[0], Dismissal(time=datetime(2026, 6, 13, tzinfo=UTC), reason="a message of a test")
        )
        await eventually(none_is_dead)
        await publish(js, envelope_of(backup_requested(2), 2))
        await eventually(dead)
        is_broken = False
        (second,) = await letters(js, include_replayed=False)
        await replay(js, second)
        await eventually(none_is_dead)
        await replay(js, await show(js, second.number))  # once more, which settles no other one
        await eventually(lambda: _is_replayed(js))
        is_broken = True
        await publish(js, envelope_of(backup_requested(3), 3))
        assert await eventually(dead) == [
            f"degraded: 1 messages of {DURABLE} were given up, and neither replayed nor dismissed"
        ]
        is_broken = False
        (third,) = await letters(js, include_replayed=False)
        await replay(js, third)
        await eventually(none_is_dead)
