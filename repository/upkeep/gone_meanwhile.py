"""What was found while others forgot and pruned: a tier that let something go in the meantime is judged by what it has.

Promise: what a prune deletes behind the back of a check is not called lost. Whoever holds a pin meets none of this.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from repository.format import pack_id_in
from repository.opened.open_tier import OpenTier
from repository.upkeep.check_report import Finding, Problem

_WITHIN_PACKS: Final = frozenset((Problem.PACK_DAMAGED, Problem.INDEX_INCOMPLETE))
_BY_STRUCTURE: Final = frozenset(
    (
        Problem.BLOCKED,
        Problem.CONFIG,
        Problem.KEY,
        Problem.LOG_ENTRY,
        Problem.LOG_LOST,
        Problem.MANIFEST,
        Problem.CHECKPOINT,
        Problem.SEGMENT,
        Problem.PACK_MISSING,
        Problem.PACK_SHARED,
        Problem.TREE,
        Problem.UNCOMMITTED,
    )
)
"""What a look at the structure says anew."""
LOOKS_MAX: Final = 4
"""How often a tier is looked at anew of which others take something each time; what was found last counts then."""


class Standing(NamedTuple):
    """What a tier had let go, and what its log and its index pointed at, when it was begun to be looked at."""

    forgotten: frozenset[str]
    packs: frozenset[bytes]
    segments: frozenset[str]
    keys: frozenset[str]
    snapshots: int

    @classmethod
    def of(cls, tier: OpenTier) -> Standing:
        """As it is known by now."""
        state = tier.log.state
        # What wraps them, what was destroyed and what was removed: of these key objects go.
        keys = frozenset((*state.key_objects, *state.destroyed_keys, *state.ended_keks))
        forgotten, packs = frozenset(state.forgotten), frozenset(tier.index.pack_ids())
        return cls(forgotten, packs, frozenset(state.segments), keys, state.snapshot_count)

    def _has_lasted(self, now: Standing, found: Iterable[Finding]) -> bool:
        """Whether nothing of it went. Segments do also where nothing is forgotten: others merge them, and prune. What
        seems to be committed nowhere may be so by now: a writer puts the second copy of its entry first.
        """
        is_waiting = any(each.problem is Problem.UNCOMMITTED for each in found)
        is_same = self.forgotten == now.forgotten and self.keys == now.keys
        is_same = is_same and (self.snapshots == now.snapshots or not is_waiting)
        return is_same and self.packs <= now.packs and self.segments <= now.segments

    def judged(
        self,
        tier: OpenTier,
        found: Collection[Finding],
        structure: Callable[[], Iterable[Finding]],
        is_missed: Callable[[bytes], bool],
    ) -> list[Finding]:
        """`found`, or where it has damage and the tier let something go since: that without what went.

        `structure`: looks at the tier anew, as long as something goes while it is looked at. `is_missed`: whether a
        pack is needed, by what is known then, of which no row is in the tier's own index. Raises the tier's errors.
        """
        before, kept = self, list(found)
        for _ in range(LOOKS_MAX):
            if not any(each.is_damage for each in kept):
                return kept
            tier.refresh()
            now = Standing.of(tier)
            if before._has_lasted(now, kept):
                return kept
            before, kept = now, self._anew(now, kept, structure(), is_missed)
        return kept

    def _anew(
        self,
        now: Standing,
        found: Collection[Finding],
        structure: Iterable[Finding],
        is_missed: Callable[[bytes], bool],
    ) -> list[Finding]:
        anew = {(each.problem, each.object_key): each for each in structure}
        for each in found:
            pack_id = pack_id_in(each.object_key) if each.problem in _WITHIN_PACKS else None
            is_needed = pack_id is None or pack_id in now.packs or (pack_id not in self.packs and is_missed(pack_id))
            if is_needed and each.problem not in _BY_STRUCTURE:
                anew.setdefault((each.problem, each.object_key), each)
        return list(anew.values())
