"""The record of configurations, in the config service's event store."""

from chassis.context import Context
from chassis.record import eventstore
from chassis.record.eventstore import EventStore, Statement, StatementRefused
from services.config.domain import Configuration
from services.config.errors import ConfigurationNameTaken
from services.config.ports import Handled

_TAKE_NAME = "INSERT INTO configuration_names (organisation, digest, configuration_id) VALUES (%s, %s, %s)"
TAKE_NAME = "take-name"


class RecordedConfigurations:
    """`Configurations` on an event store."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def record_created(self, configuration: Configuration, *, context: Context, handled: Handled) -> None:
        """Record a creation with its name and the inbox row in one transaction."""
        assert configuration.body is not None  # noqa: S101  # only created configurations come here
        take_name = Statement(
            _TAKE_NAME,
            (context.organisation, configuration.body.name_digest, configuration.id),
            rows=1,
            name=TAKE_NAME,
        )
        try:
            await self._store.save(configuration, context=context, handled=_row(handled), also=[take_name])
        except StatementRefused as error:
            raise ConfigurationNameTaken from error

    async def record_refused(self, configuration: Configuration, *, context: Context, handled: Handled) -> None:
        """Record a refusal with the inbox row."""
        await self._store.save(configuration, context=context, handled=_row(handled))


def _row(handled: Handled) -> eventstore.Handled:
    return eventstore.Handled(handled.consumer, handled.event_id)
