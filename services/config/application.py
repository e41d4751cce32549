"""What the config service decides: which submitted configurations are put in force."""

from chassis.context import Context
from contracts.configuration import ConfigurationBody
from contracts.configuration_rules import names_in
from contracts.refusal import Objection
from services.config.domain import Configuration
from services.config.errors import ConfigurationNameTaken
from services.config.policies import when_configuration_submitted
from services.config.ports import Configurations, Handled, LocationRegistry


class ConfigurationDecisions:
    """Creates submitted configurations, or refuses them."""

    def __init__(self, configurations: Configurations, locations: LocationRegistry) -> None:
        self._configurations = configurations
        self._locations = locations

    async def decide(
        self, *, request_id: str, configuration_id: str, body: ConfigurationBody, context: Context, handled: Handled
    ) -> None:
        """Answer one submission, in the record."""
        configuration = Configuration(configuration_id)
        names = names_in(body.source_location, body.storage_destinations)
        known = await self._locations.known(names, context.organisation)
        objection = when_configuration_submitted(body, known.get)
        if objection is None:
            configuration.create(request_id=request_id, body=body)
            try:
                await self._configurations.record_created(configuration, context=context, handled=handled)
            except ConfigurationNameTaken as error:
                objection = Objection(error.code, error.field, error.hint)
            else:
                return
        refused = Configuration(configuration_id)
        refused.refuse(request_id=request_id, objection=objection)
        await self._configurations.record_refused(refused, context=context, handled=handled)
