"""Packs that are mostly waste: which they are, and what is needed of them, written again.

Promise: nothing is taken away here. What live snapshots need of such a pack is proven, compressed and encrypted again
under the newest key of its domain, and stored on every tier that has one of the packs; when it is in their indexes, the
old packs are as needless as any. `AT_ONCE` packs are moved at a time, while the one that was filled last is sent to all
tiers at once. Memory: what is needed of so many packs, as many that wait to be sent, one that is sent, and one that is
being filled for each domain and kind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from repository.errors import ObjectMissing, PackMarked, RepositoryError
from repository.format import Buffer, FrameEntry, PackKind, pack_object_key
from repository.index.index import Index, ids_of
from repository.index.pack_catalog import each_in_parallel
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import nearest_first
from repository.opened.present_objects import are_left
from repository.opened.repository import Repository
from repository.prune.needed_frames import NeededFrames, read_needed
from repository.prune.rows import rows_of
from repository.stored.buffers import Memory, new_memory
from repository.stored.compression import Compressor
from repository.stored.index_segment import Segment
from repository.stored.pack_builder import PACK_TARGET, PackWriter, RawFrame, SealedPack
from repository.stored.pack_reader import FrameOpener

AT_ONCE: Final = 3
"""Packs that are moved at a time: while one waits for its tier, the others keep two cores busy."""


def only_copies(segments: Iterable[Segment], packs: Collection[bytes], live: Collection[bytes]) -> set[bytes]:
    """Those of these packs, in which nothing is needed, that hold nothing but chunks of `live` snapshots: so all of it
    lies elsewhere. A writer that counts on one is refused at its commit, and finds the others.
    """
    left = set(packs)
    for chunk_id, pack_id in rows_of(segments, packs):
        if chunk_id not in live:
            left.discard(pack_id)
    return left


def mostly_waste(
    sizes: Mapping[bytes, int], used: Mapping[bytes, int], raw: Mapping[bytes, int], max_unused: float, bytes_max: int
) -> set[bytes]:
    """The packs to write again so that of what stays no more than this share is waste, the most wasteful first.

    `sizes`: of packs that something needs, as they are stored. `bytes_max`: how much is stored again, at most.
    """
    shares = {each: min(1.0, used.get(each, 0) / raw[each]) if raw.get(each) else 1.0 for each in sizes}
    waste = sum(size * (1 - shares[each]) for each, size in sizes.items())
    allowed = max_unused * sum(size * shares[each] for each, size in sizes.items())
    chosen: set[bytes] = set()
    moved = 0.0
    for each in sorted(sizes, key=lambda pack_id: (shares[pack_id], pack_id)):
        size = sizes[each] * shares[each]
        if waste <= allowed or shares[each] >= 1 or moved + size > bytes_max:
            break
        chosen.add(each)
        moved += size
        waste -= sizes[each] * (1 - shares[each])
    return chosen


class Buffers:
    """As many as are asked for: one for each writer, and it is given back when its pack is stored."""

    def __init__(self) -> None:
        self._free: list[Memory] = []

    def acquire(self) -> Memory:
        """A pack's memory."""
        with suppress(IndexError):
            return self._free.pop()
        return new_memory(PACK_TARGET)

    def release(self, buffer: Memory) -> None:
        """Give it back."""
        self._free.append(buffer)


class _Tools(threading.local):
    """What each thread keeps."""

    def __init__(self) -> None:
        self.compressor = Compressor()
        self.opener = FrameOpener()


class Repacking:
    """Writes chunks again, without an object lock: no locked snapshot needs any of them. For one thread."""

    def __init__(
        self,
        repository: Repository,
        tiers: Sequence[OpenTier],
        check_cancelled: Callable[[], None],
    ) -> None:
        self._repository = repository
        self._tiers = tiers
        self._check_cancelled = check_cancelled
        self._writers: dict[tuple[str, PackKind], PackWriter] = {}
        self._buffers = Buffers()
        self._index = Index()
        self._tools = _Tools()
        self._claiming = threading.Lock()
        self._storing = threading.Lock()
        self._senders: ThreadPoolExecutor
        self._sent: tuple[SealedPack, list[Future[None]]] | None = None
        self.stored_bytes = 0
        self.failed: dict[str, RepositoryError] = {}
        self.stored_packs: set[bytes] = set()
        self.unread: dict[bytes, RepositoryError] = {}
        """Packs of which what is needed cannot be read anywhere, and why: they stay."""

    def move(self, packs: Collection[bytes], wanted: set[bytes]) -> None:
        """Store the `wanted` chunks of these packs again; what was stored leaves the set. What no tier has whole is
        passed over: it stays.
        """
        with ThreadPoolExecutor(max(1, len(self._tiers)), thread_name_prefix="repack-send") as self._senders:
            for _ in each_in_parallel(lambda pack_id: self._move(pack_id, wanted), sorted(packs), AT_ONCE):
                self._check_cancelled()
            for writer in self._writers.values():
                writer.flush()
            self._await_sent()

    def commit(self) -> None:
        """Let the tiers' indexes know of what was stored. A tier that failed has nothing of it and is in `failed`."""
        self.stored_packs = set(self._index.pack_ids())
        segments = self._repository.seal_segments(self._index.take_new_segments())
        for tier in self._tiers:
            if tier.name in self.failed or not segments:
                continue
            try:
                tier.store.sync()
                if not tier.change_index(segments, (), "repacked", only_if=are_left(segments)):
                    raise PackMarked("packs were deleted meanwhile", tier=tier.name)
            except RepositoryError as error:
                self.failed[tier.name] = error

    def _move(self, pack_id: bytes, wanted: set[bytes]) -> None:
        """What is wanted of a pack as the nearest tier gives it, else as the others do."""

        def is_wanted(entry: FrameEntry) -> bool:
            return any(each in wanted for each in ids_of(entry.chunk_ids))

        errors: list[RepositoryError] = []
        for tier in nearest_first(self._repository.readable_tiers()):
            try:
                self._move_from(read_needed(tier.store, self._repository.keys, pack_id, is_wanted), wanted)
            except RepositoryError as error:
                errors.append(error)
            else:
                return
        # What is on no tier any more another prune has moved, or a check says that it is lost.
        there = [error for error in errors if not isinstance(error, ObjectMissing)]
        if there:
            self.unread[pack_id] = there[0]

    def _move_from(self, found: NeededFrames, wanted: set[bytes]) -> None:
        for entry, stored in found.frames:
            claimed = self._claim(entry, wanted)
            if not claimed:
                continue
            try:
                self._move_frame(found, entry, stored, claimed)
            except BaseException:
                with self._claiming:
                    wanted |= claimed
                raise

    def _claim(self, entry: FrameEntry, wanted: set[bytes]) -> set[bytes]:
        """What is wanted of a frame, for this thread alone."""
        with self._claiming:
            claimed = wanted.intersection(ids_of(entry.chunk_ids))
            wanted -= claimed
        return claimed

    def _move_frame(self, found: NeededFrames, entry: FrameEntry, stored: Buffer, claimed: set[bytes]) -> None:
        frame = self._tools.opener.verified(found.pack, stored, entry)
        kept = _kept(entry, frame.raw, claimed)
        raw, content_class = b"".join(kept.values()), entry.header.content_class
        compression, payload = self._tools.compressor.compress(raw, content_class)
        lengths = tuple(map(len, kept.values()))
        writer = self._writer(found.pack.keys.domain, found.pack.header.kind)
        writer.add(RawFrame(b"".join(kept), lengths, len(raw), content_class, compression, payload))

    def _writer(self, domain: str, kind: PackKind) -> PackWriter:
        with self._claiming:
            writer = self._writers.get((domain, kind))
            if writer is None:
                keys = self._repository.keys.active(domain)
                made = PackWriter(keys, kind, self._buffers, self._repository.randomness, self._store)
                writer = self._writers[domain, kind] = made
        return writer

    def _store(self, pack: SealedPack) -> None:
        with self._storing:
            self._await_sent()
            self.stored_bytes += len(pack.body)
            self._index.add_pack(pack.id, pack.frames)
            going = [tier for tier in self._tiers if tier.name not in self.failed]
            self._sent = pack, [self._senders.submit(self._send, tier, pack) for tier in going]

    def _send(self, tier: OpenTier, pack: SealedPack) -> None:
        try:
            tier.store.put(pack_object_key(pack.id), pack.body, durable=False)
        except RepositoryError as error:
            self.failed[tier.name] = error

    def _await_sent(self) -> None:
        """Return when the pack that is being sent is on all tiers that go on."""
        if self._sent is not None:
            pack, sending = self._sent
            self._sent = None
            for each in sending:
                each.result()
            self._buffers.release(pack.buffer)


def _kept(entry: FrameEntry, raw: memoryview, wanted: Collection[bytes]) -> dict[bytes, memoryview]:
    """The wanted chunks of a frame, by id, in their order."""
    kept: dict[bytes, memoryview] = {}
    at = 0
    for chunk in entry.chunks():
        if chunk.id in wanted:
            kept.setdefault(chunk.id, raw[at : at + chunk.length])
        at += chunk.length
    return kept
