"""The server's streams and durable consumers, made equal to what `contracts.streams` declares.

Promise: `apply` creates what is missing (also after the store was deleted in the middle) and updates
what differs, never deletes and never purges; `compare` names every difference, so that a consumer that
somebody changed by hand, which clients ignore in silence, makes its service not ready.

A durable stream keeps everything: no limit of age or number, deletion and purge of messages denied, no
roll-up headers (they purge), and a full stream refuses instead of dropping what is old. A consumer's
deliveries are not bounded by the server, which would drop a message in silence after the last; the bus
counts them and buries the message with its cause.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec
import nats.errors
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ConsumerInfo,
    DeliverPolicy,
    DiscardPolicy,
    PersistMode,
    ReplayPolicy,
    RePublish,
    RetentionPolicy,
    StorageType,
    StoreCompression,
    StreamConfig,
    StreamInfo,
)
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from chassis.bus.connection import Connection
from chassis.clock import SystemClock
from contracts import errors
from contracts.errors import PlatformError
from contracts.lost_streams import streams_lost
from contracts.streams import (
    CONSUMERS,
    DEAD_LETTER_STREAM,
    PROGRESS_STREAM,
    STREAMS,
    ConsumerSpec,
    StreamSpec,
    stream_of,
)
from contracts.subjects import READERS_OF_ALL, SERVICES, dead_letter_subject, once_stored

T = TypeVar("T")

DUPLICATE_WINDOW_SECONDS = 120.0
REPLAY = "replay"
DISMISSAL = "dismissal"
LETTERS_LOST = "wedsync-letters-lost"
"""In the metadata of the dead-letter stream: since when letters of before may be gone (`chassis.bus.lost_letters`)."""
_EXISTENCE = "existence"
_STREAM = "stream "
_NO_STORAGE = (10023, 10047)
"""The server's numbers for: insufficient resources, insufficient storage resources."""
_SHOWN = 8
_NO_TIME = "0001-01-01T00:00:00Z"  # as Go writes a time that is none


class Difference(msgspec.Struct, frozen=True):
    """One setting of the server that is not as declared. `actual` is None where the thing does not exist."""

    subject: str
    setting: str
    declared: object
    actual: object

    @property
    def is_missing(self) -> bool:
        """Whether the stream or consumer is not there at all."""
        return self.setting == _EXISTENCE

    def __str__(self) -> str:
        return f"{self.subject} is missing" if self.is_missing else f"{self.subject}: {self.setting}"


class Change(msgspec.Struct, frozen=True):
    """What `apply` did: `created` or `updated`, and to what. `is_lost`: its letters are, it was there before."""

    what: str
    action: str
    is_lost: bool = False

    def __str__(self) -> str:
        lost = " anew: the dead letters of before are gone (docs/operations.md, section 6)" if self.is_lost else ""
        return f"{self.action} {self.what}{lost}"


def replay_subject(service: str, handler: str, number: int | Literal["*"]) -> str:
    """Where an operator puts a dead letter for the handler to try again; `*`: any of them."""
    return f"{dead_letter_subject(service, handler)}.{REPLAY}.{number}"


def dismissal_subject(service: str, handler: str, number: int | Literal["*"]) -> str:
    """Where an operator says, with the reason, that a dead letter needs no replay; `*`: any of them."""
    return f"{dead_letter_subject(service, handler)}.{DISMISSAL}.{number}"


def replay_consumer(spec: ConsumerSpec) -> ConsumerSpec:
    """The consumer through which a handler gets replayed dead letters; one beside each declared consumer.

    A replay must reach this handler alone, and the stream that the message came from mirrors a record: nothing
    may be added to it. Hence a subject and a consumer of its own.
    """
    return msgspec.structs.replace(
        spec,
        handler=f"{spec.handler}--{REPLAY}",
        stream=DEAD_LETTER_STREAM,
        subjects=(replay_subject(spec.service, spec.handler, "*"),),
    )


def specs_of(service: str) -> tuple[tuple[StreamSpec, ...], tuple[ConsumerSpec, ...]]:
    """What a process needs: the streams that it reads or writes, and its consumers."""
    own = tuple(spec for spec in CONSUMERS if spec.service == service)
    names = {spec.stream for spec in own}
    if service in SERVICES:
        names |= {stream_of(service), DEAD_LETTER_STREAM}
    if service in READERS_OF_ALL:
        names |= {stream_of(owner) for owner in SERVICES} | ({PROGRESS_STREAM} if service == "gateway" else set())
    return tuple(spec for spec in STREAMS if spec.name in names), own


def stream_config(spec: StreamSpec) -> dict[str, Any]:
    """The settings of a stream that are declared, by the names that NATS gives them."""
    return {
        "subjects": sorted(spec.subjects),
        "retention": RetentionPolicy.LIMITS,
        # Progress, too: a single server forgets a memory stream altogether when it is started anew.
        "storage": StorageType.FILE,
        "compression": StoreCompression.S2 if spec.durable else StoreCompression.NONE,
        "discard": DiscardPolicy.NEW if spec.durable else DiscardPolicy.OLD,
        "discard_new_per_subject": False,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": spec.max_bytes,
        "max_age": spec.max_age_seconds,
        "max_msgs_per_subject": spec.max_messages_per_subject,
        "max_msg_size": -1,
        "duplicate_window": DUPLICATE_WINDOW_SECONDS,
        "deny_delete": spec.durable,
        "deny_purge": spec.durable,
        "allow_rollup_hdrs": False,
        "allow_direct": True,
        "sealed": False,
        "no_ack": False,
        "mirror": None,
        "sources": None,
        "republish": _announcement(spec),
        "subject_transform": None,
    }


def _announcement(spec: StreamSpec) -> RePublish | None:
    """The server itself tells what it has stored, in the platform's account: who publishes from another account is
    heard by streams there, but not by whoever listens from a third.
    """
    if not spec.is_announced:
        return None
    (subject,) = spec.subjects
    # As the server answers it: what is false is left out.
    return RePublish(src=subject, dest=once_stored(subject), headers_only=spec.durable or None)


def consumer_config(spec: ConsumerSpec) -> dict[str, Any]:
    """The settings of a consumer that are declared, by the names that NATS gives them."""
    return {
        "durable_name": spec.durable_name,
        "deliver_policy": DeliverPolicy.ALL,
        "ack_policy": AckPolicy.EXPLICIT,
        "ack_wait": spec.ack_wait_seconds,
        "max_deliver": -1,
        "filter_subjects": sorted(spec.subjects),
        "replay_policy": ReplayPolicy.INSTANT,
        "max_ack_pending": spec.max_pending,
        "headers_only": None,
        "deliver_subject": None,
        "backoff": None,
        "rate_limit_bps": None,
        "inactive_threshold": None,
        "pause_until": None,
    }


async def _never() -> bool:
    return False


async def apply(
    js: JetStreamContext,
    streams: Sequence[StreamSpec] = STREAMS,
    consumers: Sequence[ConsumerSpec] = CONSUMERS,
    *,
    readers: Sequence[ConsumerSpec] = (),
    replicas: int = 1,
    was_used: Callable[[], Awaitable[bool]] = _never,
) -> list[Change]:
    """Make the server equal to the declaration, as the topology identity; what was changed, in order.

    `readers`: consumers of other services, which have no dead letters here and so get no replays. `was_used`: whether
    anything was published before; it is asked where the dead-letter stream is not there, which then was lost.

    Raises PlatformError TOPOLOGY_DRIFT where the server refuses a change (the storage of a stream cannot be
    changed), NO_SPACE where its disk has no room for a stream, UNAVAILABLE where it does not answer.
    """
    changes: list[Change] = []
    for stream in streams:
        declared = stream_config(stream)
        config = StreamConfig(name=stream.name, num_replicas=replicas, **declared)
        what = f"{_STREAM}{stream.name}"
        actual = await _found(js.stream_info(stream.name))
        if actual is not None:
            config.persist_mode, config.metadata = actual.config.persist_mode, actual.config.metadata
        elif not stream.durable and replicas == 1:
            # What may be lost need not be synced; the server offers this for unreplicated streams only.
            config.persist_mode = PersistMode.ASYNC
        if actual is None:
            is_lost = stream.name == DEAD_LETTER_STREAM and await was_used()
            config.metadata = {LETTERS_LOST: f"{SystemClock().now():%Y-%m-%dT%H:%M:%SZ}"} if is_lost else None
            await _done(what, js.add_stream(config))
            changes.append(Change(what, "created", is_lost))
        elif _differences(what, declared, vars(actual.config)) or actual.config.num_replicas != replicas:
            await _done(what, js.update_stream(config))
            changes.append(Change(what, "updated"))
    for spec in (*_with_replays(consumers), *readers):
        declared = consumer_config(spec)
        what = f"consumer {spec.durable_name}"
        info = await _found(js.consumer_info(spec.stream, spec.durable_name))
        if info is None or _differences(what, declared, _consumer_settings(info)):
            # The same request creates a durable consumer and updates it; its position is kept.
            config_ = ConsumerConfig(name=spec.durable_name, **{**declared, "headers_only": False})
            await _done(what, js.add_consumer(spec.stream, config_))
            changes.append(Change(what, "created" if info is None else "updated"))
        if info is not None and info.paused:
            # An update leaves a pause as it is; the library's "resume" would leave one that ended in 1970.
            await _done(what, js.pause_consumer(spec.stream, spec.durable_name, _NO_TIME))
    return changes


async def changed_metadata(js: JetStreamContext, info: StreamInfo, *, drop: str, add: Mapping[str, str]) -> None:
    """Write other metadata to a declared stream, all else as it is. Raises as `apply`."""
    (spec,) = (each for each in STREAMS if each.name == info.config.name)
    config = StreamConfig(
        name=spec.name,
        num_replicas=info.config.num_replicas,
        persist_mode=info.config.persist_mode,
        metadata={name: each for name, each in {**(info.config.metadata or {}), **add}.items() if name != drop},
        **stream_config(spec),
    )
    await _done(f"{_STREAM}{spec.name}", js.update_stream(config))


async def compare(
    js: JetStreamContext,
    streams: Sequence[StreamSpec] = STREAMS,
    consumers: Sequence[ConsumerSpec] = CONSUMERS,
) -> list[Difference]:
    """Every difference between the declaration and the server. Empty where all is as declared.

    Raises PlatformError UNAVAILABLE where the server does not answer.
    """
    found: list[Difference] = []
    for stream in streams:
        what = f"{_STREAM}{stream.name}"
        actual = await _found(js.stream_info(stream.name))
        found += _differences(what, stream_config(stream), None if actual is None else vars(actual.config))
    for spec in _with_replays(consumers):
        what = f"consumer {spec.durable_name}"
        info = await _found(js.consumer_info(spec.stream, spec.durable_name))
        settings = None if info is None else _consumer_settings(info)
        found += _differences(what, consumer_config(spec), settings)
    return found


def _with_replays(consumers: Sequence[ConsumerSpec]) -> list[ConsumerSpec]:
    return [each for spec in consumers for each in (spec, replay_consumer(spec))]


def _consumer_settings(info: ConsumerInfo) -> Mapping[str, Any]:
    settings = dict(vars(info.config)) if info.config is not None else {}
    if not info.paused:
        settings["pause_until"] = None  # A pause that is over holds nothing up.
    # The server answers one filter in the singular and several in the plural.
    single = settings.pop("filter_subject", None)
    settings["filter_subjects"] = [single] if single else settings.get("filter_subjects")
    settings["headers_only"] = settings.get("headers_only") or None
    return settings


def _differences(what: str, declared: Mapping[str, Any], actual: Mapping[str, Any] | None) -> list[Difference]:
    if actual is None:
        return [Difference(what, _EXISTENCE, "declared", None)]
    return [
        Difference(what, setting, _plain(value), _plain(actual.get(setting)))
        for setting, value in declared.items()
        if _plain(actual.get(setting)) != _plain(value)
    ]


def _plain(value: Any) -> object:
    """A setting in a form that compares: the server leaves out what is empty, false or zero."""
    if value is None or value is False or value == 0 or value == []:
        return None
    if isinstance(value, list):
        return sorted(str(item) for item in value)
    return str(getattr(value, "value", value)) if not isinstance(value, int | float) else float(value)


async def _found(request: Awaitable[T]) -> T | None:
    try:
        return await request
    except NotFoundError:
        return None
    except (nats.errors.Error, ServiceUnavailableError, OSError) as error:
        raise PlatformError(errors.UNAVAILABLE, "jetstream does not answer") from error


async def _done(what: str, request: Awaitable[object]) -> None:
    try:
        await request
    except ServiceUnavailableError as error:
        raise PlatformError(errors.UNAVAILABLE, "jetstream does not answer") from error
    except APIError as error:
        if error.err_code in _NO_STORAGE:
            raise PlatformError(
                errors.NO_SPACE,
                f"{what} cannot be made: NATS has no room for it on its disk ({error.description})",
                hint="Free space on the disk that NATS keeps its store on, or give it a larger one; then start again.",
                what=what,
            ) from error
        raise PlatformError(
            errors.TOPOLOGY_DRIFT,
            f"{what} cannot be made as declared: {error.description}",
            hint="The server refuses this change on what exists; see the server's message.",
            what=what,
        ) from error
    except (nats.errors.Error, OSError) as error:
        raise PlatformError(errors.UNAVAILABLE, "jetstream does not answer") from error


ANSWER_SECONDS = 4.0
"""Shorter than a readiness check, which could only tell that it has not ended."""


class TopologyCheck:
    """A part whose check compares what one service needs with the server.

    A good result holds for `every_seconds`, a bad one for a second, so that a repair shows at once.
    """

    name = "topology"

    def __init__(self, connection: Connection, service: str, *, every_seconds: float = 15.0) -> None:
        self._connection = connection
        self._streams, self._consumers = specs_of(service)
        self._every_seconds = every_seconds
        self._next = 0.0
        self._last: PlatformError | None = None

    async def start(self) -> None:
        """Nothing is to be started: a service comes up not ready where the topology is not there yet."""

    async def stop(self) -> None:
        """Nothing is to be stopped."""

    async def check(self) -> PlatformError | None:
        """STREAM_MISSING or TOPOLOGY_DRIFT, naming the differences; None where all is as declared."""
        if time.monotonic() >= self._next:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    found = await compare(self._connection.js, self._streams, self._consumers)
            except TimeoutError as error:
                raise PlatformError(errors.UNAVAILABLE, "nats does not answer", part="nats") from error
            self._last = as_error(found)
            self._next = time.monotonic() + (self._every_seconds if self._last is None else 1.0)
        return self._last


def as_error(differences: Sequence[Difference]) -> PlatformError | None:
    """The error that stands for some differences: STREAM_MISSING where something is not there, else TOPOLOGY_DRIFT."""
    if not differences:
        return None
    missing = [difference for difference in differences if difference.is_missing]
    named = [str(difference) for difference in missing or differences]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    message = ", ".join(named[:_SHOWN]) + more
    if missing:
        # Without a stream its consumers are missing, too; a consumer alone is made anew, and reads from the beginning.
        gone = [each.subject.removeprefix(_STREAM) for each in missing if each.subject.startswith(_STREAM)]
        return streams_lost(message, gone, differences=len(differences))
    return PlatformError(errors.TOPOLOGY_DRIFT, message, differences=len(differences))
