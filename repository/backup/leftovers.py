"""What a backup found on some tiers only, and leans on: it goes to the others, so that none is left out for it.

Promise: a tier that has every snapshot gets the packs that it lacks of those, from a tier that has them whole, and rows
for them in its index, before the snapshot is committed there. They are what a writer left that died, or what others
still have of forgotten snapshots: nothing that a tier is owed before something needs it. A tier that lacks snapshots as
well gets nothing here: it is caught up. What no tier has whole is left out. Memory: one pack.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Set
from datetime import datetime

from repository.backup.fanout import Delivery, Fanout
from repository.errors import RepositoryError
from repository.format import pack_object_key
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import nearest_first, whole_pack
from repository.opened.present_objects import are_left
from repository.opened.repository import Repository
from repository.retention.erasure import owed_snapshots
from repository.stored.index_segment import Segment, without_packs


def bring(
    repository: Repository,
    fanout: Fanout,
    packs: Collection[bytes],
    lock_until: Callable[[OpenTier], datetime | None],
    check: Callable[[], None],
) -> None:
    """Bring these packs to the tiers that lack some and no snapshot. A tier that fails is dropped with its error.

    `check` is asked before each pack, and what it raises ends all of it.
    """
    for delivery in fanout.deliveries:
        tier = delivery.tier
        if delivery.state is not Delivery.SENDING or not tier.lacks(packs):
            continue
        try:
            # Others bring packs meanwhile.
            tier.refresh()
            lacking = tier.lacks(packs)
            if lacking and not owed_snapshots(repository, tier):
                with delivery.syncing:
                    _bring_to(repository, tier, lacking, lock_until(tier), check)
        except RepositoryError as error:
            fanout.drop(delivery, Delivery.FAILED, error)


def _bring_to(
    repository: Repository, tier: OpenTier, lacking: Set[bytes], until: datetime | None, check: Callable[[], None]
) -> None:
    sources = nearest_first(repository.sources_for(tier))
    seen = tier.log.state.head.number

    def put(packs: Set[bytes]) -> Iterator[bytes]:
        for pack_id in sorted(packs):
            check()
            body = whole_pack(pack_id, (source.store for source in sources))
            if body is not None:
                tier.store.put(pack_object_key(pack_id), body, lock_until=until, durable=False)
                yield pack_id

    brought = set(put(lacking))
    listed: list[Segment] = []
    for source in sources:
        touched = [each for each in source.index.segments() if not each.packs.isdisjoint(brought)]
        listed += [Segment(without_packs(each, each.packs - brought)) for each in touched]
        brought -= source.index.pack_ids()
    if listed:
        sealed = repository.seal_segments(listed)
        tier.change_index(sealed, (), "brought", lock_until=until, only_if=are_left(sealed, seen))
        # A prune that has ended deletes late, and knew nothing of the rows yet.
        list(put(tier.gone_packs() & lacking))
