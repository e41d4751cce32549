"""Appends to a stream: each append is one small object on every tier, the same bytes everywhere.

Promise: when `append` returns, the bytes are durable on every tier whose result says so, at the position that it
names, behind all that was appended before. Of two writers one is told. A tier that is away, or slow, holds nobody up
for longer than `patience_seconds`: it is told with each append, asked again now and then, and brought what it missed,
a few pieces with each append; `catch_up` brings it all. (The one that decides is waited for; should it fail, another
one decides.) An append that is made again (after a crash, say) with the same bytes at the same position changes
nothing.

One tier, the same for all writers that see the same tiers, decides which bytes have a number: there the piece is
created first, on condition that there is none. No locks, no leases, no clocks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple

from repository.errors import AlreadyExists, NoUsableTier, RepositoryError, TextInvalid, TierBehind
from repository.format import Buffer
from repository.keys import crypto
from repository.keys.key_ring import DEFAULT_DOMAIN
from repository.opened.open_tiers import OpenTiers
from repository.stored.stream_piece import Piece, encode_piece
from repository.streams.copy import Copy
from repository.streams.errors import AppendNotDurable, StreamContended, StreamForked, StreamGap
from repository.streams.on_tier import StreamHead, TierStream, may_be_elsewhere, unasked, whole_piece
from repository.streams.survey import survey

PATIENCE_SECONDS: Final = 10.0
SAID_EVERY: Final = 256
"""Pieces after which the tier's log says how far the stream reaches: what is cut off before that shows in it."""


class Durability(StrEnum):
    """What became of an append on one tier."""

    DURABLE = "durable"
    BEHIND = "behind"  # lacks pieces from before; gets them with the next appends, or by catch-up
    FAILED = "failed"


class Appended(NamedTuple):
    """Where the bytes are. `tiers`: of each tier of the repository. `errors`: why a tier does not have them."""

    number: int
    position: int
    end: int
    tiers: dict[str, Durability]
    errors: dict[str, RepositoryError]

    @property
    def is_degraded(self) -> bool:
        """Whether a tier is owed what was appended."""
        return bool(self.errors)


def open_stream(
    repository: OpenTiers,
    name: str,
    *,
    domain: str = DEFAULT_DOMAIN,
    required: Collection[str] = (),
    lock_days: Mapping[str, int] | None = None,
    seen: StreamHead | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Stream:
    """The stream of this name, to append to; begun where there is none.

    `domain`: whose keys seal the pieces. `required`: tiers (by name) without which an append raises. `lock_days`: by
    tier, for how long each piece is locked; a tier that does not prove to lock is left out. `seen`: a head that the
    caller remembers. `patience_seconds`: how long an append waits for tiers that are not required. Raises
    `NoUsableTier`, `Replayed` (no tier has what was seen), `StreamForked` (a required tier has
    another history), `TextInvalid`, `UnknownKey`.
    """
    if not name or name.encode(errors="ignore").decode() != name:
        raise TextInvalid("text is not UTF-8, or empty", field="name")
    repository.keys.active(domain)
    for wanted in required:
        repository.tier(wanted)
    ready = repository.ready_tiers()
    if not ready:
        raise repository.none_ready()
    days = dict(lock_days or {})
    copies = [Copy(repository, TierStream(repository, tier, name), days.get(tier.name, 0)) for tier in ready]
    for copy in copies:
        copy.attempt(copy.prepare)
    found = survey(repository, name, [copy.stream.tier for copy in copies if copy.error is None], seen)
    faults = {copy.name: copy.error for copy in copies if copy.error is not None} | found.faults
    for wanted in sorted(required):
        if isinstance(faults.get(wanted), StreamForked):
            raise faults[wanted]
    if found.head is None:
        raise NoUsableTier.because("no tier takes the stream", faults.values(), stream=name)
    for copy in copies:
        if copy.name in found.faults:
            copy.fail(found.faults[copy.name])
        elif copy.error is None:
            copy.attempt(partial(copy.take_over, found.heads[copy.name]))
    return Stream(repository, name, domain, found.head, copies, frozenset(required), patience_seconds)


class Stream:
    """One writer's stream. Thread-safe: appends of several threads come one after the other."""

    def __init__(
        self,
        repository: OpenTiers,
        name: str,
        domain: str,
        head: StreamHead,
        copies: Sequence[Copy],
        required: frozenset[str],
        patience_seconds: float,
    ) -> None:
        self.name = name
        self.head = head
        self._repository = repository
        self._domain = domain
        # All who see the same tiers have them in the same order, however they name them and whichever is nearest.
        self._copies = sorted(copies, key=lambda copy: copy.stream.tier.log.state.tier_id or b"")
        self._required = required
        self._patience = patience_seconds
        self._lock = threading.Lock()
        self._ended: RepositoryError | None = None

    @property
    def end(self) -> int | None:
        """The position where the next append belongs; None where it may be any."""
        return self.head.end if self.head.number else None

    def append(self, data: Buffer, *, position: int | None = None) -> Appended:
        """Append bytes (16 MiB at most), at the end; `position` says where the caller believes that to be.

        Bytes that are there already at their position change nothing. Raises `StreamGap` (bytes before them are
        missing), `StreamContended` (other bytes are there), `StreamForked`, `AppendNotDurable` (a required tier),
        `NoUsableTier` (no tier has them; of bytes that may be there already: none that may have them answers),
        `LimitExceeded`. After `StreamContended` and `StreamForked` the stream has to be opened anew.
        """
        with self._lock:
            if self._ended is not None:
                raise self._ended
            end = self.end
            place = position if position is not None else end or 0
            if end is not None and place > end:
                message = "bytes of the stream are missing before these"
                raise StreamGap(message, stream=self.name, position=place, end=end)
            self._bring_level()
            if end is not None and place < end:
                return self._appended_before(bytes(data), place)
            return self._appended(bytes(data), place)

    def say(self) -> StreamHead:
        """Let the logs of all tiers that have it all say how far the stream reaches; returns that."""
        with self._lock:
            self._bring_level()
            for copy in self._able():
                copy.attempt(lambda copy=copy: copy.say(copy.head))  # type: ignore[misc]
            return self.head

    def _able(self) -> list[Copy]:
        """The copies that have everything, and can be written to."""
        return [copy for copy in self._copies if not copy.is_busy and copy.error is None and copy.head == self.head]

    def _wait(self, started: Sequence[Copy], *, is_urgent: bool = False) -> None:
        """Wait for these copies: for required ones until they are done, for the others as long as patience lasts."""
        until = time.monotonic() + self._patience
        for copy in sorted(started, key=lambda copy: copy.name not in self._required):
            is_waited_for = is_urgent or copy.name in self._required
            copy.wait(None if is_waited_for else max(until - time.monotonic(), 0))

    def _bring_level(self) -> None:
        """Ask tiers that failed again, now and then, and bring those that are behind a few pieces."""
        able = self._able()
        sources = [each.stream for each in able]
        started: list[Copy] = []
        for copy in self._copies:
            if copy.is_busy or copy in able:
                continue
            if copy.error is None or copy.is_due() or not able or copy.name in self._required:
                copy.start(lambda copy=copy: copy.pursue(sources, self.head))  # type: ignore[misc]
                started.append(copy)
        if not able:
            started = list(self._copies)
        self._wait(started, is_urgent=not able)

    def _appended(self, data: bytes, position: int) -> Appended:
        number = self.head.number + 1
        body = encode_piece(
            data,
            name=self.name,
            number=number,
            position=position,
            previous=self.head.digest,
            keys=self._repository.keys.active(self._domain),
            ring=self._repository.keys,
        )
        able = self._able()
        head: StreamHead | None = None
        while able and head is None:
            body, head = self._decided(able.pop(0), body, StreamHead(number, crypto.sha256(body), position + len(data)))
        if head is None:
            errors = [copy.error for copy in self._copies]
            raise NoUsableTier.because("no tier took what was appended", errors, stream=self.name, number=number)
        for copy in able:
            copy.start(lambda copy=copy: copy.take(body, head))  # type: ignore[misc]
        self.head = head
        self._wait(able)
        self._ended = next((copy.error for copy in able if isinstance(copy.error, StreamForked)), None)
        if self._ended is not None:
            raise self._ended
        for copy in self._able():
            if number - copy.said >= SAID_EVERY:
                copy.attempt(lambda copy=copy: copy.say(head))  # type: ignore[misc]
        return self._outcome(number, position, head.end)

    def _decided(self, copy: Copy, body: bytes, head: StreamHead) -> tuple[bytes, StreamHead | None]:
        """Create the piece where it is decided whose bytes have the number; None for the head where that failed.

        What a twin appended, sealed under another key or by another version, is the piece where it says the same.
        """
        try:
            try:
                copy.create(body, head.number)
            except AlreadyExists:
                found, there = copy.stream.whole(head.number)
                mine = copy.stream.decoded(body, head.number)
                if _said_by(found) != _said_by(mine):
                    self._ended = self._contended(found)
                    raise self._ended from None
                copy.stream.tier.store.settle([copy.stream.key(head.number)])
                body, head = there, StreamHead(found.number, found.digest, found.end)
        except StreamContended:
            raise
        except RepositoryError as error:
            copy.fail(error)
            return body, None
        copy.head = head
        return body, head

    def _contended(self, found: Piece) -> StreamContended:
        message = "somebody else appended other bytes here"
        return StreamContended(message, stream=self.name, number=found.number, position=found.position)

    def _appended_before(self, data: bytes, position: int) -> Appended:
        """What was appended once more: nothing is written, if it is what is there."""
        streams = [copy.stream for copy in self._able()]
        pieces: list[Piece] = []
        for number in range(self.head.number, 0, -1):
            pieces.append(self._whole(streams, number))
            if pieces[-1].position <= position or number == streams[0].first:
                break
        there = b"".join(piece.data for piece in reversed(pieces))
        start = position - pieces[-1].position
        known = there[start:] if start >= 0 else b""
        if 0 < len(known) < len(data) and data.startswith(known):
            message = "only the beginning of these bytes was appended before"
            hint = "Append what lies behind the end of the stream by itself: `end` says where that is."
            raise StreamContended(message, hint=hint, stream=self.name, position=position, end=self.head.end)
        if start < 0 or there[start : start + len(data)] != data:
            raise self._contended(pieces[-1])
        covering = min(piece.number for piece in pieces if piece.end >= position + len(data))
        return self._outcome(covering, position, position + len(data))

    def _whole(self, streams: Sequence[TierStream], number: int) -> Piece:
        """A piece, from a tier that has all; what none of these has a tier may have that was not asked."""
        try:
            return whole_piece(streams, number)[0]
        except (StreamGap, NoUsableTier) as error:
            away = unasked(self._repository.tiers, streams, {copy.name: copy.error for copy in self._copies})
            if not away:
                error.context.update(stream=self.name)
                raise
            raise may_be_elsewhere([*error.causes, *away], number, stream=self.name) from error

    def _outcome(self, number: int, position: int, end: int) -> Appended:
        states: dict[str, Durability] = {}
        errors: dict[str, RepositoryError] = {}
        known = {copy.name: copy for copy in self._copies}
        for tier in self._repository.tiers:
            copy = known.get(tier.name)
            if copy is not None and copy.error is None and copy.head.number >= number:
                states[tier.name] = Durability.DURABLE
            elif copy is not None and copy.error is None:
                states[tier.name] = Durability.BEHIND
                message = "tier lacks pieces of the stream from before"
                errors[tier.name] = TierBehind(message, tier=tier.name, pieces=number - copy.head.number)
            else:
                states[tier.name] = Durability.FAILED
                error = copy.error if copy is not None else tier.error
                errors[tier.name] = error or NoUsableTier("tier is not ready", tier=tier.name, state=tier.state.value)
        missing = [name for name in sorted(self._required) if name in errors]
        if missing:
            raise AppendNotDurable(
                "a required tier does not have what was appended",
                hint=f"{AppendNotDurable.hint} {errors[missing[0]].hint}",
                tiers=",".join(missing),
                stream=self.name,
                position=position,
            ) from errors[missing[0]]
        return Appended(number, position, end, states, errors)


def _said_by(piece: Piece) -> tuple[bytes, int, bytes]:
    return piece.previous, piece.position, piece.data
