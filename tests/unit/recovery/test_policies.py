"""What becomes of a restore: whole, less than it was, or not what was asked for."""

import msgspec
import pytest

from contracts import errors
from contracts.errors import ErrorCode
from contracts.gateway_events import RecoveryRequested
from contracts.reading import new_decoder, read_json
from contracts.recovery_events import ConflictPolicy, RecoveryTotals
from contracts.samples import sample_event
from services.recovery.policies import when_recovery_requested, when_restored
from services.recovery.ports import Restored


@pytest.mark.parametrize(
    ("told", "is_whole", "code"),
    [
        ({}, True, None),
        ({"asked": 2}, True, None),
        ({"asked": 1, "unmatched": 1}, False, errors.RECOVERY_MATCHES_NOTHING),
        ({"asked": 2, "unmatched": 1}, True, errors.RECOVERY_SCOPE_UNMATCHED),
        ({"asked": 2, "unmatched": 1, "has_losses": True}, True, errors.RECOVERY_SCOPE_UNMATCHED),
        ({"asked": 2, "unmatched": 2, "is_whole": False}, False, errors.RECOVERY_INCOMPLETE),
        ({"missing_in_point": 1}, True, errors.RECOVERY_INCOMPLETE),
    ],
)
def test_what_was_asked_for_and_is_not_there_is_told(
    told: dict[str, int], is_whole: bool, code: ErrorCode | None
) -> None:
    """One link alone (no file, no folder) is something; of several paths each counts."""
    totals = RecoveryTotals(files=0, folders=0, bytes=0)
    whole = {"totals": totals, "missing_in_point": 0, "is_whole": True, "has_losses": False}
    assert when_restored(Restored(**{**whole, **told})) == (is_whole, code)  # type: ignore[arg-type]


def test_request_of_a_newer_build_is_refused_by_a_code_of_its_own() -> None:
    """What it means is nothing to be guessed; a worker would write by it."""
    request = sample_event(RecoveryRequested)
    newer = read_json(b'"newest-wins"', new_decoder(ConflictPolicy))
    request = msgspec.structs.replace(request, conflict_policy=newer)
    objection = when_recovery_requested(request, None, deliveries=1)
    assert objection is not None
    assert objection.code is errors.EVENT_UNREADABLE
