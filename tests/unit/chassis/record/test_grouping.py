"""Appends that go together: what is joined, and what one that cannot be written means to the others."""

from collections.abc import Sequence
from typing import cast

import pytest

from chassis.record.grouping import EVENTS_AT_ONCE, GroupedAppends
from chassis.record.mapper import RecordedEvent
from contracts import errors
from contracts.errors import PlatformError


class _Record:
    """Takes events, but for those that `refused` names; `together` keeps what came in one transaction."""

    def __init__(self, refused: dict[str, PlatformError] | None = None) -> None:
        self.refused = refused or {}
        self.together: list[tuple[str, ...]] = []
        self.tries = 0

    def put(self, events: Sequence[RecordedEvent], _until: float) -> None:
        self.tries += 1
        names = [cast("str", event) for event in events]
        for name in names:
            if name in self.refused:
                raise self.refused[name]
        self.together.append(tuple(names))


def _events(*names: str) -> list[RecordedEvent]:
    return cast("list[RecordedEvent]", list(names))


def test_what_waits_is_written_in_one_transaction() -> None:
    """The first that is written takes along those behind it; for them nothing is left to be done."""
    record = _Record()
    appends = GroupedAppends(record.put)
    waiting = [appends.add(_events(f"a{number}", f"b{number}"), 1.0) for number in range(3)]
    for append in waiting:
        appends.write(append)
    assert record.together == [("a0", "b0", "a1", "b1", "a2", "b2")]


def test_transaction_is_bounded() -> None:
    """A long append goes alone, and a queue of short ones in parts."""
    record = _Record()
    appends = GroupedAppends(record.put)
    waiting = [
        appends.add(_events(*["x"] * (EVENTS_AT_ONCE + 1)), 1.0),
        *(appends.add(_events("y"), 1.0) for _ in range(EVENTS_AT_ONCE + 1)),
    ]
    for append in waiting:
        appends.write(append)
    assert [len(each) for each in record.together] == [EVENTS_AT_ONCE + 1, EVENTS_AT_ONCE, 1]


def test_append_that_is_refused_costs_the_others_nothing() -> None:
    """A conflict is told to whom it concerns, and the others are written."""
    conflict = PlatformError(errors.CONCURRENT_CHANGE, "changed")
    record = _Record({"b": conflict})
    appends = GroupedAppends(record.put)
    first, second, third = (appends.add(_events(name), 1.0) for name in "abc")
    appends.write(first)
    with pytest.raises(PlatformError) as refused:
        appends.write(second)
    assert refused.value is conflict
    appends.write(third)
    assert record.together == [("a",), ("c",)]


def test_outage_is_told_to_all_and_not_tried_for_each() -> None:
    """Twelve that wait for the same database do not wait one after another."""
    record = _Record({"a": PlatformError(errors.UNAVAILABLE, "away")})
    appends = GroupedAppends(record.put)
    waiting = [appends.add(_events(name), 1.0) for name in "abc"]
    for append in waiting:
        with pytest.raises(PlatformError):
            appends.write(append)
    assert record.tries == 1


def test_append_that_nobody_waits_for_is_not_written() -> None:
    """Whose time was over before it began was told that it was not written, and that stays true."""
    record = _Record()
    appends = GroupedAppends(record.put)
    gone, other = appends.add(_events("gone"), 1.0), appends.add(_events("other"), 1.0)
    gone.is_abandoned = True
    appends.write(gone)
    appends.write(other)
    assert record.together == [("other",)]
    assert not gone.is_done
