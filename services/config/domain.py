"""The aggregate of the config service: one configuration of one organisation."""

from typing import ClassVar

from chassis.domain import Aggregate
from contracts import errors
from contracts.config_events import (
    ConfigurationCreated,
    ConfigurationFact,
    ConfigurationPaused,
    ConfigurationRefused,
    ConfigurationResumed,
    ConfigurationRetired,
    ConfigurationUpdated,
)
from contracts.configuration import ConfigurationBody, ConfigurationState
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import (
    ConfigurationChangeSubmitted,
    ConfigurationPauseRequested,
    ConfigurationRequest,
    ConfigurationResumptionRequested,
    ConfigurationRetirementRequested,
)
from services.config.errors import ConfigurationChanged, RetiredAlready


class Configuration(Aggregate):
    """What is backed up, where to, and by which rules. A refused one exists only as its refusal."""

    KIND: ClassVar[str] = "config.configuration"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.body: ConfigurationBody | None = None
        self.body_version = 0
        self.is_refused = False
        self.state = ConfigurationState.ACTIVE

    def create(self, *, request_id: str, body: ConfigurationBody) -> None:
        """Put a configuration in force, as its version 1."""
        self.record(ConfigurationCreated(request_id=request_id, configuration_id=self.id, version=1, body=body))

    def change(self, request: ConfigurationChangeSubmitted, why: PlatformError | None) -> None:
        """Put another version in force. `why`: what speaks against its body; it counts where nothing else does."""
        before = self._in_force()
        if request.expected_version != self.body_version:
            raise ConfigurationChanged(seen=request.expected_version, version=self.body_version)
        if why is not None:
            raise why
        self._put_in_force(ConfigurationUpdated, request, request.body, before=before, state=self.state)

    def retire(self, request: ConfigurationRetirementRequested) -> None:
        """Have no more runs of it."""
        self._put_in_force(ConfigurationRetired, request, self._in_force())

    def pause(self, request: ConfigurationPauseRequested) -> None:
        """Have no runs of it until it is resumed."""
        body = self._in_force()
        if self.state is ConfigurationState.PAUSED:
            raise PlatformError(errors.CONFIGURATION_PAUSED, "the configuration is paused already")
        self._put_in_force(ConfigurationPaused, request, body)

    def resume(self, request: ConfigurationResumptionRequested) -> None:
        """Have runs of it again."""
        body = self._in_force()
        if self.state is not ConfigurationState.PAUSED:
            raise PlatformError(errors.CONFIGURATION_NOT_PAUSED, "the configuration is not paused")
        self._put_in_force(ConfigurationResumed, request, body)

    def _in_force(self) -> ConfigurationBody:
        if self.body is None:
            raise PlatformError(errors.CONFIGURATION_UNKNOWN, "it was refused when it was submitted")
        if self.state is ConfigurationState.RETIRED:
            raise RetiredAlready
        return self.body

    def _put_in_force(
        self,
        kind: type[ConfigurationFact],
        request: ConfigurationRequest | ConfigurationChangeSubmitted,
        body: ConfigurationBody,
        **said: object,
    ) -> None:
        """The next version; `said`: what this kind of fact says beside what every fact does."""
        version = self.body_version + 1
        self.record(
            kind(request_id=request.request_id, configuration_id=self.id, version=version, body=body, **said)  # type: ignore[arg-type]  # each its own
        )

    def apply(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case ConfigurationFact(version=version, body=body, state=state):
                self.body, self.body_version, self.state = body, version, state
            case ConfigurationRefused():
                self.is_refused = True
