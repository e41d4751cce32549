"""The aggregate of the config service: one configuration of one organisation."""

from typing import ClassVar

from chassis.domain import Aggregate
from contracts.config_events import ConfigurationCreated, ConfigurationRefused
from contracts.configuration import ConfigurationBody
from contracts.event import Event


class Configuration(Aggregate):
    """What is backed up, where to, and by which rules. A refused one exists only as its refusal."""

    KIND: ClassVar[str] = "config.configuration"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.body: ConfigurationBody | None = None
        self.body_version = 0
        self.is_refused = False

    def create(self, *, request_id: str, body: ConfigurationBody) -> None:
        """Put a configuration in force, as its version 1."""
        self.record(ConfigurationCreated(request_id=request_id, configuration_id=self.id, version=1, body=body))

    def apply(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case ConfigurationCreated(version=version, body=body):
                self.body, self.body_version = body, version
            case ConfigurationRefused():
                self.is_refused = True
