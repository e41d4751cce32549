"""Appends that go together: what is joined, and what one that cannot be written means to the others."""

from typing import cast

import pytest

from chassis.handling import Handled
from chassis.postgres.database import Unable
from chassis.record.grouping import AT_ONCE, Content, GroupedAppends
from chassis.record.mapper import RecordedEvent
from chassis.record.statements import Statement
from contracts import errors
from contracts.errors import PlatformError


class _Record:
    """Takes events, but for those that `refused` names; `together` keeps what came in one transaction."""

    def __init__(self, refused: dict[str, PlatformError] | None = None) -> None:
        self.refused = refused or {}
        self.together: list[tuple[str, ...]] = []
        self.contents: list[Content] = []
        self.tries = 0

    def put(self, content: Content, _until: float) -> None:
        self.tries += 1
        names = [cast("str", event) for event in content.events]
        for name in names:
            if name in self.refused:
                raise self.refused[name]
        self.together.append(tuple(names))
        self.contents.append(content)


def _events(*names: str) -> Content:
    return Content(cast("list[RecordedEvent]", list(names)))


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
        appends.add(_events(*["x"] * (AT_ONCE + 1)), 1.0),
        *(appends.add(_events("y"), 1.0) for _ in range(AT_ONCE + 1)),
    ]
    for append in waiting:
        appends.write(append)
    assert [len(each) for each in record.together] == [AT_ONCE + 1, AT_ONCE, 1]


def test_whole_saves_are_joined_with_what_becomes_true_beside_their_events() -> None:
    """What was handled, statements and events are each in the order of the saves: requests share a commit, too."""
    record = _Record()
    appends = GroupedAppends(record.put)
    whole = [
        Content([*_events(name).events], [Handled("c", name)], [Statement("SELECT 1", name=name)]) for name in "abc"
    ]
    waiting = [appends.add(each, 1.0) for each in whole]
    for append in waiting:
        appends.write(append)
    (content,) = record.contents
    assert record.together == [("a", "b", "c")]
    assert [each.event_id for each in content.handled] == ["a", "b", "c"]
    assert [each.name for each in content.statements] == ["a", "b", "c"]


def test_statements_count_to_what_one_transaction_takes() -> None:
    """Saves without events are bounded as well."""
    record = _Record()
    appends = GroupedAppends(record.put)
    two = Content(statements=[Statement("SELECT 1"), Statement("SELECT 2")])
    waiting = [appends.add(two, 1.0) for _ in range(AT_ONCE)]
    for append in waiting:
        appends.write(append)
    assert [len(each) for each in record.contents] == [AT_ONCE, AT_ONCE]


def test_transaction_has_one_of_the_statements_that_could_wait_for_who_waits_for_them() -> None:
    """Two runs that end together lock two claims, which the heartbeat locks in another order."""
    record = _Record()
    appends = GroupedAppends(record.put)
    contended = Content(statements=[Statement("SELECT 1", is_contended=True)])
    waiting = [appends.add(each, 1.0) for each in (contended, _events("a"), contended, _events("b"))]
    for append in waiting:
        appends.write(append)
    assert record.together == [("a",), ("b",)]
    assert [len(each) for each in record.contents] == [2, 2]


def test_row_that_somebody_holds_costs_those_that_need_it() -> None:
    """A full disk is told to all at once; what only one of them meets, to that one."""
    held, full = Unable("a lock is held", "Look."), Unable("no space", "Free some.", lasts=True)
    for error, taken in ((held, [("b",)]), (full, [])):
        record = _Record({"a": error})
        appends = GroupedAppends(record.put)
        first, second = (appends.add(_events(name), 1.0) for name in "ab")
        with pytest.raises(Unable):
            appends.write(first)
        assert (second.failure is None, record.together) == (bool(taken), taken)


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
