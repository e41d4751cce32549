"""Which runs make a recovery point, and which of those count as proven."""

import msgspec
import pytest

from contracts import errors
from contracts.configuration import Tier
from contracts.executor_events import BackupCompleted
from contracts.samples import sample_event
from services.executor.adapters.points import kept_points

WHOLE = msgspec.structs.replace(sample_event(BackupCompleted), code=None, verified=(Tier.LOCAL,))


def _kept(completed: BackupCompleted) -> list[object]:
    return [statement.parameters[-1] for statement in kept_points([completed], "acme")]


def test_whole_run_that_was_read_back_is_proven() -> None:
    """All of its source is in it, and at least one tier was read."""
    whole = msgspec.structs.replace(WHOLE, totals=msgspec.structs.replace(WHOLE.totals, unreadable_files=0))
    assert _kept(whole) == [True]


@pytest.mark.parametrize(
    "lacking",
    [
        {"verified": ()},
        {"code": errors.SOURCE_INCOMPLETE.code},
        {"totals": msgspec.structs.replace(WHOLE.totals, unreadable_files=1)},
    ],
)
def test_run_that_lacks_something_is_not_proven(lacking: dict[str, object]) -> None:
    """The last proven point never goes: one that is less must not take its place."""
    assert _kept(msgspec.structs.replace(WHOLE, **lacking)) == [False]


def test_source_that_was_emptied_makes_no_point() -> None:
    """Nothing can be had back of it."""
    assert _kept(msgspec.structs.replace(WHOLE, code=errors.SOURCE_EMPTIED.code)) == []
