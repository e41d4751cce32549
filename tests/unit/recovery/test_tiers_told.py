"""Why no tier gives a recovery point, as it is told."""

from types import SimpleNamespace
from typing import Any

import pytest

from contracts import errors
from contracts.errors import ErrorCode
from repository.errors import Damaged, RepositoryError, SnapshotNotFound, UnknownKey
from repository.opened.open_tier import TierState
from services.recovery.adapters.tiers_told import why_not


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (None, errors.RECOVERY_POINT_MISSING),
        (UnknownKey("the key that was given does not open a root"), errors.KEYS_UNUSABLE),
        (Damaged("an entry is not what was written"), errors.TIER_UNUSABLE),
    ],
)
def test_what_lies_behind_an_unread_entry_is_not_told_as_missing(
    fault: RepositoryError | None, code: ErrorCode
) -> None:
    """With an older key file the log is read up to the change of the root: the point may well lie behind it."""
    faults = [] if fault is None else [SimpleNamespace(number=7, error=fault)]
    tier: Any = SimpleNamespace(
        name="local",
        state=TierState.READY,
        is_readable=True,
        error=None,
        log=SimpleNamespace(state=SimpleNamespace(faults=faults)),
    )
    places: Any = {"local": SimpleNamespace(location="disk")}
    told = why_not(SnapshotNotFound("no tier has it"), places, [tier])
    assert told is not None
    assert told.code is code
    assert "disk (the tier local)" in told.hint
