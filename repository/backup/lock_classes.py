"""Keeps packs of unlike locks apart: what is to be locked much longer than the pack that it lies in is stored again.

Promise: a pack is locked as a whole, so where a snapshot needs less than half of one whose lock ends in less than half
of the time that is asked for, what it needs of that pack is stored again, among what is locked as long; the rest of the
pack keeps its date. Where it needs at least half, the pack's own lock is extended: so of what is locked for longer by a
backup, at least half is needed as long. A pack that the same source's last backup locked is not looked into. Memory:
the ids of what is needed of packs that are, and half a pack.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Final

from repository.backup.pack_usage import PackUsage
from repository.backup.session import ChunkSession, FrameCompressor, FrameGatherer, new_counts
from repository.backup.sharing import Member
from repository.errors import RepositoryError
from repository.format import SHARED_FRAME_LENGTH_MAX, ContentClass, PackKind, pack_object_key
from repository.index.index import Index
from repository.index.pack_sizes import raw_sizes
from repository.keys.key_ring import KeyRing
from repository.opened.locking import PARALLEL_LOCKS
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.stored.tree_visit import TreeVisitor

EXTENDED_FROM: Final = 0.5
"""The share of a pack that is needed, from which on the pack's own lock is extended."""


def keep_apart(
    session: ChunkSession,
    member: Member,
    usage: PackUsage,
    compressor: FrameCompressor,
    ring: KeyRing,
    until: Mapping[OpenTier, datetime | None],
    root_id: bytes,
    check: Callable[[], None],
) -> None:
    """Before a backup's snapshot is committed to these tiers, until when it is to be locked on each: let what it
    needs little of, and what is locked for much less, not be locked as a whole.

    `root_id`: of its tree, of which all chunks were handed to the fan-out. A tier that does not answer decides nothing;
    what is then locked for too long is listed. Raises what `check` raises.
    """
    old = usage.packs() - session.new_packs if any(until.values()) else set[bytes]()
    shorter = _shorter_packs(old, until) if old else set[bytes]()
    if shorter:
        member.fanout.finish(lambda _delivery: None, check=check)  # now the tiers have the tree
        load = ChunkReader(nearest_first([tier for tier in until if tier.is_ready]), ring, member.index)
        _store_apart(session, member.index, usage, compressor, load, root_id.hex(), shorter, check)


def _shorter_packs(packs: Collection[bytes], until: Mapping[OpenTier, datetime | None]) -> set[bytes]:
    """Those of these packs whose lock ends, on some tier, in less than half of the time that is asked for there."""
    found = set[bytes]()
    for tier, wanted in until.items():
        # One that fails here fails at its commit, by itself.
        with suppress(RepositoryError):
            if wanted is not None and tier.store.capabilities.locks is not False:
                found |= _shorter_on(tier, sorted(packs), wanted)
    return found


def _shorter_on(tier: OpenTier, packs: Sequence[bytes], wanted: datetime) -> set[bytes]:
    now = tier.store.now()
    enough = now + (wanted - now) / 2
    with ThreadPoolExecutor(PARALLEL_LOCKS, thread_name_prefix="lock-classes") as pool:
        infos = list(pool.map(tier.store.head, map(pack_object_key, packs)))
    return {
        pack_id
        for pack_id, info in zip(packs, infos, strict=True)
        if info is not None and (info.lock_until is None or info.lock_until < enough)
    }


def _store_apart(
    session: ChunkSession,
    index: Index,
    usage: PackUsage,
    compressor: FrameCompressor,
    load: ChunkReader,
    root: str,
    shorter: Collection[bytes],
    check: Callable[[], None],
) -> None:
    """Store again what the tree below `root`, which the tiers have, needs of those `shorter` packs of which it needs
    little, on which the snapshot does not lean any more then.

    A tree that cannot be read whole, or a chunk that cannot, leaves all as it is: the packs are locked.
    """
    visitor = TreeVisitor(load.chunk)
    needed: dict[bytes, dict[bytes, int]] = {}
    for chunk_id in visitor.chunks([root]):
        check()
        location = index.lookup(chunk_id)
        if location is not None and location.pack_id in shorter:
            needed.setdefault(location.pack_id, {})[chunk_id] = location.chunk_length
    if visitor.faults or not needed:
        return
    raw = raw_sizes(segment for segment in index.segments() if not segment.packs.isdisjoint(needed))
    little = {each for each, chunks in needed.items() if sum(chunks.values()) < EXTENDED_FROM * raw.get(each, 0)}
    counts = new_counts()
    writers = {PackKind.DATA: (session.data, ContentClass.GENERIC), PackKind.TREE: (session.tree, ContentClass.TREE)}
    gatherers = {
        kind: FrameGatherer(writer, compressor, of, counts[of], length_max=SHARED_FRAME_LENGTH_MAX)
        for kind, (writer, of) in writers.items()
    }
    half = session.half_filled(list(gatherers.values()))
    # Whoever shares the index and meets one of them from now on takes another place, or a new one. All of them at
    # once: what lies in two of them would else be found in the one that is left next.
    index.exclude_packs({*index.excluded_packs(), *little})
    apart = set(little)
    for pack_id in sorted(little):
        try:
            gatherer = gatherers[load.kind_of(pack_id)]
            bodies = [(chunk_id, load.chunk(chunk_id)) for chunk_id in needed[pack_id]]
        except RepositoryError:
            apart.discard(pack_id)
            index.exclude_packs(index.excluded_packs() - {pack_id})
            continue
        with half.held():
            for (chunk_id, body), is_new in zip(bodies, session.claim_all([each for each, _ in bodies]), strict=True):
                if is_new:
                    gatherer.gather(chunk_id, body)
            gatherer.write_full()
    half.flush()
    session.flush()
    usage.leave(apart)
