"""Messages that are given up while somebody waits for their answer: dead letter, refusal, and out of the queue."""

import asyncio

import msgspec
import pytest

from chassis.bus.subscriptions import Received
from contracts import errors
from contracts.envelope import decode
from contracts.errors import PlatformError
from tests.component.chassis.bus.test_bus import ACCEPT, DURABLE, _is_answered
from tests.support.bus_process import BusProcess, letters
from tests.support.eventually import eventually
from tests.support.messages import backup_requested, envelope_of, publish
from tests.support.nats_server import NatsServer

pytest_plugins = ["tests.support.nats_server"]
pytestmark = pytest.mark.stack


async def _fails(_: Received) -> None:
    raise PlatformError(errors.RUN_FINISHED, "it can never be")


class Refusals:
    """What refuses; raises what it is given first."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.told: list[tuple[str, str]] = []

    async def give_up(self, body: bytes, consumer: str) -> bool:
        """Refuse, or raise."""
        if self.faults:
            raise self.faults[0] if len(self.faults) == 1 else self.faults.pop(0)
        self.told.append((decode(body).id, consumer))
        return True


async def _degraded(process: BusProcess) -> set[str]:
    return {each.name for each in (await process.health.report()).checks if each.status == "degraded"}


async def test_request_is_refused_once_its_dead_letter_is_written(own_nats: NatsServer) -> None:
    """Also one that is no event of its kind, which no handler ever sees; under the consumer that first had it."""
    await own_nats.apply()
    refusals = Refusals()
    process = BusProcess(own_nats, "executor")
    async with own_nats.connected() as client, process.running((ACCEPT, _fails, refusals.give_up)):
        js = client.jetstream()
        broken = msgspec.structs.replace(envelope_of(backup_requested(2), 2), data=msgspec.Raw(b'{"requestId":7}'))
        for envelope in (envelope_of(backup_requested()), broken):
            await publish(js, envelope)
        await eventually(lambda: _is_answered(js))
        assert sorted(refusals.told) == [("event-gateway-1", DURABLE), ("event-gateway-2", DURABLE)]
        assert len(await letters(js)) == 2


async def test_message_that_nobody_ever_answered_is_refused_too(own_nats: NatsServer) -> None:
    """Its handler took the process with it each time, and is not called any more."""
    spec = msgspec.structs.replace(ACCEPT, max_deliveries=1)
    await own_nats.apply(consumers=(spec,))
    refusals, called = Refusals(), asyncio.Event()

    async def accept(_: Received) -> None:
        called.set()
        await asyncio.sleep(3600)

    async with own_nats.connected() as client:
        js = client.jetstream()
        async with BusProcess(own_nats, "executor", stop_seconds=0.1).running((spec, accept, refusals.give_up)):
            await publish(js, envelope_of(backup_requested()))
            await eventually(called.is_set)
        assert not refusals.told
        async with BusProcess(own_nats, "executor").running((spec, accept, refusals.give_up)):
            await eventually(lambda: _is_answered(js))
        assert refusals.told == [("event-gateway-1", DURABLE)]


async def test_refusal_is_waited_for_while_the_record_is_away(own_nats: NatsServer) -> None:
    """Held as a message is whose handler waits for Postgres; the dead letter is written once."""
    await own_nats.apply()
    away = PlatformError(errors.UNAVAILABLE, "postgres is away")
    refusals = Refusals(away)
    process = BusProcess(own_nats, "executor")
    async with own_nats.connected() as client, process.running((ACCEPT, _fails, refusals.give_up)):
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested()))

        async def is_held() -> bool:
            return f"held:{DURABLE}" in await _degraded(process)

        await eventually(is_held)
        refusals.faults.clear()
        await eventually(lambda: _is_answered(js))
        assert refusals.told == [("event-gateway-1", DURABLE)]
        assert len(await letters(js)) == 1
        assert not await is_held()


async def test_refusal_follows_where_the_process_ended_between_dead_letter_and_refusal(own_nats: NatsServer) -> None:
    """The next one that gets the message finds the dead letter written, and refuses."""
    await own_nats.apply()
    away = Refusals(PlatformError(errors.UNAVAILABLE, "postgres is away"))
    refusals = Refusals()
    async with own_nats.connected() as client:
        js = client.jetstream()
        async with BusProcess(own_nats, "executor").running((ACCEPT, _fails, away.give_up)):
            await publish(js, envelope_of(backup_requested()))
            await eventually(lambda: letters(js))
        async with BusProcess(own_nats, "executor").running((ACCEPT, _fails, refusals.give_up)):
            await eventually(lambda: _is_answered(js))
        assert (away.told, refusals.told) == ([], [("event-gateway-1", DURABLE)])
        assert len(await letters(js)) == 1


async def test_refusal_that_cannot_be_recorded_is_told_and_the_message_stays(own_nats: NatsServer) -> None:
    """Whatever was unforeseen: whoever asked is not told yet, and an operator is."""
    await own_nats.apply()
    refusals = Refusals(KeyError("x"))
    process = BusProcess(own_nats, "executor")
    async with own_nats.connected() as client, process.running((ACCEPT, _fails, refusals.give_up)):
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested()))

        async def is_told() -> bool:
            return f"unanswered:{DURABLE}" in await _degraded(process)

        await eventually(is_told)
        assert not await _is_answered(js)
