"""The aggregate base: what is recorded, applied and pending."""

import pytest

from contracts.configuration import Tier
from contracts.event import Event
from tests.support.sample_runs import OtherRun, SampleRun, tier_failed


def test_aggregate_is_empty_until_something_is_recorded() -> None:
    """An id alone is no history."""
    run = SampleRun("a")
    assert (run.id, run.version, run.saved_version, run.pending, run.organisation) == ("a", 0, 0, (), None)


def test_record_applies_and_queues() -> None:
    """What was recorded is true at once, and waits to become history."""
    run = SampleRun("a").fail(Tier.LOCAL).fail(Tier.OFFSITE)
    assert run.failed == [Tier.LOCAL, Tier.OFFSITE]
    assert run.pending == (tier_failed("a", Tier.LOCAL), tier_failed("a", Tier.OFFSITE))
    assert (run.version, run.saved_version) == (2, 0)


def test_settle_makes_what_is_pending_history_of_an_organisation() -> None:
    """After a save nothing is pending, and the owner is known."""
    run = SampleRun("a").fail()
    run.settle("org")
    assert (run.version, run.saved_version, run.pending, run.organisation) == (1, 1, (), "org")


def test_settle_leaves_an_aggregate_without_history_without_an_owner() -> None:
    """A save of nothing decides nothing."""
    run = SampleRun("a")
    run.settle("org")
    assert run.organisation is None


def test_record_refuses_an_event_without_a_pinned_name() -> None:
    """What could not be read again is never recorded."""

    class Nameless(Event, frozen=True, kw_only=True):
        pass

    run = SampleRun("a")
    with pytest.raises(TypeError, match="no pinned name"):
        run.record(Nameless())
    assert run.version == 0


def test_aggregates_are_equal_by_kind_and_state() -> None:
    """Two copies with the same history are equal; another kind is not."""
    assert SampleRun("a").fail() == SampleRun("a").fail()
    assert SampleRun("a").fail() != SampleRun("a").fail(Tier.OFFSITE)
    assert SampleRun("a") != OtherRun("a")
    assert repr(SampleRun("a").fail()) == "<executor.sample-run a at version 1>"
