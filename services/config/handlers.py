"""Bus in: decode → use case."""

from chassis.bus.subscriptions import Bus, Received
from chassis.context import Context
from contracts.gateway_events import ConfigurationSubmitted
from contracts.streams import CONFIG_CREATE_CONFIGURATION
from services.config.application import ConfigurationDecisions
from services.config.ports import Handled

ACTOR = "service:config"


class Handlers:
    """The config service's durable consumers."""

    def __init__(self, decisions: ConfigurationDecisions) -> None:
        self._decisions = decisions

    def bind(self, bus: Bus) -> None:
        """Take the declared consumers."""
        bus.handle(CONFIG_CREATE_CONFIGURATION, self.create_configuration)

    async def create_configuration(self, received: Received) -> None:
        """Answer a submitted configuration."""
        event = received.event
        assert isinstance(event, ConfigurationSubmitted)  # noqa: S101  # the consumer's filter lets nothing else through
        await self._decisions.decide(
            request_id=event.request_id,
            configuration_id=event.configuration_id,
            body=event.body,
            context=Context.caused_by(received.envelope, actor=ACTOR, traceparent=received.traceparent),
            handled=Handled(consumer=CONFIG_CREATE_CONFIGURATION.durable_name, event_id=received.envelope.id),
        )
