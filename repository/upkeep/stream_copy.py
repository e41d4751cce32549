"""Copies the pieces of streams that a tier lacks behind its own end.

Promise: each is genuine and continues the one before it; they are put in order, so that a crash leaves a tier that is
less far behind. Of a stream that two tiers have differently nothing is copied, and that is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from repository.errors import AlreadyExists, RepositoryError
from repository.index.pack_catalog import each_in_parallel
from repository.opened.open_tier import OpenTier
from repository.streams.copy import say_on
from repository.streams.on_tier import StreamHead, TierStream, whole_piece
from repository.streams.survey import forked, survey
from repository.upkeep.stream_check import PIECES_AT_A_TIME, is_said_too_little

if TYPE_CHECKING:
    from repository.opened.repository import Repository


@dataclass
class CopiedStreams:
    """What a tier was brought. `left_out`: streams that it could not be brought to the end of, and why."""

    pieces: int = 0
    bytes: int = 0
    left_out: dict[str, RepositoryError] = field(default_factory=dict)


def copy_streams(
    repository: Repository,
    tier: OpenTier,
    sources: Sequence[OpenTier],
    lock_until: datetime | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
) -> CopiedStreams:
    """Bring a tier the pieces that these have and it lacks behind its own end, in their order.

    Where it is known to lock, they are locked at least as long as the source's log says of its own. Raises this tier's
    errors.
    """
    result = CopiedStreams()
    for name in sorted({name for source in sources for name in source.log.state.streams}):
        try:
            _copy(repository, tier, sources, name, lock_until, check_cancelled, result)
        except RepositoryError as error:
            if error.context.get("tier") == tier.name and not error.context.get("stream"):
                raise
            result.left_out[name] = error
    return result


def _copy(
    repository: Repository,
    tier: OpenTier,
    sources: Sequence[OpenTier],
    name: str,
    lock_until: datetime | None,
    check_cancelled: Callable[[], None],
    result: CopiedStreams,
) -> None:
    found = survey(repository, name, [*sources, tier])
    own = found.streams[tier.name]
    if tier.name in found.faults:
        raise found.faults[tier.name]
    head, longest = found.heads[tier.name], found.head
    assert longest is not None  # noqa: S101 - this tier has a head
    if own.said is None:
        say_on(own, own.beginning, repository.clock)
    others = [found.streams[each.name] for each in sources if each.name in found.heads]
    until = max((date for date in (lock_until, *_locked_until(tier, others)) if date is not None), default=None)
    copied = 0
    try:
        pieces = each_in_parallel(
            lambda number: whole_piece(others, number), range(head.number + 1, longest.number + 1), PIECES_AT_A_TIME
        )
        for piece, body in pieces:
            check_cancelled()
            if piece.previous != head.digest:
                raise forked(own, head.number, head.end, others[0].tier.name)
            try:
                tier.store.put(own.key(piece.number), body, sha256=piece.digest, if_absent=True, lock_until=until)
            except AlreadyExists:
                own.read(piece.number)
                raise forked(own, piece.number, piece.position, others[0].tier.name) from None
            head = StreamHead(piece.number, piece.digest, piece.end)
            copied += 1
            result.pieces += 1
            result.bytes += len(body)
    finally:
        if copied or is_said_too_little(own, head, others):
            say_on(own, head, repository.clock, locked=copied, until=until)


def _locked_until(tier: OpenTier, sources: Iterable[TierStream]) -> Iterable[datetime]:
    if not tier.store.capabilities.locks:
        return
    for source in sources:
        seconds = source.said.locked_until if source.said is not None else None
        if seconds is not None and datetime.fromtimestamp(seconds, UTC) > tier.store.now():
            yield datetime.fromtimestamp(seconds, UTC)
