"""The record of configurations, in the config service's event store."""

from collections.abc import Sequence

from chassis.handling import Handling
from chassis.record.answers import Answers
from chassis.record.eventstore import Statement, StatementRefused
from contracts.config_events import ConfigurationFact, ConfigurationRetired
from services.config.domain import Configuration
from services.config.errors import ConfigurationNameTaken

_TAKE_NAME = """
    INSERT INTO configuration_names (organisation, digest, configuration_id) VALUES (%s, %s, %s)
    ON CONFLICT (configuration_id) DO UPDATE SET digest = excluded.digest
"""
_FREE_NAME = "DELETE FROM configuration_names WHERE configuration_id = %s"
TAKE_NAME = "take-name"


class RecordedConfigurations(Answers[Configuration]):
    """`Configurations` on an event store."""

    KIND = Configuration

    async def record_answer(self, thing: Configuration, handling: Handling) -> None:
        """Record an answer with the inbox row, and the name that it takes, in one transaction."""
        try:
            await super().record_answer(thing, handling)
        except StatementRefused as error:
            raise ConfigurationNameTaken from error

    def beside(self, thing: Configuration, handling: Handling) -> Sequence[Statement]:
        """With a version that is put in force its name is taken, and the one before is free again."""
        return [
            Statement(_FREE_NAME, (thing.id,))
            if isinstance(event, ConfigurationRetired)
            else Statement(
                _TAKE_NAME, (handling.context.organisation, event.body.name_digest, thing.id), rows=1, name=TAKE_NAME
            )
            for event in thing.pending
            if isinstance(event, ConfigurationFact)
        ]
