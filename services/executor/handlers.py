"""Bus in: decode → use case. What a use case refuses is in the record; what it raises, the bus retries or buries."""

from functools import partial

from chassis.bus.subscriptions import Bus, Received
from chassis.context import Context
from contracts.config_events import ConfigurationCreated
from contracts.gateway_events import BackupCancellationRequested, BackupRequested, BackupRetryRequested
from contracts.streams import (
    EXECUTOR_ACCEPT_BACKUP,
    EXECUTOR_CANCEL_BACKUP,
    EXECUTOR_REPLICATE_CONFIGURATION,
    EXECUTOR_RETRY_BACKUP,
    ConsumerSpec,
)
from services.executor.application import BackupDecisions, Cancellations, ConfigurationCopies
from services.executor.ports import Handled

ACTOR = "service:executor"


class Handlers:
    """The executor's durable consumers."""

    def __init__(self, decisions: BackupDecisions, cancellations: Cancellations, copies: ConfigurationCopies) -> None:
        self._decisions = decisions
        self._cancellations = cancellations
        self._copies = copies

    def bind(self, bus: Bus) -> None:
        """Take the declared consumers."""
        bus.handle(EXECUTOR_ACCEPT_BACKUP, partial(self.accept_backup, EXECUTOR_ACCEPT_BACKUP))
        bus.handle(EXECUTOR_RETRY_BACKUP, partial(self.accept_backup, EXECUTOR_RETRY_BACKUP))
        bus.handle(EXECUTOR_CANCEL_BACKUP, self.cancel_backup)
        bus.handle(EXECUTOR_REPLICATE_CONFIGURATION, self.replicate_configuration)

    async def accept_backup(self, consumer: ConsumerSpec, received: Received) -> None:
        """Answer a requested backup, or one in place of another."""
        event = received.event
        assert isinstance(event, BackupRequested)  # noqa: S101  # the consumer's filter lets nothing else through
        await self._decisions.decide(
            request_id=event.request_id,
            execution_id=event.execution_id,
            configuration_id=event.configuration_id,
            configuration_version=event.configuration_version,
            context=Context.caused_by(received.envelope, actor=ACTOR, traceparent=received.traceparent),
            handled=Handled(consumer=consumer.durable_name, event_id=received.envelope.id),
            deliveries=received.deliveries,
            retry_of=event.retry_of if isinstance(event, BackupRetryRequested) else None,
        )

    async def cancel_backup(self, received: Received) -> None:
        """Stop a run."""
        event = received.event
        assert isinstance(event, BackupCancellationRequested)  # noqa: S101  # as above
        await self._cancellations.decide(
            request_id=event.request_id,
            execution_id=event.execution_id,
            context=Context.caused_by(received.envelope, actor=ACTOR, traceparent=received.traceparent),
            handled=Handled(consumer=EXECUTOR_CANCEL_BACKUP.durable_name, event_id=received.envelope.id),
        )

    async def replicate_configuration(self, received: Received) -> None:
        """Take note of a configuration."""
        event = received.event
        assert isinstance(event, ConfigurationCreated)  # noqa: S101  # as above
        await self._copies.remember(
            configuration_id=event.configuration_id,
            version=event.version,
            body=event.body,
            context=Context.caused_by(received.envelope, actor=ACTOR, traceparent=received.traceparent),
            handled=Handled(consumer=EXECUTOR_REPLICATE_CONFIGURATION.durable_name, event_id=received.envelope.id),
        )
