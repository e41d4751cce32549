"""The record of configurations, in the config service's event store."""

from chassis.handling import Handling
from chassis.record.eventstore import EventStore, Statement, StatementRefused
from services.config.domain import Configuration
from services.config.errors import ConfigurationNameTaken

_TAKE_NAME = "INSERT INTO configuration_names (organisation, digest, configuration_id) VALUES (%s, %s, %s)"
TAKE_NAME = "take-name"


class RecordedConfigurations:
    """`Configurations` on an event store."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def record_answer(self, configuration: Configuration, handling: Handling) -> None:
        """Record an answer with the inbox row, and a creation's name, in one transaction."""
        also = []
        if (body := configuration.body) is not None:
            parameters = (handling.context.organisation, body.name_digest, configuration.id)
            also.append(Statement(_TAKE_NAME, parameters, rows=1, name=TAKE_NAME))
        try:
            await self._store.save(configuration, context=handling.context, handled=handling.handled, also=also)
        except StatementRefused as error:
            raise ConfigurationNameTaken from error
