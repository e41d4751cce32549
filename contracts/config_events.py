"""What the config service announces. Owner: config."""

from contracts.configuration import ConfigurationBody, ConfigurationState
from contracts.event import Event, pinned
from contracts.refusal import Refusal


class ConfigurationFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a configuration: each fact says all of it, so that the highest `version` is enough.

    Versions of a configuration are counted from 1, without a gap. A fact that leaves it in another state than it
    was in has that as its default: whoever keeps a copy takes `state` and needs to know no kind of fact.
    """

    request_id: str
    configuration_id: str
    version: int
    body: ConfigurationBody
    state: ConfigurationState = ConfigurationState.ACTIVE


class ConfigurationRefusal(Refusal, frozen=True, kw_only=True):
    """The base of what answers a request about a configuration with no."""

    configuration_id: str


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

    state: ConfigurationState = ConfigurationState.RETIRED


@pinned("config.configuration-paused.v1", taken_by=("executor--replicate-pause",))
class ConfigurationPaused(ConfigurationFact, frozen=True, kw_only=True):
    """A configuration has no runs until it is resumed, whatever it says meanwhile. It is a version of its own."""

    state: ConfigurationState = ConfigurationState.PAUSED


@pinned("config.configuration-resumed.v1", taken_by=("executor--replicate-resumption",))
class ConfigurationResumed(ConfigurationFact, frozen=True, kw_only=True):
    """A configuration that was paused has runs again. It is a version of its own."""


@pinned("config.configuration-refused.v1")
class ConfigurationRefused(ConfigurationRefusal, frozen=True, kw_only=True):
    """A submitted configuration was refused."""


@pinned("config.configuration-change-refused.v1")
class ConfigurationChangeRefused(ConfigurationRefusal, frozen=True, kw_only=True):
    """A submitted change of a configuration was refused."""


@pinned("config.configuration-retirement-refused.v1")
class ConfigurationRetirementRefused(ConfigurationRefusal, frozen=True, kw_only=True):
    """A configuration was not retired."""


@pinned("config.configuration-pause-refused.v1")
class ConfigurationPauseRefused(ConfigurationRefusal, frozen=True, kw_only=True):
    """A configuration was not paused."""


@pinned("config.configuration-resumption-refused.v1")
class ConfigurationResumptionRefused(ConfigurationRefusal, frozen=True, kw_only=True):
    """A configuration was not resumed."""
