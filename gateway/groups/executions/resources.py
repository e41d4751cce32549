"""What the API takes to start a run, and how runs and the whole are doing."""

from enum import StrEnum

from contracts.configuration import Tier
from contracts.executor_events import ExecutionState
from contracts.progress import Progress
from gateway.http.fields import Timestamp, Uuid
from gateway.http.resources import Body, Resource
from gateway.runs.resources import Waiting


class NewExecution(Body, frozen=True, kw_only=True):
    """An immediate backup of a configuration."""

    configuration_id: Uuid


class ProgressView(Resource, frozen=True, kw_only=True):
    """How far a run is. `progress` is null where no worker has reported yet, or the run has ended.

    `waiting`: as of the run. `queuePosition`: of a run that waits for a worker, which one of the organisation's it is
    that is taken next, from 1 on.
    """

    execution_id: str
    state: ExecutionState
    started_at: Timestamp
    finished_at: Timestamp | None
    progress: Progress | None
    waiting: Waiting | None = None
    queue_position: int | None = None


class RunCounts(Resource, frozen=True, kw_only=True):
    """How many runs there are in each state. `degraded` ones are among the completed."""

    initializing: int
    preparing: int
    backing_up: int
    verifying: int
    completed: int
    degraded: int
    failed: int
    cancelled: int


class ConfigurationTotals(Resource, frozen=True, kw_only=True):
    """How many configurations there are, and how they are doing; those that are `paused` are counted there, too."""

    total: int
    wedding_critical: int
    healthy: int
    degraded: int
    failing: int
    never_run: int
    paused: int


class RunningExecution(Resource, frozen=True, kw_only=True):
    """A run that has not ended."""

    execution_id: str
    configuration_id: str
    state: ExecutionState
    started_at: Timestamp


class Queue(Resource, frozen=True, kw_only=True):
    """Runs that no worker has taken yet."""

    waiting: int
    oldest_since: Timestamp | None


class LastDay(Resource, frozen=True, kw_only=True):
    """What ended within the last 24 hours. Bytes."""

    completed: int
    degraded: int
    failed: int
    files: int
    source_bytes: int
    new_bytes: int
    stored_bytes: int


class TierVerdict(StrEnum):
    """How a tier is doing: `behind` has earlier backups but lacks the latest, `failing` has none or is gone."""

    HEALTHY = "healthy"
    BEHIND = "behind"
    FAILING = "failing"
    UNPROVEN = "unproven"
    UNUSED = "unused"


class TierHealth(Resource, frozen=True, kw_only=True):
    """One tier over all configurations that use it."""

    tier: Tier
    verdict: TierVerdict
    configurations: int
    catch_ups_owed: int
    last_uploaded_at: Timestamp | None
    last_failed_at: Timestamp | None
    last_failure_code: str | None


class Unprotected(Resource, frozen=True, kw_only=True):
    """The source that has gone longest without a recovery point, and since when."""

    configuration_id: str
    since: Timestamp
    last_recovery_point_at: Timestamp | None


class ProtectionRule(Resource, frozen=True, kw_only=True):
    """One rule of 3-2-1-1-0, and how many configurations do not keep it."""

    rule: str
    satisfied: bool
    failing_configurations: int


class Protection(Resource, frozen=True, kw_only=True):
    """Whether every configuration keeps 3-2-1-1-0: three copies, two media, one offsite, one immutable, no errors."""

    satisfied: bool
    rules: list[ProtectionRule]


class Status(Resource, frozen=True, kw_only=True):
    """The state of an organisation's backups. `asOf`: when this was read; never more than a second old."""

    as_of: Timestamp
    configurations: ConfigurationTotals
    executions: RunCounts
    running: list[RunningExecution]
    queue: Queue
    last24_hours: LastDay
    tiers: list[TierHealth]
    oldest_unprotected_source: Unprotected | None
    verdict: Protection
