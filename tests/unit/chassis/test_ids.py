"""Identifiers: shape, order, time."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.ids import TimeOrderedIds, is_id, new_id
from tests.support.clock import ManualClock


def _made_at(identifier: str) -> datetime:
    return datetime.fromtimestamp((UUID(identifier).int >> 80) / 1000, UTC)


def test_new_id_is_a_uuid_of_version_7_in_lower_case() -> None:
    """Ids of the process have the one accepted form."""
    assert is_id(new_id())
    assert new_id() < new_id()


@given(st.lists(st.integers(min_value=-5_000, max_value=5_000), min_size=1, max_size=60))
def test_ids_rise_strictly_when_the_clock_jumps(jumps: list[int]) -> None:
    """Whatever the clock does, an id is greater than all before it from the same source."""
    clock = ManualClock()
    ids = TimeOrderedIds(clock)
    made = []
    for milliseconds in jumps:
        clock.advance(milliseconds=milliseconds)
        made += [ids.new(), ids.new()]
    assert made == sorted(set(made))
    assert all(is_id(identifier) for identifier in made)


def test_ids_rise_when_a_millisecond_has_more_than_the_counter_holds() -> None:
    """An overflowing counter borrows from the next millisecond instead of repeating itself."""
    ids = TimeOrderedIds(ManualClock())
    made = [ids.new() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert _made_at(made[-1]) <= _made_at(made[0]) + timedelta(milliseconds=5)


def test_id_has_the_millisecond_of_the_clock() -> None:
    """As other programs read it from a UUIDv7."""
    moment = datetime(2026, 6, 20, 14, 30, 15, 123_000, tzinfo=UTC)
    assert _made_at(TimeOrderedIds(ManualClock(moment)).new()) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0199a0f2-1111-4000-8000-000000000001",
        "0199A0F2-1111-7000-8000-000000000001",
        "0199a0f2111170008000000000000001",
        "0199a0f2-1111-7000-c000-000000000001",
        "0199a0f2-1111-7000-8000-000000000001\n",
    ],
)
def test_is_id_refuses_other_forms(text: str) -> None:
    """Only one spelling of an id is an id."""
    assert not is_id(text)


def test_ids_are_unique_between_threads() -> None:
    """Threads that share a source never get the same id."""
    ids = TimeOrderedIds(ManualClock())
    made: list[str] = []

    def make() -> None:
        made.extend([ids.new() for _ in range(500)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 2_000
