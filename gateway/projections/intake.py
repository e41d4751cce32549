"""From the messages of a stream to events that can be applied, and what is passed over on the way.

What cannot be applied costs itself alone: a message that no relay has published, one that cannot be read, an event
that this build does not know, or one with a value that the tables do not take. It is counted, shown by the readiness
report with what to do, and passed over; no view is ever emptied for it. What is applied with a value that this build
does not know is remembered among them: the build that knows it makes the read models anew.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import psycopg

from chassis.reading.stored import StoredMessage
from chassis.reading.stream_reader import Found
from chassis.telemetry.logging import describe
from chassis.upcasting import UPCASTERS, read_event
from contracts import errors
from contracts.envelope import Envelope, MalformedEvent, UnknownEventType, decode
from contracts.errors import PlatformError
from contracts.event import event_class
from contracts.reading import is_known_member, unknown_members
from contracts.streams import owner_of
from gateway.projections.applied import Applied, Database
from gateway.projections.projection import Side, projected

LOG = logging.getLogger(__name__)

STRAY = "stray"
MALFORMED = "malformed"
MEMBER_LENGTH_MAX = 100
UNKNOWN = "unknown"
MEMBER = "unknown-member"
"""An event that was applied, with `unknown` where it has a member of an enum that this build does not know."""
UNFIT = "unfit"
AHEAD_SECONDS = 5.0
"""Clocks differ by less; more is told."""
_NOT_TAKEN = (psycopg.DataError, ArithmeticError, ValueError, msgspec.MsgspecError)
"""What is raised for a value that a table, or a view, cannot hold: a number that is too large, a character."""

_NOTE = """
    INSERT INTO passed_over AS known (side, stream, reason, type, number, last_sequence) VALUES (%s, %s, %s, %s, 1, %s)
    ON CONFLICT (side, stream, reason, type) DO UPDATE SET
        number = known.number + CASE WHEN excluded.last_sequence > known.last_sequence THEN 1 ELSE 0 END,
        last_sequence = greatest(known.last_sequence, excluded.last_sequence)
"""
_KNOWN = """
    SELECT stream, reason, type, number, last_sequence FROM passed_over
    WHERE side = 'live' ORDER BY stream, reason, type
"""


class PassedOver(msgspec.Struct, frozen=True):
    """Messages that were passed over: why, of which type where that is known, and the last one's sequence."""

    stream: str
    reason: str
    type: str
    number: int
    last_sequence: int


class Intake(msgspec.Struct, frozen=True):
    """Events to apply, and what was passed over."""

    events: Sequence[Applied]
    passed: Sequence[PassedOver]


def taken_in(stream: str, found: Found) -> Intake:
    """The events among messages, in their newest version."""
    events: list[Applied] = []
    passed = [PassedOver(stream, STRAY, "", 1, stray.sequence) for stray in found.strays]
    with unknown_members() as met:
        for message in found.events:
            name = ""
            met.clear()
            try:
                envelope = decode(message.body)
                name = envelope.type
                known = event_class(UPCASTERS.newest(name))
                if known is None or known in projected():
                    events.append(Applied(_not_ahead(envelope, message), read_event(envelope), message.position))
                    passed += [PassedOver(stream, MEMBER, _as_text(each), 1, message.sequence) for each in sorted(met)]
            except (UnknownEventType, MalformedEvent) as error:
                reason = UNKNOWN if isinstance(error, UnknownEventType) else MALFORMED
                passed.append(PassedOver(stream, reason, _shown(name), 1, message.sequence))
                LOG.error("event passed over", extra={"stream": stream, "type": name[:100], "cause": describe(error)})
    if found.strays:
        LOG.error("passed over what no relay has published", extra={"stream": stream, "messages": len(found.strays)})
    return Intake(events, passed)


def _not_ahead(envelope: Envelope, message: StoredMessage) -> Envelope:
    """An event is no younger than its message: a clock that was ahead would make a backup look good for as long."""
    arrived = message.arrived
    if arrived is None or envelope.time <= arrived:
        return envelope
    ahead = (envelope.time - arrived).total_seconds()
    if ahead > AHEAD_SECONDS:
        LOG.warning("the clock of who recorded an event was ahead", extra={"type": envelope.type, "seconds": ahead})
    return msgspec.structs.replace(envelope, time=arrived)


def _as_text(member: str) -> str:
    """What Postgres takes: a member is a short word, and what is none is no member of any build to come."""
    return member if len(member) <= MEMBER_LENGTH_MAX and member.isprintable() else ""


def _shown(name: str) -> str:
    """A type as it is written down: whoever has published it may have put anything there."""
    return name[:200].replace("\0", "\N{REPLACEMENT CHARACTER}")


async def apply_what_fits(stream: str, found: Found, apply: Callable[[Found, Intake], Awaitable[bool]]) -> bool:
    """Hand what was found to `apply`, a transaction each; whether it has taken all of it.

    An event whose values are not taken is looked for by halves, and passed over by itself. `apply` says whether it
    went on to the place of what it was given; the next half follows only then.
    """
    try:
        return await apply(found, taken_in(stream, found))
    except _NOT_TAKEN as error:
        events = found.events
        if not events:
            raise
        if len(events) == 1:
            LOG.error("event passed over", extra={"stream": stream, "cause": describe(error)})
            return await apply(found, _without(stream, found))
    middle = len(events) // 2
    first = Found(events[:middle], found.strays, events[middle - 1].place)
    rest = Found(events[middle:], (), found.place)
    return await apply_what_fits(stream, first, apply) and await apply_what_fits(stream, rest, apply)


def _without(stream: str, found: Found) -> Intake:
    """What was found without the events, which are passed over."""
    taken = taken_in(stream, found)
    unfit = [PassedOver(stream, UNFIT, _shown(each.envelope.type), 1, found.place.sequence) for each in taken.events]
    return Intake((), [*taken.passed, *unfit])


async def note(database: Database, side: Side, passed: Sequence[PassedOver]) -> None:
    """Remember what was passed over, each message once, in the transaction that goes past it."""
    for each in passed:
        row = (side.value, each.stream, each.reason, each.type, each.last_sequence)
        await database.execute(_NOTE, row)


async def passed_over(database: Database) -> list[PassedOver]:
    """What is missing from the read models that answer."""
    rows = await (await database.execute(_KNOWN)).fetchall()
    return [PassedOver(*row) for row in rows]


def is_known_now(each: PassedOver) -> bool:
    """Whether this build can read what an earlier one has passed over."""
    if each.reason == MEMBER:
        return is_known_member(each.type)
    return each.reason == UNKNOWN and event_class(UPCASTERS.newest(each.type)) is not None


def complaint(passed: Sequence[PassedOver], *reasons: str) -> PlatformError | None:
    """What to say of messages that were passed over for some reasons, and what to do about them."""
    about = [each for each in passed if each.reason in reasons]
    if not about:
        return None
    number = sum(each.number for each in about)
    where = ", ".join(sorted({f"{each.stream} up to sequence {each.last_sequence}" for each in about}))
    owner = owner_of(about[0].stream)
    if STRAY in reasons:
        return PlatformError(
            errors.STREAM_OF_ANOTHER_LOG,
            f"{number} messages that no relay has published were passed over ({where})",
            hint="Somebody publishes under the service's key: find out who. "
            "Then wedsync-backup refill SERVICE --new-incarnation: it leaves the messages behind.",
            service=owner,
        )
    if UNFIT in reasons:
        return PlatformError(
            errors.MALFORMED_MESSAGE,
            f"{number} events with a value that the read models cannot hold are missing from them ({where})",
            hint=f"What they say is in the record of {owner} alone, and is not shown; everything else is. Tell whoever "
            "develops it: a version that can hold them makes the read models anew.",
        )
    return PlatformError(
        errors.UNKNOWN_EVENT_VERSION,
        f"{number} events that this build cannot read are missing from the read models, wholly or in part ({where})",
        hint="Update the gateway: it takes in by itself what it knows then. For an event that is damaged run "
        "wedsync-backup refill SERVICE --new-incarnation.",
        service=owner,
    )
