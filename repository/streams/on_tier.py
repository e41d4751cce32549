"""One stream as it lies on one tier: its pieces, and how far they reach.

Promise: `head` says how far the genuine pieces reach, and raises where less is there than the tier's log says, or where
something lies behind them that nobody wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from repository.errors import (
    Damaged,
    NoUsableTier,
    ObjectMissing,
    Replayed,
    RepositoryError,
    TooFewDescriptors,
    Truncated,
    UnknownKey,
    about,
)
from repository.keys.key_ring import Rank
from repository.opened.open_tier import OpenTier
from repository.opened.open_tiers import OpenTiers
from repository.opened.tier_state import TierState
from repository.stored.checkpoint import KeptStream
from repository.stored.object_reading import read_object
from repository.stored.snapshot import STREAMS
from repository.stored.stream_piece import (
    Piece,
    beginning,
    decode_piece,
    piece_object_key,
    piece_of,
    stream_object_prefix,
)
from repository.streams.errors import StreamGap

JUNK_MAX: Final = 16
"""Objects without a signature behind a stream's end that are looked at in search of it."""
NOT_WHOLE: Final = (Damaged, ObjectMissing, Truncated, UnknownKey)
"""What a tier answers that does not have a piece whole. Whatever else it answers says nothing of the piece."""


class StreamHead(NamedTuple):
    """The last piece: its number (0: none yet), the SHA-256 of its bytes, and the position behind it."""

    number: int
    digest: bytes
    end: int


class TierStream:
    """The pieces of one stream on one tier. Thread-safe."""

    def __init__(self, repository: OpenTiers, tier: OpenTier, name: str) -> None:
        root = repository.keys.first_root
        self.tier = tier
        self.name = name
        self.id = root.stream_id(name)
        self.beginning = StreamHead(0, beginning(root.repository_id, self.id), 0)
        self.by_any_root = False
        """Whether what a replaced root signed, and no log names, counts: an operator knows whose it is."""
        self._repository = repository
        self._ring = repository.keys

    @property
    def said(self) -> KeptStream | None:
        """What the tier's log says of the stream last."""
        return self.tier.log.state.streams.get(self.name)

    @property
    def first(self) -> int:
        """The lowest number that is kept."""
        return self.said.first if self.said is not None else 1

    def key(self, number: int) -> str:
        """The object key of a piece."""
        return piece_object_key(self.id, number)

    @property
    def root(self) -> Rank:
        """The root in force: what an older one signed counts as far as a log, or a piece of this one, names it."""
        return self._ring.root.rank

    @property
    def named(self) -> int:
        """The number up to which any log names the stream."""
        logs = (tier.log.state.streams.get(self.name) for tier in self._repository.readable_tiers())
        return max((said.number for said in logs if said is not None), default=0)

    def decoded(self, body: bytes, number: int) -> Piece:
        """What these bytes say as piece `number`. Raises `Damaged`, `UnknownKey`, `UnsupportedFormat`.

        What a replaced root signed, and no log names, is damaged.
        """
        with about(tier=self.tier.name, object_key=self.key(number), stream=self.name):
            try:
                piece = decode_piece(body, self.id, number, self._ring)
            except Damaged:
                root = self.root
                self.tier.log.refresh()
                if self.root == root:
                    raise
                piece = decode_piece(body, self.id, number, self._ring)  # signed by a root that came meanwhile
            if piece.signer < self.root and number > self.named and not self.by_any_root:
                raise Damaged(
                    "piece of a stream is signed by a root that was replaced, and no log names it",
                    hint="Is it your own writer's: `repo repair --accept-history TIER` takes it for good.",
                )
            return piece

    def read(self, number: int) -> Piece:
        """A piece, authentic. Raises `Damaged`, `ObjectMissing` and the store's errors."""
        return self.whole(number)[0]

    def whole(self, number: int) -> tuple[Piece, bytes]:
        """A piece, and the bytes of its object. Raises as `read`."""
        with about(tier=self.tier.name, object_key=self.key(number), stream=self.name):
            body = read_object(self.tier.store, self.key(number))
        return self.decoded(body, number), body

    def numbers(self, after: int = 0) -> Iterator[int]:
        """The numbers behind `after` under which something lies, ascending. Raises the store's errors."""
        for info in self.tier.store.list(stream_object_prefix(self.id), after=self.key(after)):
            found = piece_of(info.key)
            if found is not None:
                yield found[1]

    def head(self) -> StreamHead:
        """How far the stream reaches here.

        Raises `Replayed` (its end was cut off), `Damaged` (what lies behind its end is no piece), the store's errors.
        """
        said = self.said
        known = said.number if said is not None else 0
        there = list(self.numbers(max(known - 1, 0)))
        junk: RepositoryError | None = None
        for number in there[: -JUNK_MAX - 1 : -1]:
            try:
                piece = self.read(number)
            except NOT_WHOLE as error:
                junk = junk or error
                continue
            if junk is not None:
                break
            if number == known and said is not None and piece.digest != said.digest:
                raise Damaged("stream is not the one that the tier's log names", **self._about(number, piece.position))
            return StreamHead(number, piece.digest, piece.end)
        if junk is not None:
            raise junk
        if said is not None and said.number:
            message = "end of a stream is gone, which the tier's log names"
            raise Replayed(message, **self._about(said.number, said.position))
        return self.beginning

    def settle(self, head: StreamHead) -> None:
        """Make durable what was found: whoever put the last piece there may have died before it was."""
        if head.number:
            self.tier.store.settle([self.key(head.number)])

    def _about(self, number: int, position: int) -> dict[str, Any]:
        return {"tier": self.tier.name, "stream": self.name, "number": number, "position": position}


def name_in(repository: OpenTiers, tier: OpenTier, stream_id: bytes, number: int) -> str | None:
    """The name of a stream, as one of its pieces says it; None where that is no genuine one."""
    try:
        body = read_object(tier.store, piece_object_key(stream_id, number))
        return decode_piece(body, stream_id, number, repository.keys).name
    except NOT_WHOLE:
        return None


def whole_piece(
    streams: Iterable[TierStream], number: int, fits: Callable[[Piece], bool] = lambda _: True
) -> tuple[Piece, bytes]:
    """A piece and its object's bytes, from the first tier that has it whole; `fits` may refuse one.

    Raises `StreamGap` where each tier answered, and none has it; `NoUsableTier` where one did not answer, and may have
    it. With what is wrong on each tier.
    """
    errors: list[RepositoryError] = []
    for stream in streams:
        try:
            piece, body = stream.whole(number)
            if fits(piece):
                return piece, body
            message = "piece of a stream does not continue what comes before it"
            raise Damaged(message, tier=stream.tier.name, object_key=stream.key(number), position=piece.position)
        except TooFewDescriptors:
            raise  # it says nothing of the piece
        except RepositoryError as error:
            errors.append(error)
    if not errors or not all(isinstance(error, NOT_WHOLE) for error in errors):
        raise may_be_elsewhere(errors, number)
    gap = StreamGap("no tier that can be read has this piece of the stream", number=number)
    gap.causes = errors
    raise gap from errors[0]


def may_be_elsewhere(errors: Iterable[RepositoryError | None], number: int, **context: object) -> NoUsableTier:
    """A piece that no tier gives now, and that is not known to be lost."""
    message = "no tier gives this piece of the stream now, and one that does not answer may have it"
    return NoUsableTier.because(message, errors, number=number, **context)


def unasked(
    tiers: Iterable[OpenTier], streams: Iterable[TierStream], errors: Mapping[str, RepositoryError | None] | None = None
) -> list[RepositoryError]:
    """Why those of these tiers were not asked that may have pieces; `errors`: what the caller knows of some."""
    asked, known = {stream.tier.name for stream in streams}, errors or {}
    return [
        known.get(tier.name) or tier.error or NoUsableTier("tier is not ready", tier=tier.name, state=tier.state.value)
        for tier in tiers
        if tier.name not in asked and tier.state not in (TierState.EMPTY, TierState.FOREIGN)
    ]


def leaning_on(streams: Mapping[str, StreamHead]) -> dict[str, msgspec.Raw]:
    """What a snapshot's manifest says of the streams that it leans on."""
    heads = {name: (head.number, head.digest.hex(), head.end) for name, head in streams.items()}
    return {STREAMS: msgspec.Raw(msgspec.json.encode(heads))} if heads else {}
