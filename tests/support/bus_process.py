"""One process's bus for tests: connection, telemetry, health and bus, without the process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nats.js import JetStreamContext
from opentelemetry.sdk.trace.export import SpanExporter
from prometheus_client import generate_latest

from chassis.bus.connection import Connection
from chassis.bus.deadletters import DeadLetter, list_letters
from chassis.bus.subscriptions import Bus, Handler
from chassis.life.health import Health
from chassis.record.unanswered import GiveUp
from chassis.telemetry.instruments import Telemetry
from contracts.streams import ConsumerSpec
from tests.support.nats_server import NatsServer


class BusProcess:
    """What a service's process has of the bus."""

    def __init__(
        self, server: NatsServer, service: str, *, exporter: SpanExporter | None = None, **options: Any
    ) -> None:
        self.telemetry = Telemetry(service, exporter=exporter)
        self.health = Health(service)
        self.connection: Connection = server.connection(service, self.telemetry, self.health)
        self.bus = Bus(self.connection, service, telemetry=self.telemetry, health=self.health, **options)

    @asynccontextmanager
    async def running(
        self, *handlers: tuple[ConsumerSpec, Handler] | tuple[ConsumerSpec, Handler, GiveUp | None]
    ) -> AsyncIterator["BusProcess"]:
        """Started with these handlers, and stopped at the end."""
        for each in handlers:
            self.bus.handle(*each)
        await self.connection.start()
        try:
            await self.bus.start()
            yield self
        finally:
            await self.bus.stop()
            await self.connection.stop()
            self.telemetry.close()

    def sample(self, name: str, **labels: str) -> float:
        """The value of a metric; 0 where it was never counted."""
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0

    def metrics(self) -> str:
        """All metrics as they are exposed."""
        return generate_latest(self.telemetry.registry).decode()


async def letters(js: JetStreamContext, **filters: Any) -> list[DeadLetter]:
    """All dead letters, the replayed ones included unless asked otherwise."""
    return [letter async for letter in list_letters(js, **{"include_replayed": True, **filters})]
