"""Dead letters: messages that could not be handled, kept with their cause, to be looked at and replayed.

Promise: a message leaves its queue only after it was acknowledged here. A dead letter carries the
original bytes and, in the header `Wedsync-Dead-Letter` (ASCII JSON), where it was, who gave it up, why, and
its original headers. A replay goes to the handler that gave it up and to nobody else; nothing is added to
the stream that it came from, which mirrors a record. Replaying twice by mistake is one replay (within the
server's duplicate window), and a handler recognises what it has handled anyway.

| subject | what |
|---|---|
| `deadletter.<service>.<handler>` | dead letters |
| `deadletter.<service>.<handler>.replay.<number>` | replays, read by the handler through its second consumer |
| `deadletter.<service>.<handler>.dismissal.<number>` | why an operator has dismissed it; the dead letter stays |

The number is the dead letter's: from the subjects alone it is seen which of them are left. Only the operator's key
publishes replays and dismissals: a service that gives messages up does not settle that itself.

One whose header cannot be read, or that is written in another handler's name, is an event without its effect as any
other: it is listed and shown as unreadable, under the handler that its subject names, and can be dismissed.
"""

import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import nats.errors
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import APIError, NotFoundError

from chassis.bus.topology import dismissal_subject, replay_subject
from contracts import errors
from contracts.errors import PlatformError
from contracts.lost_streams import streams_lost
from contracts.streams import DEAD_LETTER_STREAM
from contracts.subjects import DEAD_LETTERS, dead_letter_subject

HEADER = "Wedsync-Dead-Letter"
REPLAY_HEADER = "Wedsync-Replay-Of"
_MARGIN_BYTES = 1024
_LONGEST_CAUSE = 2000
_LONGEST_ID = 200
_ACK_SECONDS = 5.0


class Burial(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Why a message is here. `stream` and `sequence` name the original, which the stream keeps.

    `body_omitted`: the message was too large to be kept beside its cause; it is read from its stream.
    `replay_of`: the dead letter whose replay this was.
    """

    version: int
    service: str
    handler: str
    code: str
    cause: str
    deliveries: int
    time: datetime
    stream: str
    sequence: int
    subject: str
    headers: dict[str, str] = {}
    body_omitted: bool = False
    replay_of: int | None = None


class Dismissal(msgspec.Struct, frozen=True, kw_only=True):
    """An operator has looked at a dead letter, and it needs no replay."""

    time: datetime
    reason: str


_BURIAL = msgspec.json.Decoder(Burial)
_DISMISSAL = msgspec.json.Decoder(Dismissal)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter. `number` is its place in the dead-letter stream; `replays` how often it was replayed.

    `unreadable`: why its header says nothing; `burial` is then what the server alone knows of it.
    """

    number: int
    burial: Burial
    body: bytes
    replays: int = 0
    dismissal: Dismissal | None = None
    unreadable: str | None = None


class _Answers(msgspec.Struct, frozen=True):
    """What was done about dead letters, by subject: how often each was replayed, and why one was dismissed."""

    replays: Mapping[str, int]
    dismissals: Mapping[str, Dismissal]


async def bury(js: JetStreamContext, burial: Burial, body: bytes, *, max_payload: int) -> None:
    """Keep a message as a dead letter. Returns once the server has it; raises PlatformError UNAVAILABLE otherwise.

    The same delivery buried twice (a crash between this and taking it from its queue) is one dead letter.
    """
    burial = msgspec.structs.replace(burial, cause=burial.cause[:_LONGEST_CAUSE])
    if len(body) + len(_header(burial)) + _MARGIN_BYTES > max_payload:
        burial, body = msgspec.structs.replace(burial, body_omitted=True), b""
    if len(_header(burial)) + _MARGIN_BYTES > max_payload:
        burial = msgspec.structs.replace(burial, headers={})
    headers = {
        HEADER: _header(burial),
        "Nats-Msg-Id": f"{burial.service}--{burial.handler}:{burial.stream}:{burial.sequence}",
    }
    try:
        await js.publish(
            dead_letter_subject(burial.service, burial.handler),
            body,
            timeout=_ACK_SECONDS,
            stream=DEAD_LETTER_STREAM,
            headers=headers,
        )
    except (nats.errors.Error, OSError) as error:
        raise PlatformError(errors.UNAVAILABLE, "the dead-letter stream does not take the message") from error


def _header(burial: Burial) -> str:
    # ASCII, since headers pass through parsers that expect no more.
    return json.dumps(msgspec.to_builtins(burial), ensure_ascii=True, separators=(",", ":"))


async def list_letters(
    js: JetStreamContext,
    *,
    service: str | None = None,
    handler: str | None = None,
    include_replayed: bool = False,
    after: int = 0,
) -> AsyncIterator[DeadLetter]:
    """Dead letters in the order in which they were buried, after a number. Raises PlatformError STREAM_MISSING.

    Those that were replayed or dismissed are left out, unless `include_replayed`.
    """
    answers = await _answers(js)
    async for message in _messages(js, f"{DEAD_LETTERS}.{service or '*'}.{handler or '*'}", after=after):
        letter = _letter(message, answers)
        if letter is not None and (include_replayed or (letter.replays == 0 and letter.dismissal is None)):
            yield letter


async def show(js: JetStreamContext, number: int) -> DeadLetter:
    """One dead letter, with its body. Raises PlatformError NOT_FOUND."""
    with contextlib.suppress(NotFoundError):
        letter = _letter(await js.get_msg(DEAD_LETTER_STREAM, seq=number), await _answers(js))
        if letter is not None:
            return letter
    raise PlatformError(
        errors.NOT_FOUND,
        f"there is no dead letter {number}",
        hint="Those that there are: wedsync-backup deadletters list --all.",
        number=number,
    )


async def replay(js: JetStreamContext, letter: DeadLetter) -> None:
    """Put a dead letter before its handler again. Returns once the server has it.

    Raises PlatformError INVALID_FIELD where it was dismissed, MALFORMED_MESSAGE where it is unreadable, NOT_FOUND where
    a body that was too large to keep is no longer in its stream, UNAVAILABLE where the server does not take it.
    """
    check_replayable([letter])
    burial = letter.burial
    body = letter.body
    if burial.body_omitted:
        body = await _original(js, burial)
    headers = {
        **{name: value for name, value in burial.headers.items() if not name.lower().startswith("nats-")},
        REPLAY_HEADER: str(letter.number),
        "Nats-Msg-Id": f"replay:{letter.number}:{letter.replays}",
    }
    try:
        await js.publish(
            replay_subject(burial.service, burial.handler, letter.number),
            body,
            timeout=_ACK_SECONDS,
            stream=DEAD_LETTER_STREAM,
            headers=headers,
        )
    except (nats.errors.Error, OSError) as error:
        raise PlatformError(errors.UNAVAILABLE, "the dead-letter stream does not take the replay") from error


def check_replayable(letters: Iterable[DeadLetter]) -> None:
    """Raise what `replay` raises for the first of them that cannot be replayed, before any is."""
    for letter in letters:
        if letter.dismissal is not None:
            raise PlatformError(
                errors.INVALID_FIELD,
                f"dead letter {letter.number} was dismissed: {letter.dismissal.reason}",
                hint="What was dismissed stays so, and is not replayed. Is what it asked for wanted after all, have it "
                "asked for again.",
            )
        if letter.unreadable is not None:
            raise PlatformError(
                errors.MALFORMED_MESSAGE,
                f"dead letter {letter.number} is not replayed, since {letter.unreadable}",
                hint=f"Look at it with wedsync-backup deadletters show {letter.number}; what it was about is in its "
                f"sender's record. Then run wedsync-backup deadletters dismiss {letter.number} --reason TEXT.",
                number=letter.number,
            )


async def dismiss(js: JetStreamContext, letter: DeadLetter, dismissal: Dismissal) -> None:
    """Say that a dead letter needs no replay. It stays, with the reason beside it. Returns once the server has it.

    Raises PlatformError INVALID_FIELD where it was replayed or dismissed before, UNAVAILABLE where the server does not
    take it.
    """
    if letter.replays or letter.dismissal is not None:
        done = "replayed" if letter.replays else "dismissed"
        raise PlatformError(
            errors.INVALID_FIELD,
            f"dead letter {letter.number} was {done} before: nothing is to be done",
            hint=f"What became of it: wedsync-backup deadletters show {letter.number}",
        )
    headers = {"Nats-Msg-Id": f"dismissal:{letter.number}"}
    subject = dismissal_subject(letter.burial.service, letter.burial.handler, letter.number)
    try:
        body = msgspec.json.encode(dismissal)
        await js.publish(subject, body, timeout=_ACK_SECONDS, stream=DEAD_LETTER_STREAM, headers=headers)
    except (nats.errors.Error, OSError) as error:
        raise PlatformError(errors.UNAVAILABLE, "the dead-letter stream does not take the dismissal") from error


async def _original(js: JetStreamContext, burial: Burial) -> bytes:
    try:
        message = await js.get_msg(burial.stream, seq=burial.sequence)
    except NotFoundError as error:
        raise PlatformError(
            errors.NOT_FOUND,
            f"the original, message {burial.sequence} of {burial.stream}, is gone",
            hint="Refill the stream from its owner's record; the event is delivered again by itself.",
        ) from error
    return message.data or b""


async def _answers(js: JetStreamContext) -> _Answers:
    replays: Counter[str] = Counter()
    async for message in _messages(js, replay_subject("*", "*", "*")):
        replays[message.subject or ""] += 1
    dismissals: dict[str, Dismissal] = {}
    async for message in _messages(js, dismissal_subject("*", "*", "*")):
        try:
            found = _DISMISSAL.decode(message.data or b"")
        except msgspec.MsgspecError:
            # It settles the letter nevertheless: from the subjects alone is seen which are left.
            found = Dismissal(time=message.time or datetime.min.replace(tzinfo=UTC), reason="(unreadable)")
        dismissals.setdefault(message.subject or "", found)
    return _Answers(replays, dismissals)


async def _messages(js: JetStreamContext, subject: str, *, after: int = 0) -> AsyncIterator[RawStreamMsg]:
    """The messages of the dead-letter stream that match a subject, one request each: there should be few."""
    while True:
        try:
            message = await js.get_msg(DEAD_LETTER_STREAM, seq=after + 1, subject=subject, next=True)
        except NotFoundError as error:
            if error.err_code == _NO_STREAM:
                raise streams_lost("there is no dead-letter stream", [DEAD_LETTER_STREAM]) from error
            return
        except (nats.errors.Error, APIError, OSError) as error:
            raise PlatformError(errors.UNAVAILABLE, "jetstream does not answer") from error
        if message.seq is None:
            return
        after = message.seq
        yield message


_NO_STREAM = 10059


def _letter(message: RawStreamMsg, answers: _Answers) -> DeadLetter | None:
    """The dead letter that a message of their stream is; None for a replay, a dismissal and what is no such thing."""
    named = (message.subject or "").removeprefix(f"{DEAD_LETTERS}.").split(".")
    if len(named) != 2 or message.seq is None:
        return None
    service, handler = named
    burial, unreadable = _burial_of(message, service, handler)
    return DeadLetter(
        number=message.seq,
        burial=burial,
        body=message.data or b"",
        replays=answers.replays.get(replay_subject(service, handler, message.seq), 0),
        dismissal=answers.dismissals.get(dismissal_subject(service, handler, message.seq)),
        unreadable=unreadable,
    )


def _burial_of(message: RawStreamMsg, service: str, handler: str) -> tuple[Burial, str | None]:
    """What a dead letter's header says, or what the server knows of it, and why it says nothing."""
    headers = message.headers or {}
    unreadable = "its header cannot be read"
    with contextlib.suppress(msgspec.MsgspecError):
        burial = _BURIAL.decode(headers.get(HEADER, ""))
        # Only the subject is under the server's permissions. Who writes another's name into the header would have
        # the operator replay a message of his making before that one's handler.
        if (burial.service, burial.handler) == (service, handler):
            return burial, None
        unreadable = "it is written in another handler's name"
    known = Burial(
        version=0,
        service=service,
        handler=handler,
        code=errors.MALFORMED_MESSAGE.code,
        cause=f"unreadable: {unreadable}",
        deliveries=0,
        time=message.time or datetime.min.replace(tzinfo=UTC),
        stream=DEAD_LETTER_STREAM,
        sequence=message.seq or 0,
        subject=message.subject or "",
        # Of the headers only the one that the server itself reads, in letters that a terminal does not obey.
        headers={name: ascii(headers[name])[:_LONGEST_ID] for name in ("Nats-Msg-Id",) if name in headers},
    )
    return known, unreadable


def as_builtins(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter for a machine to read: everything but the body, which may be anything."""
    return {
        "number": letter.number,
        "replays": letter.replays,
        "dismissal": msgspec.to_builtins(letter.dismissal),
        "bodyBytes": len(letter.body),
        "unreadable": letter.unreadable,
        **msgspec.to_builtins(letter.burial),
    }
