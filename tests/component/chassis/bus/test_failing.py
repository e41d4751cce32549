"""A consumer among whose messages many fail: what the others have of it, and what is told."""

import msgspec
import pytest

from chassis.bus.subscriptions import Received
from contracts import errors
from contracts.errors import PlatformError
from tests.component.chassis.bus.test_bus import ACCEPT, DURABLE
from tests.support.bus_process import BusProcess
from tests.support.eventually import eventually
from tests.support.messages import backup_requested, envelope_of, publish
from tests.support.nats_server import NatsServer

pytest_plugins = ["tests.support.nats_server"]
pytestmark = pytest.mark.stack

MANY = 100
"""More than the places that a consumer once had."""


class Handler:
    """Fails for one organisation."""

    def __init__(self) -> None:
        self.tried: dict[str, int] = {}
        self.took: list[str] = []

    async def accept(self, received: Received) -> None:
        """Take, or fail."""
        if received.envelope.organisation == "poison":
            self.tried[received.envelope.id] = received.deliveries
            raise PlatformError(errors.INTERNAL, "it cannot be taken")
        self.took.append(received.envelope.id)


async def test_messages_that_fail_hold_up_no_other_and_are_told_from_the_third_try(own_nats: NatsServer) -> None:
    """All of them wait for another try, and one of another organisation is taken at once all the same."""
    await own_nats.apply()
    handler = Handler()
    process = BusProcess(own_nats, "executor")
    async with own_nats.connected() as client, process.running((ACCEPT, handler.accept)):
        js = client.jetstream()
        for number in range(MANY):
            await publish(js, envelope_of(backup_requested(number), number, organisation="poison"))
        await eventually(lambda: len(handler.tried) == MANY and min(handler.tried.values()) >= 3)
        await publish(js, envelope_of(backup_requested(MANY), MANY, organisation="good"))
        await eventually(lambda: handler.took)
        info = await js.consumer_info(ACCEPT.stream, DURABLE)
        assert (info.num_ack_pending or 0) >= MANY

        async def told() -> list[str | None]:
            checks = (await process.health.report()).checks
            return [each.reason for each in checks if each.name == f"failing:{DURABLE}"]

        (reason,) = await eventually(told)
        assert "it cannot be taken" in str(reason)


async def test_consumer_whose_places_are_all_taken_is_not_ready(own_nats: NatsServer) -> None:
    """Nobody behind them is served: it says how many wait, and what to do."""
    spec = msgspec.structs.replace(ACCEPT, max_pending=4)
    await own_nats.apply(consumers=(spec,))
    handler = Handler()
    process = BusProcess(own_nats, "executor", look_seconds=0.1)
    async with own_nats.connected() as client, process.running((spec, handler.accept)):
        js = client.jetstream()
        for number in range(6):
            await publish(js, envelope_of(backup_requested(number), number, organisation="poison"))

        async def found() -> PlatformError | None:
            problem = await process.bus.check()
            return problem if isinstance(problem, PlatformError) and "all 4 places" in problem.message else None

        problem = await eventually(found)
        assert problem is not None
        assert "2 wait behind them" in problem.message
        assert "given up" in str(problem.hint)
