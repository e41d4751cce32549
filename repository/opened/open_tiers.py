"""The tiers that are open, with the keys and ports that all of them share.

Promise: whoever works on several tiers gets them here, in their order, without knowing how they were opened.
"""

from collections.abc import Iterable

from repository.errors import NoUsableTier
from repository.index.segments import SealedSegment, seal_segment
from repository.keys.key_ring import KeyRing
from repository.opened.open_tier import OpenTier
from repository.ports import Clock, Randomness
from repository.stored.config import RepositoryConfig
from repository.stored.index_segment import Segment


class OpenTiers:
    """What is open. Thread-safe."""

    def __init__(
        self, ring: KeyRing, config: RepositoryConfig, tiers: list[OpenTier], clock: Clock, randomness: Randomness
    ) -> None:
        self.id = ring.first_root.repository_id
        self.keys = ring
        self.config = config
        self.clock = clock
        self.randomness = randomness
        self.tiers = tiers
        self.live_writers: set[bytes] = set()
        """The tokens of those who write over this very object now: what they have uploaded is nobody's to adopt."""
        for tier in tiers:
            tier.peers = tiers

    def close(self) -> None:
        """Close the stores."""
        for tier in self.tiers:
            tier.store.close()

    def tier(self, name: str) -> OpenTier:
        """The tier of this name. Raises `NoUsableTier`."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise NoUsableTier("no tier has this name", tier=name, tiers=self.states())

    def states(self) -> dict[str, str]:
        """Each tier's state, with the error that explains it."""
        return {tier.name: f"{tier.state}" + (f": {tier.error}" if tier.error else "") for tier in self.tiers}

    def ready_tiers(self) -> list[OpenTier]:
        """Tiers that take part in backups, in the order given."""
        return [tier for tier in self.tiers if tier.is_ready]

    def readable_tiers(self) -> list[OpenTier]:
        """Tiers from which objects may be read: ready ones first, then those with faults."""
        readable = [tier for tier in self.tiers if tier.is_readable]
        return sorted(readable, key=lambda tier: not tier.is_ready)

    def sources_for(self, tier: OpenTier) -> list[OpenTier]:
        """The other tiers from which objects may be read, the best first."""
        return [other for other in self.readable_tiers() if other is not tier]

    def none_ready(self) -> NoUsableTier:
        """Why nothing can be written."""
        return NoUsableTier.because("no tier is ready", (tier.error for tier in self.tiers), tiers=self.states())

    def any_ready(self) -> OpenTier:
        """The first of them. Raises `NoUsableTier`."""
        for tier in self.ready_tiers():
            return tier
        raise self.none_ready()

    def seal_segments(self, segments: Iterable[Segment]) -> list[SealedSegment]:
        """Segments sealed once for all tiers: the same object, of the same name, goes to each."""
        return [seal_segment(segment, self.keys.root, self.randomness) for segment in segments]
