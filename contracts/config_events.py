"""What the config service announces. Owner: config."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.configuration import ConfigurationBody, ConfigurationState
from contracts.event import Event, pinned
from contracts.notifications import ChannelBody, ChannelState, NotificationEvent
from contracts.refusal import Refusal
from contracts.retention import RetentionPolicyBody


class ConfigurationFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a configuration: each fact says all of it, so that the highest `version` is enough.

    Versions of a configuration are counted from 1, without a gap. A fact that leaves it in another state than it
    was in has that as its default: whoever keeps a copy takes `state` and needs to know no kind of fact.
    `next_run_at`: when its schedule lets a run fall due next, as planned with this fact; None where it does not.
    """

    request_id: str
    configuration_id: str
    version: int
    body: ConfigurationBody
    state: ConfigurationState = ConfigurationState.ACTIVE
    next_run_at: datetime | None = None


class ConfigurationRefusal(Refusal, frozen=True, kw_only=True):
    """The base of what answers a request about a configuration with no."""

    configuration_id: str


@pinned(
    "config.configuration-created.v1", taken_by=("executor--replicate-configuration", "recovery--note-configuration")
)
class ConfigurationCreated(ConfigurationFact, frozen=True, kw_only=True):
    """A configuration is in force. Version 1 of it."""


@pinned("config.configuration-updated.v1", taken_by=("executor--replicate-change", "recovery--note-change"))
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


class ScheduleFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a configuration's schedule between two versions; `next_run_at` as in those."""

    configuration_id: str
    next_run_at: datetime | None = None


class DueFact(ScheduleFact, frozen=True, kw_only=True):
    """What became of one instant of a schedule: one fact for each configuration and instant, whoever saw it pass.

    `due_at` is the instant; `passed_over`: how many later ones had passed when it was looked at, and are not looked at.
    """

    due_at: datetime
    passed_over: Annotated[int, Meta(ge=0)] = 0


@pinned("config.backup-fell-due.v1", taken_by=("executor--accept-due-backup",))
class BackupFellDue(DueFact, frozen=True, kw_only=True):
    """A schedule asks for a run of a configuration, as it is at `configuration_version`.

    `execution_id` and `request_id` follow from configuration and instant. `is_urgent`: a critical wedding is near.
    """

    request_id: str
    execution_id: str
    configuration_version: int
    is_urgent: bool = False


@pinned("config.backup-missed.v1", taken_by=("config--tell-missed",))
class BackupMissed(DueFact, frozen=True, kw_only=True):
    """Nothing could start a run when it was due, and its schedule lets it not be made up for."""

    code: str
    hint: str = ""


@pinned("config.next-run-changed.v1")
class NextRunChanged(ScheduleFact, frozen=True, kw_only=True):
    """A run falls due at another moment than was told: at the end of a blackout, or since a clock was put back."""


@pinned("config.configuration-refused.v1")
class ConfigurationRefused(ConfigurationRefusal, frozen=True, kw_only=True):
    """A submitted configuration was refused."""


@pinned("config.configurations-created.v1")
class ConfigurationsCreated(Event, frozen=True, kw_only=True):
    """Of several configurations that were asked for at once some were created, each by a fact of its own."""

    request_id: str
    created: Annotated[int, Meta(ge=1)]
    refused: Annotated[int, Meta(ge=0)] = 0


@pinned("config.configurations-refused.v1")
class ConfigurationsRefused(Refusal, frozen=True, kw_only=True):
    """Of several configurations that were asked for at once none was created; each has a refusal of its own."""


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


class RetentionPolicyFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a retention policy: each fact says all of it, and the highest `version` is enough."""

    request_id: str
    retention_policy_id: str
    version: int
    body: RetentionPolicyBody


class RetentionPolicyRefusal(Refusal, frozen=True, kw_only=True):
    """The base of what answers a request about a retention policy with no."""

    retention_policy_id: str


@pinned("config.retention-policy-created.v1", taken_by=("executor--replicate-retention-policy",))
class RetentionPolicyCreated(RetentionPolicyFact, frozen=True, kw_only=True):
    """There is a retention policy. Version 1 of it."""


@pinned("config.retention-policy-updated.v1", taken_by=("executor--replicate-policy-change",))
class RetentionPolicyUpdated(RetentionPolicyFact, frozen=True, kw_only=True):
    """A retention policy says something else from now on; `before` is what it said."""

    before: RetentionPolicyBody


@pinned("config.retention-policy-refused.v1")
class RetentionPolicyRefused(RetentionPolicyRefusal, frozen=True, kw_only=True):
    """A submitted retention policy was refused."""


@pinned("config.retention-policy-change-refused.v1")
class RetentionPolicyChangeRefused(RetentionPolicyRefusal, frozen=True, kw_only=True):
    """A submitted change of a retention policy was refused."""


class ChannelFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a channel: each fact says all of it, and the highest `version` is enough."""

    request_id: str
    channel_id: str
    version: int
    body: ChannelBody
    state: ChannelState = ChannelState.ACTIVE


class ChannelRefusal(Refusal, frozen=True, kw_only=True):
    """The base of what answers a request about a channel with no."""

    channel_id: str


@pinned("config.notification-channel-created.v1")
class NotificationChannelCreated(ChannelFact, frozen=True, kw_only=True):
    """There is a notification channel. Version 1 of it."""


@pinned("config.notification-channel-updated.v1")
class NotificationChannelUpdated(ChannelFact, frozen=True, kw_only=True):
    """A notification channel says something else from now on."""


@pinned("config.notification-channel-retired.v1")
class NotificationChannelRetired(ChannelFact, frozen=True, kw_only=True):
    """Nothing is sent to a channel any more; `body` is what the version before it said."""

    state: ChannelState = ChannelState.RETIRED


@pinned("config.notification-channel-refused.v1")
class NotificationChannelRefused(ChannelRefusal, frozen=True, kw_only=True):
    """A submitted channel was refused."""


@pinned("config.notification-channel-change-refused.v1")
class NotificationChannelChangeRefused(ChannelRefusal, frozen=True, kw_only=True):
    """A submitted change of a channel was refused."""


@pinned("config.notification-channel-retirement-refused.v1")
class NotificationChannelRetirementRefused(ChannelRefusal, frozen=True, kw_only=True):
    """A channel was not retired."""


@pinned("config.notification-test-refused.v1")
class NotificationTestRefused(ChannelRefusal, frozen=True, kw_only=True):
    """A channel was not tested."""


class NotificationFact(Event, frozen=True, kw_only=True):
    """The base of what is said of one notification: one event, told to one channel."""

    notification_id: str
    channel_id: str


class NotificationPlanned(NotificationFact, frozen=True, kw_only=True):
    """The base of the first that is said of one. `event_id`: of the fact that it tells of.

    `happened_at`: when that was. `code`: why it is so, of the catalogue. `due_at`: the instant of the schedule.
    `next_attempt_at`: when it is sent; later than at once in the channel's quiet hours.
    """

    event: NotificationEvent
    event_id: str
    happened_at: datetime
    next_attempt_at: datetime
    configuration_id: str | None = None
    execution_id: str | None = None
    code: str | None = None
    due_at: datetime | None = None
    is_wedding_critical: bool = False


@pinned("config.notification-due.v1")
class NotificationDue(NotificationPlanned, frozen=True, kw_only=True):
    """A channel is to be told of something."""


@pinned("config.notification-test-accepted.v1")
class NotificationTestAccepted(NotificationPlanned, frozen=True, kw_only=True):
    """Somebody had a channel tested: it is sent a notification that says so."""

    request_id: str


@pinned("config.notification-delayed.v1")
class NotificationDelayed(NotificationFact, frozen=True, kw_only=True):
    """A notification did not arrive, as far as is known, and is sent again. `attempts` so far; `status`: HTTP's."""

    attempts: Annotated[int, Meta(ge=0)]
    code: str
    next_attempt_at: datetime
    hint: str = ""
    status: int | None = None


@pinned("config.notification-delivered.v1", taken_by=("dr--note-notice-delivered",))
class NotificationDelivered(NotificationFact, frozen=True, kw_only=True):
    """The receiver has said that it has a notification, at the last of `attempts`."""

    attempts: Annotated[int, Meta(ge=1)]
    status: int | None = None


@pinned("config.notification-given-up.v1", taken_by=("dr--note-notice-given-up",))
class NotificationGivenUp(NotificationFact, frozen=True, kw_only=True):
    """A notification is not sent any more, and nobody knows of it by this channel."""

    attempts: Annotated[int, Meta(ge=0)]
    code: str
    hint: str = ""
    status: int | None = None
