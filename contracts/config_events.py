"""What the config service announces. Owner: config."""

from contracts.configuration import ConfigurationBody
from contracts.event import Event, pinned
from contracts.refusal import Refusal


class ConfigurationFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a configuration: each fact says all of it, so that the highest `version` is enough.

    Versions of a configuration are counted from 1, without a gap.
    """

    request_id: str
    configuration_id: str
    version: int
    body: ConfigurationBody


@pinned("config.configuration-created.v1", taken_by=("executor--replicate-configuration",))
class ConfigurationCreated(ConfigurationFact, frozen=True, kw_only=True):
    """A configuration is in force. Version 1 of it."""


@pinned("config.configuration-updated.v1", taken_by=("executor--replicate-change",))
class ConfigurationUpdated(ConfigurationFact, frozen=True, kw_only=True):
    """Another version of a configuration is in force; `before` is what the one before it said."""

    before: ConfigurationBody


@pinned("config.configuration-retired.v1", taken_by=("executor--replicate-retirement",))
class ConfigurationRetired(ConfigurationFact, frozen=True, kw_only=True):
    """A configuration has no more runs. It is a version of its own; `body` is what the one before it said."""


@pinned("config.configuration-refused.v1")
class ConfigurationRefused(Refusal, frozen=True, kw_only=True):
    """A submitted configuration was refused."""

    configuration_id: str


@pinned("config.configuration-change-refused.v1")
class ConfigurationChangeRefused(Refusal, frozen=True, kw_only=True):
    """A submitted change of a configuration was refused."""

    configuration_id: str


@pinned("config.configuration-retirement-refused.v1")
class ConfigurationRetirementRefused(Refusal, frozen=True, kw_only=True):
    """A configuration was not retired."""

    configuration_id: str
