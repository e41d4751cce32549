"""Reads a stream in order, from a position on, each piece from whichever tier has it whole.

Promise: what is yielded was appended by a holder of the keys, in this order, with nothing left out between; where the
stream cannot be gone on with (a gap, a forgery, an end that was cut off) that is raised, with the number and the
position up to which all is well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from repository.errors import NoUsableTier, Replayed, RepositoryError
from repository.opened.open_tiers import OpenTiers
from repository.opened.pack_access import nearest_first
from repository.stored.checkpoint import KeptStream
from repository.stored.stream_piece import Piece
from repository.streams.errors import StreamForked, StreamGap, StreamNotFound
from repository.streams.on_tier import StreamHead, TierStream, may_be_elsewhere, unasked, whole_piece
from repository.streams.survey import Survey, survey


def read_stream(
    repository: OpenTiers,
    name: str,
    position: int | None = None,
    *,
    tiers: Collection[str] | None = None,
    seen: StreamHead | None = None,
) -> Iterator[Piece]:
    """The pieces from the one that holds `position` on (None: from the first that is kept), in order.

    `tiers`: those (by name) that are read; where two have different histories, one has to be chosen. `seen`: a head
    that the caller remembers: the end is that of the tiers that answer, and one that does not may have more. Raises
    `StreamNotFound`, `StreamGap` (a piece is lost), `NoUsableTier` (a tier that does not answer may have it),
    `StreamForked`, `Replayed`.
    """
    chosen = [tier for tier in repository.tiers if tiers is None or tier.name in tiers]
    readable = [tier for tier in repository.readable_tiers() if tier in chosen]
    found = survey(repository, name, nearest_first(readable), seen)
    said = _said(found)
    last = _last(found, said, name)
    streams = list(found.streams.values())
    first = max(stream.first for stream in streams)
    number = first if position is None else _number_at(streams, position, first, last)
    before: Piece | None = None
    digests = {each: kept.digest for each, kept in said.items()}

    def fits(piece: Piece) -> bool:
        if digests.get(piece.number, piece.digest) != piece.digest:
            return False
        if before is None and position is not None and not piece.position <= position <= piece.end:
            return False
        return before is None or (piece.previous, piece.position) == (before.digest, before.end)

    while number <= last:
        try:
            piece, _ = whole_piece(streams, number, fits)
            if piece.signer < streams[0].root and number not in digests:
                digests |= _named_from(streams, number, last, digests)
                piece, _ = whole_piece(streams, number, fits)
        except (StreamGap, NoUsableTier) as error:
            context = {"stream": name, "position": before.end if before is not None else position or 0}
            away = unasked(chosen, streams)
            if away:
                raise may_be_elsewhere([*error.causes, *away], number, **context) from error
            error.context.update(context)
            raise
        yield piece
        before, number = piece, number + 1


def _named_from(streams: list[TierStream], number: int, last: int, digests: Mapping[int, bytes]) -> dict[int, bytes]:
    """The digests of the pieces from this one on that a replaced root signed, as the first one names them that counts.

    One counts that the root in force signed, or whose digest is known. Raises as `whole_piece`.
    """

    def counts(piece: Piece) -> bool:
        return digests.get(piece.number) == piece.digest or (
            piece.number not in digests and piece.signer >= streams[0].root
        )

    named = dict[int, bytes]()
    at = number
    while at < last and at not in digests:
        at += 1
        with suppress(StreamGap):
            whole_piece(streams, at, counts)
            break
    piece, _ = whole_piece(streams, at, counts)
    while piece.number > number:
        named[piece.number - 1] = piece.previous
        piece, _ = whole_piece(streams, piece.number - 1, lambda each: named[each.number] == each.digest)
    return named


def _said(found: Survey) -> dict[int, KeptStream]:
    """What the tiers' logs say, by number."""
    said = (stream.said for stream in found.streams.values())
    return {each.number: each for each in said if each is not None and each.number}


def _last(found: Survey, said: dict[int, KeptStream], name: str) -> int:
    """The highest number; a tier whose end cannot be known counts with what its log says."""
    forks = [error for error in found.faults.values() if isinstance(error, StreamForked)]
    if forks:
        raise forks[0]
    shown = found.head.number if found.head is not None else 0
    last = max(said, default=0)
    if not max(shown, last) and not any(stream.said is not None for stream in found.streams.values()):
        if found.faults:
            raise NoUsableTier.because("no tier shows the stream", found.faults.values(), stream=name)
        raise StreamNotFound("there is no stream of this name", stream=name)
    if not found.heads:
        error = next(iter(found.faults.values()))
        if isinstance(error, Replayed):
            raise error
    return max(shown, last)


def _number_at(streams: list[TierStream], position: int, first: int, last: int) -> int:
    """The number of the piece that holds the position; behind the last one, where it is the stream's end."""
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        piece, _ = whole_piece(streams, middle)
        if piece.end > position:
            high = middle
        else:
            low = middle + 1
    try:
        at = whole_piece(streams, min(low, last))[0] if last >= first else None
    except RepositoryError:
        at = None
    if at is not None and not at.position <= position <= at.end:
        message = "the stream does not hold this position"
        raise StreamGap(message, position=position, begins=at.position, ends=at.end)
    return low
