"""What the config service decides: which configurations, as submitted or changed, are put in force."""

from chassis.deciding import Deciding
from chassis.handling import Handling
from contracts import errors
from contracts.config_events import ConfigurationChangeRefused, ConfigurationRefused
from contracts.configuration import ConfigurationBody
from contracts.configuration_rules import names_in
from contracts.errors import PlatformError
from contracts.gateway_events import ConfigurationChangeSubmitted, ConfigurationSubmitted
from contracts.refusal import Objection
from services.config.domain import Configuration
from services.config.errors import ConfigurationNameTaken
from services.config.policies import when_configuration_submitted
from services.config.ports import Configurations, LocationRegistry


class ConfigurationDecisions:
    """Creates and changes configurations, or refuses to."""

    def __init__(self, configurations: Configurations, locations: LocationRegistry) -> None:
        self._configurations = configurations
        self._locations = locations
        self.of_configurations = Deciding(
            Configuration, configurations, about="configuration_id", missing=errors.CONFIGURATION_UNKNOWN
        )

    async def decide(self, request: ConfigurationSubmitted, handling: Handling) -> None:
        """Answer one submission, in the record."""
        body = request.body
        configuration = Configuration(request.configuration_id)
        why: Objection | PlatformError | None = await self._against(body, handling)
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

    async def decide_change(self, request: ConfigurationChangeSubmitted, handling: Handling) -> None:
        """The same of one change, of the version that whoever asks has seen."""
        objection = await self._against(request.body, handling)
        why = None
        if objection is not None:
            why = PlatformError(objection.code, "a rule is broken", field=objection.field, hint=objection.hint)
        try:
            await self._change(request, handling, why)
        except ConfigurationNameTaken as error:
            await self._change(request, handling, error)

    async def _change(
        self, request: ConfigurationChangeSubmitted, handling: Handling, why: PlatformError | None
    ) -> None:
        def guard(configuration: Configuration, request: ConfigurationChangeSubmitted) -> None:
            Configuration.change(configuration, request, why)

        await self.of_configurations.by(guard, ConfigurationChangeRefused)(request, handling)

    async def _against(self, body: ConfigurationBody, handling: Handling) -> Objection | None:
        names = names_in(body.source_location, body.storage_destinations)
        known = await self._locations.known(names, handling.context.organisation)
        return when_configuration_submitted(body, known.get)
