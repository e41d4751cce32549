"""How far a stream reaches on each tier, and whether the tiers have the same one.

Promise: what the tiers show is one history, or it is told that it is not, with number and position. A tier that shows
less than another is behind; what all of them lost shows against their logs and against what the caller remembers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from repository.errors import Replayed, RepositoryError
from repository.opened.open_tier import OpenTier
from repository.opened.open_tiers import OpenTiers
from repository.streams.errors import StreamForked
from repository.streams.on_tier import StreamHead, TierStream


@dataclass
class Survey:
    """What the tiers show. `faults`: of tiers (by name) whose stream cannot be gone on with, and why."""

    heads: dict[str, StreamHead] = field(default_factory=dict)
    faults: dict[str, RepositoryError] = field(default_factory=dict)
    streams: dict[str, TierStream] = field(default_factory=dict)

    @property
    def longest(self) -> TierStream | None:
        """The stream of a tier that has all; None where no tier can be gone on with."""
        best = max(self.heads, key=lambda name: self.heads[name].number, default=None)
        return self.streams[best] if best is not None else None

    @property
    def head(self) -> StreamHead | None:
        """How far the stream reaches."""
        return self.heads[self.longest.tier.name] if self.longest is not None else None


def survey(repository: OpenTiers, name: str, tiers: Iterable[OpenTier], seen: StreamHead | None = None) -> Survey:
    """Ask these tiers. A fork is a fault of each tier that has not what the longest has.

    `seen`: a head that the caller remembers. Raises `Replayed` where no tier has it any more.
    """
    found = Survey()
    for tier in tiers:
        stream = found.streams[tier.name] = TierStream(repository, tier, name)
        try:
            found.heads[tier.name] = stream.head()
        except RepositoryError as error:
            found.faults[tier.name] = error
    _compare(found)
    if seen is not None and found.heads:
        _expect(found, seen)
    return found


def names_of(repository: OpenTiers) -> list[str]:
    """The streams that the logs of the readable tiers name."""
    return sorted({name for tier in repository.readable_tiers() for name in tier.log.state.streams})


def _compare(found: Survey) -> None:
    longest, head = found.longest, found.head
    if longest is None or head is None:
        return
    for name, shown in list(found.heads.items()):
        if name == longest.tier.name or not shown.number:
            continue
        digest = head.digest
        if shown.number < head.number:
            try:
                digest = longest.read(shown.number + 1).previous
            except RepositoryError:
                continue  # whoever copies what is missing sees whether it fits
        if digest != shown.digest:
            found.faults[name] = forked(found.streams[name], shown.number, shown.end, longest.tier.name)
            del found.heads[name]


def forked(stream: TierStream, number: int, position: int, other: str) -> StreamForked:
    """The tier has another piece than `other` at this number."""
    message = "tiers have different pieces of a stream"
    return StreamForked(
        message, tier=stream.tier.name, other=other, stream=stream.name, number=number, position=position
    )


def _expect(found: Survey, seen: StreamHead) -> None:
    """Raises `Replayed` unless a tier has what was seen."""
    longest, head = found.longest, found.head
    assert longest is not None and head is not None  # noqa: S101, PT018 - there are heads
    digest = b""
    if seen.number == head.number:
        digest = head.digest
    elif seen.number < head.number:
        digest = longest.read(seen.number + 1).previous
    if seen.number and digest != seen.digest:
        raise Replayed(
            "stream ends before what was seen of it, or is another one",
            stream=longest.name,
            number=seen.number,
            position=seen.end,
            shown=head.number,
        )
