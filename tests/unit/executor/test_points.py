"""Which runs make a recovery point, and which of those count as proven."""

from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest

from contracts import errors
from contracts.configuration import Tier
from contracts.executor_events import BackupCompleted
from contracts.samples import sample_event
from gateway.groups.retention.preview import _point as previewed
from services.executor.adapters.cleanup_plane import _Seen
from services.executor.adapters.points import kept_points
from services.executor.retention.plans import KnownPoint

WHOLE = msgspec.structs.replace(sample_event(BackupCompleted), code=None, verified=(Tier.LOCAL,))

AT = datetime(2026, 6, 1, tzinfo=UTC)
NO_LOCKS = SimpleNamespace(locked_until={})


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


@pytest.mark.parametrize("is_catch_up", [False, True])
def test_point_says_whether_rules_count_it(*, is_catch_up: bool) -> None:
    """As its run's end does, in the executor's table, in a cleanup's plan, and in the preview."""
    completed = msgspec.structs.replace(WHOLE, is_catch_up=is_catch_up)
    (statement,) = kept_points([completed], "acme")
    assert statement.parameters[-2] is is_catch_up
    known = KnownPoint(
        id="p", configuration_id="c", snapshot_id="s", at=AT, is_proven=True, is_catch_up=statement.parameters[-2]
    )
    seen = _Seen.__new__(_Seen)
    seen.__dict__ |= {"_snapshots": {"local": {"s"}}, "_states": {"local": NO_LOCKS}, "_away": set(), "_holds": {}}
    seen.__dict__ |= {"_readers": {}}
    planned = seen.point(known, None)
    assert planned is not None
    assert planned.is_catch_up is is_catch_up
    assert previewed(completed, AT, None, (), ()).is_catch_up is is_catch_up


def test_source_that_was_emptied_makes_no_point() -> None:
    """Nothing can be had back of it."""
    assert _kept(msgspec.structs.replace(WHOLE, code=errors.SOURCE_EMPTIED.code)) == []
