"""A database that is known to be away, and deadlines that requests share."""

import pytest

from chassis.postgres.circuit import (
    LEAST_SECONDS,
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    STALE_SECONDS,
    Circuit,
    answering,
    patience,
)
from contracts import errors
from contracts.errors import PlatformError


class _Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _is_admitted(circuit: Circuit) -> bool:
    try:
        circuit.admit()
    except PlatformError:
        return False
    return True


def test_circuit_lets_all_through_until_one_has_waited_in_vain() -> None:
    """What has not failed yet is not judged; after that nobody waits, but for one each half second."""
    clock = _Time()
    circuit = Circuit(clock)
    assert all(_is_admitted(circuit) for _ in range(20))
    circuit.failed()
    assert not _is_admitted(circuit)
    clock.now += LOOK_SECONDS
    assert [_is_admitted(circuit) for _ in range(3)] == [True, False, False]
    clock.now += LOOK_SECONDS
    assert [_is_admitted(circuit) for _ in range(3)] == [True, False, False]
    circuit.succeeded()
    assert all(_is_admitted(circuit) for _ in range(20))


def test_refusal_says_what_is_away_and_when_to_come_again() -> None:
    """Who is turned away at once can tell his caller for how long."""
    circuit = Circuit()
    circuit.failed()
    with pytest.raises(PlatformError) as refused:
        circuit.admit()
    assert refused.value.code is errors.UNAVAILABLE
    assert (refused.value.context["part"], refused.value.context["retry_after_seconds"]) == ("postgres", 1)


def test_patience_ends_with_the_request() -> None:
    """All calls of a request share its time; one that has used it up still gets a little for each."""
    assert patience() == PATIENCE_SECONDS
    with answering(2.0):
        assert LEAST_SECONDS < patience() <= 2.0
    with answering(0.0):
        assert patience() == LEAST_SECONDS
    with answering():
        assert patience() <= PATIENCE_SECONDS
    with answering(-STALE_SECONDS - 1):
        # A task that goes on without the request that has begun it.
        assert patience() == PATIENCE_SECONDS
    assert patience() == PATIENCE_SECONDS
