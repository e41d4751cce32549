"""What the config service announces. Owner: config."""

from contracts.configuration import ConfigurationBody
from contracts.event import Event, pinned
from contracts.refusal import Refusal


@pinned("config.configuration-created.v1", taken_by=("executor--replicate-configuration",))
class ConfigurationCreated(Event, frozen=True, kw_only=True):
    """A configuration is in force. Version 1 of it."""

    request_id: str
    configuration_id: str
    version: int
    body: ConfigurationBody


@pinned("config.configuration-refused.v1")
class ConfigurationRefused(Refusal, frozen=True, kw_only=True):
    """A submitted configuration was refused."""

    configuration_id: str
