"""What the gateway records: requests of authenticated people, and denials. Owner: gateway."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.configuration import BulkMode, ConfigurationBody, LocationName
from contracts.controls import Framework
from contracts.disaster import PlanBody, StepId, StepPoint
from contracts.event import Event, Value, pinned
from contracts.holds import HoldBody
from contracts.notifications import ChannelBody
from contracts.recovery_events import ConflictPolicy
from contracts.refusal import Refusal
from contracts.retention import RetentionPolicyBody
from contracts.sealed import Sealed


class Evidence(Value, frozen=True, kw_only=True):
    """How the actor had proved who they are: assurance level, factors and the token's id, never the token.

    `factor_at`: when the latest of the factors was given. `second_factor`: one of them was a second one, and given
    within fifteen minutes of the request, by the gateway's clock. `address`, `agent`: where the request came from, and
    what the client calls itself; both tell of a person, so they are sealed.
    """

    assurance: str
    factors: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    token_id: str | None = None
    factor_at: datetime | None = None
    second_factor: bool = False
    address: Sealed | None = None
    agent: Sealed | None = None


ADDRESS_FIELD = "evidence.address"
AGENT_FIELD = "evidence.agent"
"""Under which names the two are sealed."""


class ConfigurationRequest(Event, frozen=True, kw_only=True):
    """The base of what is asked of a configuration that is there, where no more than that is said."""

    request_id: str
    configuration_id: str
    evidence: Evidence


@pinned("gateway.configuration-submitted.v1", taken_by=("config--create-configuration",))
class ConfigurationSubmitted(Event, frozen=True, kw_only=True):
    """An owner asked for a new configuration. The configuration's id is allocated with the request."""

    request_id: str
    configuration_id: str
    body: ConfigurationBody
    evidence: Evidence


@pinned("gateway.configuration-item-submitted.v1", taken_by=("config--gather-configuration",))
class ConfigurationItemSubmitted(ConfigurationSubmitted, frozen=True, kw_only=True):
    """One of several configurations that an owner asked for at once: a request of its own, at a place in `bulk_id`.

    Nothing is decided about it before that request is taken.
    """

    bulk_id: str
    position: Annotated[int, Meta(ge=0)]


@pinned("gateway.configuration-item-refused.v1")
class ConfigurationItemRefused(Refusal, frozen=True, kw_only=True):
    """One of them that can never be created, which the gateway saw: its owner is not asked."""

    configuration_id: str
    bulk_id: str
    position: Annotated[int, Meta(ge=0)]


@pinned("gateway.configurations-submitted.v1", taken_by=("config--create-configurations",))
class ConfigurationsSubmitted(Event, frozen=True, kw_only=True):
    """An owner asked for several configurations at once: `items` were submitted, each by an event before this."""

    request_id: str
    mode: BulkMode
    items: Annotated[int, Meta(ge=1)]
    evidence: Evidence


@pinned("gateway.configuration-change-submitted.v1", taken_by=("config--change-configuration",))
class ConfigurationChangeSubmitted(Event, frozen=True, kw_only=True):
    """An owner asked for a configuration to say something else: all of `body`, where it is at `expected_version`."""

    request_id: str
    configuration_id: str
    expected_version: int
    body: ConfigurationBody
    evidence: Evidence


@pinned("gateway.configuration-retirement-requested.v1", taken_by=("config--retire-configuration",))
class ConfigurationRetirementRequested(ConfigurationRequest, frozen=True, kw_only=True):
    """An owner asked for a configuration to have no more runs."""


@pinned("gateway.configuration-pause-requested.v1", taken_by=("config--pause-configuration",))
class ConfigurationPauseRequested(ConfigurationRequest, frozen=True, kw_only=True):
    """An owner asked for a configuration to have no runs until it is resumed."""


@pinned("gateway.configuration-resumption-requested.v1", taken_by=("config--resume-configuration",))
class ConfigurationResumptionRequested(ConfigurationRequest, frozen=True, kw_only=True):
    """An owner asked for a paused configuration to have runs again."""


class LastRunSeen(Value, frozen=True, kw_only=True):
    """What the latest run of a configuration that completed read, as the read model shows it: bytes, seconds."""

    source_bytes: int
    files: int
    seconds: float


@pinned("gateway.configuration-test-requested.v1", taken_by=("executor--test-configuration",))
class ConfigurationTestRequested(ConfigurationRequest, frozen=True, kw_only=True):
    """An operator asked whether a configuration, as it was at `configuration_version`, would be backed up."""

    configuration_version: int
    last_run: LastRunSeen | None = None


class RetentionPolicyRequest(Event, frozen=True, kw_only=True):
    """The base of what is asked of retention policies: all that one is to say."""

    request_id: str
    retention_policy_id: str
    body: RetentionPolicyBody
    evidence: Evidence


@pinned("gateway.retention-policy-submitted.v1", taken_by=("config--create-retention-policy",))
class RetentionPolicySubmitted(RetentionPolicyRequest, frozen=True, kw_only=True):
    """An owner asked for a new retention policy. Its id is allocated with the request."""


@pinned("gateway.retention-policy-change-submitted.v1", taken_by=("config--change-retention-policy",))
class RetentionPolicyChangeSubmitted(RetentionPolicyRequest, frozen=True, kw_only=True):
    """An owner asked for a retention policy to say something else, where it is at `expected_version`."""

    expected_version: int


class ChannelRequest(Event, frozen=True, kw_only=True):
    """The base of what is asked of a notification channel."""

    request_id: str
    channel_id: str
    evidence: Evidence


@pinned("gateway.notification-channel-submitted.v1", taken_by=("config--create-notification-channel",))
class NotificationChannelSubmitted(ChannelRequest, frozen=True, kw_only=True):
    """An owner asked for a new notification channel. Its id is allocated with the request."""

    body: ChannelBody


@pinned("gateway.notification-channel-change-submitted.v1", taken_by=("config--change-notification-channel",))
class NotificationChannelChangeSubmitted(ChannelRequest, frozen=True, kw_only=True):
    """An owner asked for a channel to say something else: all of `body`, where it is at `expected_version`."""

    expected_version: int
    body: ChannelBody


@pinned("gateway.notification-channel-retirement-requested.v1", taken_by=("config--retire-notification-channel",))
class NotificationChannelRetirementRequested(ChannelRequest, frozen=True, kw_only=True):
    """An owner asked for nothing more to be sent to a channel."""


@pinned("gateway.notification-test-requested.v1", taken_by=("config--test-notification-channel",))
class NotificationTestRequested(ChannelRequest, frozen=True, kw_only=True):
    """An operator asked for a channel to be sent a notification that says that it is a test."""


@pinned("gateway.backup-requested.v1", taken_by=("executor--accept-backup",))
class BackupRequested(Event, frozen=True, kw_only=True):
    """An operator asked for an immediate backup of a configuration, as it was at `configuration_version`."""

    request_id: str
    execution_id: str
    configuration_id: str
    configuration_version: int
    evidence: Evidence


@pinned("gateway.backup-cancellation-requested.v1", taken_by=("executor--cancel-backup",))
class BackupCancellationRequested(Event, frozen=True, kw_only=True):
    """An operator asked for a run to be stopped."""

    request_id: str
    execution_id: str
    evidence: Evidence


@pinned("gateway.backup-retry-requested.v1", taken_by=("executor--retry-backup",))
class BackupRetryRequested(BackupRequested, frozen=True, kw_only=True):
    """An operator asked for another run in place of one that has failed or was cancelled, which is `retry_of`."""

    retry_of: str


class SeenVersion(Value, frozen=True, kw_only=True):
    """A configuration or a retention policy, and its version as it was shown."""

    id: str
    version: int


@pinned("gateway.retention-cleanup-requested.v1", taken_by=("executor--accept-cleanup",))
class RetentionCleanupRequested(Event, frozen=True, kw_only=True):
    """An owner asked for what retention policies let go to go. `configuration_ids`: of these alone; none: of all.

    `dry_run`: to be told what would. `seen`: what the policies and configurations were when it was asked: by nothing
    that is older anything goes.
    """

    request_id: str
    cleanup_id: str
    evidence: Evidence
    dry_run: bool = False
    configuration_ids: tuple[str, ...] = ()
    seen: tuple[SeenVersion, ...] = ()


@pinned("gateway.hold-placement-requested.v1", taken_by=("executor--place-hold",))
class HoldPlacementRequested(Event, frozen=True, kw_only=True):
    """An owner asked for recovery points to be kept, whatever a policy says. The hold's id comes with the request."""

    request_id: str
    hold_id: str
    body: HoldBody
    evidence: Evidence


@pinned("gateway.hold-release-requested.v1", taken_by=("executor--await-hold-release",))
class HoldReleaseRequested(Event, frozen=True, kw_only=True):
    """An owner asked for a hold to be released, which takes a second person."""

    request_id: str
    hold_id: str
    evidence: Evidence


class ApprovalRequest(Event, frozen=True, kw_only=True):
    """The base of what is said to an approval that is open."""

    request_id: str
    approval_id: str
    evidence: Evidence


@pinned("gateway.approval-grant-requested.v1", taken_by=("executor--grant-approval",))
class ApprovalGrantRequested(ApprovalRequest, frozen=True, kw_only=True):
    """An owner approves what another person has asked for."""


@pinned("gateway.approval-denial-requested.v1", taken_by=("executor--deny-approval",))
class ApprovalDenialRequested(ApprovalRequest, frozen=True, kw_only=True):
    """An owner says no to what somebody has asked for, or takes it back."""


@pinned("gateway.recovery-requested.v1", taken_by=("recovery--accept-recovery",))
class RecoveryRequested(Event, frozen=True, kw_only=True):
    """An owner asked for a recovery point, or what of it matches `scope`, to be restored to a folder of a location.

    `target_digest`: keyed, of location and path, so that equal targets are known without being told.
    """

    request_id: str
    operation_id: str
    recovery_point_id: str
    target_location: LocationName
    target_path: Sealed
    target_digest: str
    conflict_policy: ConflictPolicy
    evidence: Evidence
    scope: Sealed | None = None


@pinned("gateway.recovery-cancellation-requested.v1", taken_by=("recovery--cancel-recovery",))
class RecoveryCancellationRequested(Event, frozen=True, kw_only=True):
    """An owner asked for a recovery to be stopped."""

    request_id: str
    operation_id: str
    evidence: Evidence


class DrPlanRequest(Event, frozen=True, kw_only=True):
    """The base of what is asked of disaster recovery plans: all that one is to say."""

    request_id: str
    plan_id: str
    body: PlanBody
    evidence: Evidence


@pinned("gateway.dr-plan-submitted.v1", taken_by=("dr--create-plan",))
class DrPlanSubmitted(DrPlanRequest, frozen=True, kw_only=True):
    """An owner asked for a new disaster recovery plan. Its id is allocated with the request."""


@pinned("gateway.dr-plan-change-submitted.v1", taken_by=("dr--change-plan",))
class DrPlanChangeSubmitted(DrPlanRequest, frozen=True, kw_only=True):
    """An owner asked for a plan to say something else, where it is at `expected_version`."""

    expected_version: int


class DrExecutionRequest(Event, frozen=True, kw_only=True):
    """The base of what is asked of an execution."""

    request_id: str
    execution_id: str
    evidence: Evidence


class DrBeginningRequest(DrExecutionRequest, frozen=True, kw_only=True):
    """The base of what begins one, of a plan as it was seen. `points`: what its restores take, by what there is now."""

    plan_id: str
    plan_version: Annotated[int, Meta(ge=1)]
    points: tuple[StepPoint, ...]


@pinned("gateway.dr-execution-requested.v1", taken_by=("dr--begin-execution",))
class DrExecutionRequested(DrBeginningRequest, frozen=True, kw_only=True):
    """An owner asked for a plan to be executed."""


@pinned("gateway.dr-test-requested.v1", taken_by=("dr--begin-test",))
class DrTestRequested(DrBeginningRequest, frozen=True, kw_only=True):
    """An operator asked for a plan to be tested, in a place of the test's own."""


@pinned("gateway.dr-step-approval-requested.v1", taken_by=("dr--approve-step",))
class DrStepApprovalRequested(DrExecutionRequest, frozen=True, kw_only=True):
    """An owner says that an execution may go on, or that a manual step of it is done."""

    step_id: StepId


@pinned("gateway.dr-execution-pause-requested.v1", taken_by=("dr--pause-execution",))
class DrExecutionPauseRequested(DrExecutionRequest, frozen=True, kw_only=True):
    """An owner asked for no other step of an execution to begin."""


@pinned("gateway.dr-execution-resumption-requested.v1", taken_by=("dr--resume-execution",))
class DrExecutionResumptionRequested(DrExecutionRequest, frozen=True, kw_only=True):
    """An owner asked for a paused execution to go on."""


@pinned("gateway.dr-execution-abortion-requested.v1", taken_by=("dr--abort-execution",))
class DrExecutionAbortionRequested(DrExecutionRequest, frozen=True, kw_only=True):
    """An owner asked for an execution to end."""


@pinned("gateway.compliance-audit-requested.v1", taken_by=("compliance--audit",))
class ComplianceAuditRequested(Event, frozen=True, kw_only=True):
    """An auditor asked for the controls of frameworks to be looked at, by what had happened up to `at`."""

    request_id: str
    audit_id: str
    frameworks: tuple[Framework, ...]
    at: datetime
    evidence: Evidence


@pinned("gateway.access-denied.v1")
class AccessDenied(Event, frozen=True, kw_only=True):
    """An authenticated actor was denied something. Repeats within a minute are counted, not copied.

    `evidence`: of the first denial; the event that counts the repeats behind it has none. Its `address` is left out
    where the organisation has no key yet.
    """

    code: str
    route: str
    method: str
    repeats: Annotated[int, Meta(ge=1)] = 1
    evidence: Evidence | None = None
