"""What the config service decides: which submitted configurations are put in force."""

from chassis.handling import Handling
from contracts.config_events import ConfigurationRefused
from contracts.configuration_rules import names_in
from contracts.errors import PlatformError
from contracts.gateway_events import ConfigurationSubmitted
from contracts.refusal import Objection
from services.config.domain import Configuration
from services.config.errors import ConfigurationNameTaken
from services.config.policies import when_configuration_submitted
from services.config.ports import Configurations, LocationRegistry


class ConfigurationDecisions:
    """Creates submitted configurations, or refuses them."""

    def __init__(self, configurations: Configurations, locations: LocationRegistry) -> None:
        self._configurations = configurations
        self._locations = locations

    async def decide(self, request: ConfigurationSubmitted, handling: Handling) -> None:
        """Answer one submission, in the record."""
        body = request.body
        configuration = Configuration(request.configuration_id)
        names = names_in(body.source_location, body.storage_destinations)
        known = await self._locations.known(names, handling.context.organisation)
        why: Objection | PlatformError | None = when_configuration_submitted(body, known.get)
        if why is None:
            configuration.create(request_id=request.request_id, body=body)
            try:
                await self._configurations.record_answer(configuration, handling)
            except ConfigurationNameTaken as error:
                why = error
            else:
                return
        refused = Configuration(request.configuration_id)
        refused.record(ConfigurationRefused.of(request, why))
        await self._configurations.record_answer(refused, handling)
