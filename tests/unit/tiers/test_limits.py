"""Limits of a tier: rates and requests at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from repository.tiers.limits import Limits, Pace, Throttle


class Time:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now = 50.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def wait(self, seconds: float) -> None:
        """Sleep at once."""
        self.now += seconds


@pytest.mark.parametrize("step", [100, 1000, 50_000])
def test_pace_keeps_the_rate(step: int) -> None:
    """Over time the bytes come out at the rate, whatever the size of the steps; the burst is a quarter second."""
    time = Time()
    pace = Pace(10_000, monotonic=time.monotonic, wait=time.wait)
    for _ in range(200_000 // step):
        pace.take(step)
    assert 20 - 0.26 <= time.now - 50 <= 20


def test_pace_saves_up_no_more_than_a_burst() -> None:
    """Time in which nothing was moved is not made up for afterwards."""
    time = Time()
    pace = Pace(10_000, monotonic=time.monotonic, wait=time.wait)
    pace.take(10)
    time.now += 1000
    began = time.now
    pace.take(2500)
    assert time.now == began
    pace.take(10_000)
    assert time.now - began == pytest.approx(1.0)


def test_pace_without_a_rate_never_waits() -> None:
    """No rate, no limit."""
    pace = Pace(None, wait=lambda _: pytest.fail("it waits"))
    pace.take(1 << 40)
    assert pace.step_bytes is None


def test_pace_suggests_steps_that_fit_the_rate() -> None:
    """Steps are a fraction of a second's bytes, within limits."""
    assert [Pace(rate).step_bytes for rate in (1, 1 << 20, 1 << 30)] == [4096, 65_536, 1 << 20]


def test_throttle_holds_requests_to_their_number() -> None:
    """No more requests than allowed run at a time."""
    throttle = Throttle(Limits(requests=3))
    running, most, lock = 0, 0, threading.Lock()

    def request(_: int) -> None:
        nonlocal running, most
        with throttle.request():
            with lock:
                running += 1
                most = max(most, running)
            threading.Event().wait(0.002)
            with lock:
                running -= 1

    with ThreadPoolExecutor(10) as pool:
        for _ in pool.map(request, range(60)):
            pass
    assert most == 3


@pytest.mark.parametrize(
    "limits", [Limits(requests=0), Limits(upload_bytes_per_second=0), Limits(download_bytes_per_second=-1)]
)
def test_throttle_refuses_a_limit_that_lets_nothing_through(limits: Limits) -> None:
    """A limit of nothing is a mistake."""
    with pytest.raises(ValueError, match="at least 1"):
        Throttle(limits)
