"""Trying again: how long, how often, and when not."""

from collections.abc import Callable

import pytest

from repository.errors import ObjectMissing, TierUnreachable
from repository.tiers.retry import Retrier, RetryPolicy, TryAgain

POLICY = RetryPolicy(budget_seconds=60, first_wait_seconds=1, longest_wait_seconds=8, server_wait_seconds_max=20)


class Time:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def wait(self, seconds: float) -> bool:
        """Sleep at once."""
        self.waits.append(seconds)
        self.now += seconds
        return False


class Fractions:
    """Randomness of which each draw is one fraction of the possible."""

    def __init__(self, *fractions: float) -> None:
        self._fractions = list(fractions)

    def token_bytes(self, count: int) -> bytes:
        """The next fraction as a number of so many bytes; the last one again and again."""
        fraction = self._fractions.pop(0) if len(self._fractions) > 1 else self._fractions[0]
        return min(int(fraction * 256**count), 256**count - 1).to_bytes(count, "big")


def failing(time: Time, *, seconds: float = 1.0, **options: object) -> Callable[[], None]:
    """An attempt that fails after so many seconds."""

    def attempt() -> None:
        time.now += seconds
        raise TryAgain(TierUnreachable("down"), **options)  # type: ignore[arg-type]

    return attempt


def retrier(time: Time, *fractions: float) -> Retrier:
    return Retrier(POLICY, randomness=Fractions(*(fractions or (1.0,))), monotonic=time.monotonic, wait=time.wait)


def test_retrier_waits_a_random_part_of_a_doubling_bound() -> None:
    """Each wait lies between nothing and a bound that doubles up to the longest."""
    time = Time()
    outcomes = iter([True] * 6 + [False])

    def attempt() -> str:
        if next(outcomes):
            raise TryAgain(TierUnreachable("down"))
        return "done"

    assert retrier(time, 1.0, 0.5, 0.0, 0.25, 1.0, 0.5).run(attempt) == "done"
    assert time.waits == pytest.approx([1.0, 1.0, 0.0, 2.0, 8.0, 4.0])


def test_retrier_gives_up_when_the_budget_is_spent() -> None:
    """The last error comes out, at the latest when the budget has passed."""
    time = Time()
    with pytest.raises(TierUnreachable):
        retrier(time).run(failing(time))
    assert 1000 + 60 - 9 <= time.now <= 1000 + 61


def test_retrier_passes_other_errors_at_once() -> None:
    """What will not pass is not tried again."""
    time = Time()

    def attempt() -> None:
        raise ObjectMissing("gone")

    with pytest.raises(ObjectMissing):
        retrier(time).run(attempt)
    assert time.waits == []


def test_retrier_waits_as_long_as_the_server_asks() -> None:
    """A server's Retry-After is a lower bound, up to a limit."""
    time = Time()
    for asked, waited in ((15.0, 15.0), (3600.0, 20.0), (0.1, 1.0)):
        answers = iter([TryAgain(TierUnreachable("busy"), at_least_seconds=asked)])

        def attempt(answers: object = answers) -> str:
            for answer in answers:  # type: ignore[attr-defined]
                raise answer
            return "done"

        time.waits.clear()
        assert retrier(time).run(attempt) == "done"
        assert time.waits == pytest.approx([waited])


def test_retrier_shares_one_budget_between_calls() -> None:
    """Of a tier that is down each further call costs a single attempt, until one succeeds."""
    time = Time()
    shared = retrier(time)
    with pytest.raises(TierUnreachable):
        shared.run(failing(time))
    time.now = 1000 + POLICY.budget_seconds
    for _ in range(3):
        began, count = time.now, len(time.waits)
        with pytest.raises(TierUnreachable):
            shared.run(failing(time))
        assert time.now - began == pytest.approx(1.0)
        assert len(time.waits) == count
    assert shared.run(lambda: "up") == "up"
    count = len(time.waits)
    with pytest.raises(TierUnreachable):
        shared.run(failing(time))
    assert len(time.waits) > count + 3


def test_retrier_forgives_an_outage_of_long_ago() -> None:
    """When nothing was tried for as long as the budget, the next failure has the whole budget again."""
    time = Time()
    shared = retrier(time)
    with pytest.raises(TierUnreachable):
        shared.run(failing(time))
    time.now += 61
    count = len(time.waits)
    with pytest.raises(TierUnreachable):
        shared.run(failing(time))
    assert len(time.waits) > count + 3


def test_retrier_goes_on_while_there_is_progress() -> None:
    """A transfer that breaks off again and again but moves on is not given up, and waits little."""
    time = Time()
    left = [1] * 200

    def attempt() -> str:
        time.now += 1
        if left.pop():
            raise TryAgain(TierUnreachable("reset"), progress=True)
        return "done"

    left.insert(0, 0)
    assert retrier(time).run(attempt) == "done"
    assert max(time.waits) <= 1.0


def test_retrier_stops_waiting_when_it_is_closed() -> None:
    """Closing ends the waiting of all calls with their last error."""
    closed = Retrier(POLICY, randomness=Fractions(1.0))
    closed.close()
    time = Time()
    with pytest.raises(TierUnreachable):
        closed.run(failing(time))
    assert time.now == 1001.0
