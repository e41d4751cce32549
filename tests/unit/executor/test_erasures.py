"""By when an erasure has to be done, and what stands against one."""

from datetime import UTC, datetime, timedelta

import pytest

from contracts import errors
from contracts.configuration import ConfigurationState
from contracts.erasure_events import PrivacyLaw
from contracts.reading import UNKNOWN
from contracts.sample_values import BODY
from services.executor.erasing.deadlines import due_by
from services.executor.erasing.obstacles import Standing, against
from services.executor.retention.plans import Knowledge, KnownPoint

NOW = datetime(2026, 6, 13, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        ("2026-06-13T09:30", "2026-07-13T09:30"),
        ("2026-01-31T00:00", "2026-02-28T00:00"),
        ("2028-01-31T00:00", "2028-02-29T00:00"),
        ("2026-12-31T23:59", "2027-01-31T23:59"),
        ("2026-02-28T12:00", "2026-03-28T12:00"),
    ],
)
def test_a_month_ends_with_the_day_of_its_number_or_the_last_one(asked: str, due: str) -> None:
    at = datetime.fromisoformat(f"{asked}+00:00")
    assert due_by(PrivacyLaw.GDPR, at) == datetime.fromisoformat(f"{due}+00:00")
    assert due_by(PrivacyLaw.CCPA, at) == at + timedelta(days=45)


def _standing(state: ConfigurationState, **of_point: object) -> Standing:
    point = KnownPoint(id="p", configuration_id="c", snapshot_id="s", at=NOW, is_proven=True, **of_point)  # type: ignore[arg-type]  # tests know it
    known = Knowledge(now=NOW, newest=None, points=[point], configurations={"c": BODY}, rules={})
    return Standing(states={"c": state}, running=("c",) if state is ConfigurationState.PAUSED else (), knowledge=known)


def test_only_a_retired_configuration_without_runs_readers_and_holds_stands_against_nothing() -> None:
    """A state that a newer build has written is not taken for retired."""
    assert against(_standing(ConfigurationState.RETIRED)) == []
    assert [each.code for each in against(_standing(ConfigurationState.PAUSED))] == [
        errors.CONFIGURATION_IN_FORCE.code,
        errors.BACKUP_UNDER_WAY.code,
    ]
    unknown = Standing(states={"c": UNKNOWN}, running=(), knowledge=_standing(ConfigurationState.RETIRED).knowledge)  # type: ignore[dict-item]  # as it is read
    assert [each.code for each in against(unknown)] == [errors.CONFIGURATION_IN_FORCE.code]
    held = against(_standing(ConfigurationState.RETIRED, holds=("h",), readers=("the recovery r",)))
    assert [(each.code, each.about) for each in held] == [
        (errors.POINT_HELD.code, "h"),
        (errors.RECOVERY_UNDER_WAY.code, "p"),
    ]
