"""What becomes of a message, by what its handler raised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.bus.delivery import (
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    Acknowledge,
    Again,
    Bury,
    chance,
    delay,
    verdict,
)
from chassis.record.eventstore import AlreadyHandled
from contracts import errors
from contracts.envelope import MalformedEvent, UnknownEventType
from contracts.errors import PlatformError, Retry, catalogue


def _verdict(error: Exception | None, deliveries: int = 1) -> Acknowledge | Again | Bury:
    return verdict(error, identity="stream:7", deliveries=deliveries, max_deliveries=12)


def test_return_and_repeat_are_acknowledged() -> None:
    """Done is done, also where it had been done before."""
    assert _verdict(None, 12) == Acknowledge()
    assert _verdict(AlreadyHandled(), 12) == Acknowledge(repeated=True)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PlatformError(errors.CONCURRENT_CHANGE, "x"), errors.CONCURRENT_CHANGE),
        (PlatformError(errors.KEYS_UNUSABLE, "x"), errors.KEYS_UNUSABLE),
        (UnknownEventType("a.b.v9"), errors.UNKNOWN_EVENT_VERSION),
        (ValueError("x"), errors.HANDLER_FAILED),
        (TimeoutError(), errors.HANDLER_FAILED),
    ],
)
def test_what_may_succeed_later_is_tried_until_the_last_delivery(error: Exception, code: errors.ErrorCode) -> None:
    """Each delivery but the last leads to another; the last to a dead letter with the same code."""
    for deliveries in range(1, 12):
        decided = _verdict(error, deliveries)
        assert isinstance(decided, Again)
        assert decided.code is code
    assert _verdict(error, 12) == Bury(code)
    assert _verdict(error, 13) == Bury(code)


def test_what_can_never_succeed_is_buried_at_once() -> None:
    """No delivery is wasted on what fails each time."""
    assert _verdict(MalformedEvent("x")) == Bury(errors.MALFORMED_MESSAGE)
    never = [code for code in catalogue().values() if code.retry is Retry.NEVER]
    assert never
    for code in never:
        assert _verdict(PlatformError(code, "x")) == Bury(code)


@given(st.text(max_size=40), st.integers(1, 10_000))
def test_delay_grows_is_bounded_and_is_spread(identity: str, deliveries: int) -> None:
    """Delays double within their bounds, whatever the identity and the number of deliveries."""
    plain = min(FIRST_DELAY_SECONDS * 2.0 ** min(deliveries - 1, 16), LONGEST_DELAY_SECONDS)
    assert plain * 0.75 <= delay(identity, deliveries) <= plain * 1.25
    assert delay(identity, deliveries) == delay(identity, deliveries)


def test_delays_of_different_messages_differ() -> None:
    """A thousand messages that failed together do not come back together."""
    delays = sorted(delay(f"stream:{number}", 5) for number in range(1000))
    assert len(set(delays)) > 990
    assert delays[-1] - delays[0] > 0.4 * delays[500]


def test_twelve_deliveries_take_minutes_and_not_hours() -> None:
    """A handler that waits for another service's fact waits long enough for a restart, and no longer."""
    assert 100 < sum(delay("stream:1", deliveries) for deliveries in range(1, 12)) < 260


def test_chance_orders_the_same_messages_differently_each_time() -> None:
    """Whatever stands before a killer this time may stand behind it the next."""
    orders = {tuple(sorted(range(5), key=lambda number: chance(str(number), n))) for n in range(20)}
    assert len(orders) > 10
