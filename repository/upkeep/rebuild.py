"""Makes a tier's index anew from its packs alone.

Promise: afterwards the index lists every chunk of every readable pack, and nothing else; old segments are
neither read nor trusted. Packs whose footer cannot be read are named. Memory: the new rows (52 bytes each,
beyond a bound in mapped files).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from repository.errors import NoUsableTier
from repository.format import pack_object_key
from repository.index.index import Index
from repository.index.pack_catalog import read_footers, stored_packs
from repository.opened.open_tier import OpenTier
from repository.upkeep.check_report import CheckProgress

if TYPE_CHECKING:
    from repository.opened.repository import Repository


class RebuildResult(NamedTuple):
    """What the new index holds. `damaged`: packs that could not be read.

    `missing`: packs that the old index knew, and that are not there.
    """

    tier: str
    packs: int
    rows: int
    segments: int
    damaged: list[bytes]
    missing: list[bytes]


def rebuild_index(
    repository: Repository,
    tier: OpenTier,
    *,
    on_progress: Callable[[CheckProgress], None] | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
) -> RebuildResult:
    """Replace the tier's index. Its log has to be whole (`repair` comes first).

    Raises `NoUsableTier` (tier cannot be read), `Damaged` (the log takes no entries) and the store's errors.
    """
    if not tier.is_readable:
        raise NoUsableTier.because("tier cannot be read", [tier.error], tier=tier.name, state=tier.state.value)
    state = tier.refresh()
    replaced = list(state.segments)
    known = tier.index.pack_ids() - state.marked_packs
    packs = list(stored_packs(tier.store))
    index, damaged, bytes_done = Index(), list[bytes](), 0
    for number, footer in enumerate(read_footers(tier.store, repository.keys, packs), start=1):
        check_cancelled()
        if footer.error is None:
            index.add_pack(footer.pack.id, footer.frames)
        else:
            damaged.append(footer.pack.id)
        bytes_done += footer.pack.size
        if on_progress is not None:
            on_progress(CheckProgress(tier.name, number, len(packs), bytes_done))
    # Who uploaded them may have died before syncing.
    tier.store.settle(map(pack_object_key, index.pack_ids()))
    sealed = repository.seal_segments(index.take_new_segments())
    tier.change_index(sealed, replaced, "rebuilt")
    tier.load()
    missing = sorted(known.difference(pack.id for pack in packs))
    return RebuildResult(tier.name, len(packs) - len(damaged), len(index), len(sealed), damaged, missing)
