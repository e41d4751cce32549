"""What becomes of a delivered message, decided from what its handler raised. Pure.

| what was raised | verdict |
|---|---|
| nothing, `AlreadyHandled` | acknowledged |
| PlatformError UNAVAILABLE | held: called again, without a new delivery, until the platform's part is back |
| other PlatformError, retry `later` or `after-operator` | delivered again after a growing delay; after the last, dead |
| PlatformError, retry `never` | dead at once: a handler that can refuse records the refusal instead |
| unknown version of an event | like `later`: a rolling update brings the build that knows it |
| malformed | dead at once |
| anything else | like `later` |
| nothing at all (the process died each time) | dead before the handler is called once more |

Delays double from 0.2 s to 30 s and are spread by up to a quarter; twelve deliveries take about two and a
half minutes. The spread is drawn from the message's identity, so that it needs no random source.
"""

import hashlib

import msgspec

from chassis.record.eventstore import AlreadyHandled
from contracts import errors
from contracts.envelope import MalformedEvent, UnknownEventType
from contracts.errors import ErrorCode, PlatformError, Retry

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 30.0
_SPREAD = 0.25


class Acknowledge(msgspec.Struct, frozen=True):
    """Done. `repeated`: it had been handled before."""

    repeated: bool = False


class Again(msgspec.Struct, frozen=True):
    """Deliver it again after a delay."""

    delay_seconds: float
    code: ErrorCode


class Bury(msgspec.Struct, frozen=True):
    """Give it up: to the dead letters with this code."""

    code: ErrorCode


Verdict = Acknowledge | Again | Bury


def verdict(error: Exception | None, *, identity: str, deliveries: int, max_deliveries: int) -> Verdict:
    """What to do with a message after its handler returned (None) or raised.

    `identity` spreads the delays of different messages; `deliveries` counts from 1, this one included.
    """
    match error:
        case None:
            return Acknowledge()
        case AlreadyHandled():
            return Acknowledge(repeated=True)
        case MalformedEvent():
            return Bury(errors.MALFORMED_MESSAGE)
        case UnknownEventType():
            code = errors.UNKNOWN_EVENT_VERSION
        case PlatformError():
            code = error.code
        case _:
            code = errors.HANDLER_FAILED
    if code.retry is Retry.NEVER or deliveries >= max_deliveries:
        return Bury(code)
    return Again(delay(identity, deliveries), code)


def delay(identity: str, deliveries: int) -> float:
    """Seconds until the next delivery, after this many."""
    # The exponent is bounded before it is used: 2.0 to the power of a long crash loop is not a float.
    plain = min(FIRST_DELAY_SECONDS * 2.0 ** min(deliveries - 1, 16), LONGEST_DELAY_SECONDS)
    return plain * (1 + _SPREAD * (2 * chance(identity, deliveries) - 1))


def chance(identity: str, deliveries: int) -> float:
    """A number from 0 to 1 that differs from message to message and from delivery to delivery."""
    digest = hashlib.blake2s(f"{identity}:{deliveries}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 0xFFFFFFFF
