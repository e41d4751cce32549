"""The executor's rules."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from contracts import errors
from contracts.configuration import (
    BackupType,
    ConfigurationBody,
    ConfigurationState,
    Destination,
    SourceType,
    StorageDestinations,
    Tier,
)
from contracts.executor_events import CatchUp
from contracts.reading import read_json
from contracts.schedule import Blackout, Frequency, MissedRuns, Schedule, Window
from contracts.sealed import Sealed
from services.executor.kept import Replica
from services.executor.policies import (
    DELIVERIES_BEFORE_REFUSAL,
    catch_ups_owed,
    failure_of,
    when_backup_requested,
    when_fell_due,
)
from services.executor.ports import TierOutcome

SEALED = Sealed(key="organisation/org-a/1", box=b"box")
BODY = ConfigurationBody(
    name=SEALED,
    name_digest="d",
    source_type=SourceType.DIRECTORY,
    source_location="photos",
    source_identifier=SEALED,
    backup_type=BackupType.INCREMENTAL,
    storage_destinations=StorageDestinations(local=Destination(location="local")),
)


def replica(version: int = 1, organisation: str = "org-a") -> Replica:
    return Replica(configuration_id="c", organisation=organisation, version=version, body=BODY)


def test_request_for_a_known_configuration_is_accepted() -> None:
    """Nothing speaks against a configuration that is here in the version that was seen, or a later one."""
    for version in (1, 2):
        assert (
            when_backup_requested(organisation="org-a", configuration_version=1, replica=replica(version), deliveries=1)
            is None
        )


@pytest.mark.parametrize("known", [None, replica(1)])
def test_request_waits_for_a_configuration_that_has_not_arrived_then_is_refused(known: Replica | None) -> None:
    """Streams have no order among each other, so a missing fact is waited for, but not for ever."""
    answers = [
        when_backup_requested(organisation="org-a", configuration_version=2, replica=known, deliveries=deliveries)
        for deliveries in (1, DELIVERIES_BEFORE_REFUSAL - 1, DELIVERIES_BEFORE_REFUSAL)
    ]
    assert answers == [
        errors.CONFIGURATION_NOT_SEEN_YET,
        errors.CONFIGURATION_NOT_SEEN_YET,
        errors.CONFIGURATION_UNKNOWN,
    ]


def test_configuration_of_another_organisation_is_unknown_at_once() -> None:
    """Another organisation's configuration does not exist, whatever its version."""
    assert (
        when_backup_requested(organisation="org-b", configuration_version=1, replica=replica(), deliveries=1)
        is errors.CONFIGURATION_UNKNOWN
    )


def test_configuration_has_runs_in_the_one_state_that_is_known_to_have_them() -> None:
    """What a newer build has written is not taken for active."""
    (newer,) = read_json('["suspended"]', msgspec.json.Decoder(tuple[ConfigurationState, ...]))
    answers = [
        when_backup_requested(
            organisation="org-a",
            configuration_version=1,
            replica=msgspec.structs.replace(replica(), state=state),
            deliveries=1,
        )
        for state in (*ConfigurationState, newer)
    ]
    assert answers == [
        None,
        errors.CONFIGURATION_PAUSED,
        errors.CONFIGURATION_RETIRED,
        errors.CONFIGURATION_UNREADABLE,
    ]


def outcome(tier: Tier, *, required: bool = False, code: str | None = None) -> TierOutcome:
    return TierOutcome(tier=tier, required=required, code=code, log_entry=None if code else 1)


def test_run_fails_for_a_required_tier_and_when_no_tier_has_it() -> None:
    """A required tier without the snapshot fails the run; so does a snapshot that is nowhere."""
    lost = outcome(Tier.OFFSITE, required=True, code="tier-full")
    assert failure_of((outcome(Tier.LOCAL), lost)) is lost
    nowhere = outcome(Tier.LOCAL, code="tier-full")
    assert failure_of((nowhere, outcome(Tier.OFFSITE, code="tier-unreachable"))) is nowhere


def test_run_completes_degraded_when_a_tier_that_is_not_required_is_behind() -> None:
    """What is missing on such a tier is owed to it, with the reason."""
    tiers = (outcome(Tier.LOCAL, required=True), outcome(Tier.OFFSITE, code="tier-unreachable"))
    assert failure_of(tiers) is None
    assert catch_ups_owed(tiers) == (CatchUp(tier=Tier.OFFSITE, code="tier-unreachable"),)


_DUE = datetime(2026, 11, 27, 2, tzinfo=UTC)
_NIGHT = Window(start="02:00", end="04:00")


@pytest.mark.parametrize(
    ("schedule", "hours", "is_missed"),
    [
        (Schedule(frequency=Frequency.DAILY), 10, False),
        (Schedule(frequency=Frequency.DAILY, missed_runs=MissedRuns.SKIP), 10, True),
        (Schedule(frequency=Frequency.DAILY, missed_runs=MissedRuns.SKIP), 0, False),
        (Schedule(frequency=Frequency.DAILY, missed_runs=MissedRuns.WITHIN_WINDOW, window=_NIGHT), 10, True),
        (Schedule(frequency=Frequency.DAILY, missed_runs=MissedRuns.WITHIN_WINDOW, window=_NIGHT), 1, False),
        (
            Schedule(
                frequency=Frequency.DAILY,
                blackouts=(Blackout(starts_at=_DUE + timedelta(hours=1), ends_at=_DUE + timedelta(hours=5)),),
            ),
            2,
            True,
        ),
        (None, 10, False),
    ],
)
def test_run_that_nobody_heard_of_in_time_goes_by_its_schedule(
    schedule: Schedule | None, hours: int, is_missed: bool
) -> None:
    """What was not to be made up for, or not now, is refused as missed."""
    against = when_fell_due(schedule, _DUE, _DUE + timedelta(hours=hours, minutes=1))
    assert (against is not None) == is_missed
    assert against is None or against.code is errors.SCHEDULE_MISSED
