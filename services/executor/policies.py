"""Rules of the executor: a fact in, a decision out. Pure."""

from collections.abc import Collection
from datetime import datetime, timedelta

from chassis.calendar.plan import Plan
from chassis.claims.port import QueueLimits, Standing
from contracts import errors
from contracts.configuration import ConfigurationBody, ConfigurationState
from contracts.errors import ErrorCode
from contracts.executor_events import CatchUp, ExecutionState
from contracts.gateway_events import ConfigurationTestRequested
from contracts.refusal import Objection
from contracts.schedule import MissedRuns, Schedule
from services.executor.domain import BackupRun
from services.executor.kept import Replica
from services.executor.ports import TierOutcome

LATE = timedelta(minutes=10)
"""What is heard later than this has been missed: the config service lets five pass, and its fact is on its way."""

TESTS_WAITING_MAX = 20
"""Of an organisation, which has one test at a time: what waits behind these is asked for again sooner."""

# A configuration that has not arrived after this many deliveries of the request (about a minute of
# delayed redeliveries) is not going to: the request is refused instead of waiting for ever.
DELIVERIES_BEFORE_REFUSAL = 8


def when_fell_due(schedule: Schedule | None, due_at: datetime, now: datetime) -> Objection | None:
    """What speaks against a run that a schedule has asked for, and that nobody has heard in time: its own rules."""
    if schedule is None or now - due_at <= LATE:
        return None
    plan = Plan(schedule, seed="")
    is_missed = schedule.missed_runs is MissedRuns.SKIP or (
        schedule.missed_runs is MissedRuns.WITHIN_WINDOW and not plan.is_open(now)
    )
    if is_missed or plan.blackout_end(now) is not None:
        return Objection(errors.SCHEDULE_MISSED, "schedule", errors.SCHEDULE_MISSED.hint)
    return None


def when_backup_requested(
    *, organisation: str, configuration_version: int, replica: Replica | None, deliveries: int
) -> ErrorCode | None:
    """What speaks against a requested backup: None to accept it, NOT_SEEN_YET to wait, anything else to refuse it."""
    unknown = _unknown(organisation, configuration_version, replica, deliveries)
    if unknown is not None or replica is None or replica.state == ConfigurationState.ACTIVE:
        return unknown
    # Of a state that a newer build has written nobody here knows whether it has runs.
    return {
        ConfigurationState.PAUSED: errors.CONFIGURATION_PAUSED,
        ConfigurationState.RETIRED: errors.CONFIGURATION_RETIRED,
    }.get(replica.state, errors.CONFIGURATION_UNREADABLE)


def when_test_requested(
    request: ConfigurationTestRequested, organisation: str, replica: Replica | None, deliveries: int
) -> ErrorCode | None:
    """What speaks against a test; NOT_SEEN_YET to wait. A paused configuration is tested as any other."""
    unknown = _unknown(organisation, request.configuration_version, replica, deliveries)
    if (
        unknown is not None
        or replica is None
        or replica.state in (ConfigurationState.ACTIVE, ConfigurationState.PAUSED)
    ):
        return unknown
    is_retired = replica.state == ConfigurationState.RETIRED
    return errors.CONFIGURATION_RETIRED if is_retired else errors.CONFIGURATION_UNREADABLE


def _unknown(organisation: str, version: int, replica: Replica | None, deliveries: int) -> ErrorCode | None:
    """Why a configuration is not known here: NOT_SEEN_YET to wait, for so many deliveries; None where it is."""
    if replica is not None and replica.organisation != organisation:
        return errors.CONFIGURATION_UNKNOWN
    if replica is None or replica.version < version:
        if deliveries >= DELIVERIES_BEFORE_REFUSAL:
            return errors.CONFIGURATION_UNKNOWN
        return errors.CONFIGURATION_NOT_SEEN_YET
    return None


def when_test_queued(standing: Standing) -> ErrorCode | None:
    """What speaks against a test of a known configuration: one that is under way, or many that wait."""
    if standing.open_work is not None:
        return errors.TEST_ALREADY_OPEN
    return errors.QUEUE_FULL if standing.waiting_of_organisation >= TESTS_WAITING_MAX else None


def when_retry_requested(retried: BackupRun | None, configuration_id: str) -> Objection | None:
    """What speaks against a run in place of another one: None of this configuration, or one that needs no other."""
    if retried is None or retried.configuration_id != configuration_id:
        return Objection(errors.NOT_FOUND, hint=errors.NOT_FOUND.hint)
    if retried.state not in {ExecutionState.FAILED, ExecutionState.CANCELLED}:
        return Objection(errors.RUN_NOT_RETRYABLE, hint=f"{errors.RUN_NOT_RETRYABLE.hint} It is {retried.state}.")
    return None


def when_looked_up(body: ConfigurationBody, lacking: Collection[str]) -> Objection | None:
    """What speaks against a run of a configuration that names locations which are not registered: it fails by that.

    Not a tier that is not required, beside one that is there: the run is degraded.
    """
    tiers = body.storage_destinations.by_tier().values()
    needed = [body.source_location, *(each.location for each in tiers if each.required)]
    if all(each.location in lacking for each in tiers):
        needed += [each.location for each in tiers]
    gone = next((name for name in needed if name in lacking), None)
    if gone is None:
        return None
    hint = f"The configuration names the location {gone}, which is not registered any more: name another one in it, or"
    return Objection(errors.UNKNOWN_LOCATION, hint=f"{hint} ask the operator to register it again, then run again.")


def when_queued(execution_id: str, standing: Standing, limits: QueueLimits) -> Objection | None:
    """What speaks against a run of a known configuration: one that has not ended, or a queue that is full."""
    if standing.open_work not in (None, execution_id):
        shown = f"GET /api/backup/executions/{standing.open_work} shows the open run."
        return Objection(errors.RUN_ALREADY_OPEN, hint=f"{errors.RUN_ALREADY_OPEN.hint} {shown}")
    if standing.waiting_of_organisation >= limits.per_organisation:
        counted = f"{standing.waiting_of_organisation} of the organisation's runs wait, and no more may"
        return Objection(errors.QUEUE_FULL, hint=f"{errors.QUEUE_FULL.hint} {counted}.")
    if standing.waiting_in_all >= limits.in_all:
        # How many others wait is nobody's business.
        return Objection(errors.QUEUE_FULL, hint=f"{errors.QUEUE_FULL.hint} The platform's queue is full.")
    return None


def failure_of(tiers: tuple[TierOutcome, ...]) -> TierOutcome | None:
    """The tier for whose sake a run has failed: a required one without the snapshot, or any when none has it."""
    for outcome in tiers:
        if outcome.required and outcome.code is not None:
            return outcome
    if all(outcome.code is not None for outcome in tiers):
        return tiers[0]
    return None


def catch_ups_owed(tiers: tuple[TierOutcome, ...]) -> tuple[CatchUp, ...]:
    """What a completed run still owes to the tiers that were down."""
    return tuple(CatchUp(tier=outcome.tier, code=outcome.code) for outcome in tiers if outcome.code is not None)
