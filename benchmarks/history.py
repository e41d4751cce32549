"""Long histories in seconds: a repository as so many backups leave it, its packs and its old entries left out.

The library's own encoders write what opening and committing look at: the index segments as compaction leaves them,
the last entry, a checkpoint of all snapshots before it, and an entry that names the checkpoint. What lies before a
checkpoint is looked at by `check` alone.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.seeded import Seeded
from repository.format import ID_LENGTH
from repository.keys import crypto
from repository.keys.key_ring import KeyProvider
from repository.log.shared_map import SharedMap
from repository.log.state import LogState
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.ports import SYSTEM_RANDOMNESS
from repository.stored.index_segment import ROWS_MAX, Columns, Segment, encode_segment
from repository.stored.log_entry import (
    DIGEST_LENGTH,
    CheckpointMade,
    IndexChanged,
    Place,
    encode_entry,
    entry_object_key,
)
from repository.stored.snapshot import Snapshot, SnapshotManifest, Totals, snapshot_id
from repository.tiers.port import ObjectStore

LABELS = 50
CHUNKS_PER_PACK = 256
_CHUNK_BYTES = 1 << 17
_MINUTE_NS = 60 * 10**9


def make_history(store: ObjectStore, key: KeyProvider, snapshots: int, chunks: int) -> None:
    """A repository on one empty tier, with so many live snapshots and an index of so many chunks."""
    with Repository.init([store], key) as repository:
        tier = repository.tiers[0]
        sealed = repository.seal_segments(segments_of(chunks))
        tier.store_segments(sealed)
        _write_log(repository, tier, snapshots, [each.name for each in sealed])


def segments_of(chunks: int) -> Iterator[Segment]:
    """One run of segments, none longer than a writer makes them: what merging leaves of many small ones."""
    parts = -(-chunks // ROWS_MAX)
    for part in range(parts):
        rows = chunks // parts
        ids = np.frombuffer(Seeded("history", chunks, part).bytes(ID_LENGTH * rows), ">u8").reshape(rows, 4).copy()
        # The part's share of all ids.
        ids[:, 0] = (ids[:, 0].astype("u8") // np.uint64(parts)) + np.uint64((part << 64) // parts)
        packs = -(-rows // CHUNKS_PER_PACK)
        names = bytes(Seeded("packs", chunks, part).bytes(DIGEST_LENGTH * packs))
        records = np.zeros((rows, 5), "<u4")
        numbers = np.arange(rows, dtype="u4")
        records[:, 0] = numbers // CHUNKS_PER_PACK
        records[:, 1] = (numbers % CHUNKS_PER_PACK) * _CHUNK_BYTES
        records[:, 2] = records[:, 4] = Seeded("lengths", part).integers(rows, _CHUNK_BYTES) + 1
        pack_ids = [names[at : at + DIGEST_LENGTH] for at in range(0, len(names), DIGEST_LENGTH)]
        yield Segment(encode_segment(Columns(pack_ids, ids, records)))


def snapshot_of(number: int, domain: str, repository_id: bytes, parent: str | None = None) -> Snapshot:
    """The `number`-th snapshot of the history."""
    root = bytes(Seeded("root", number).bytes(ID_LENGTH)).hex()
    manifest = SnapshotManifest(
        time_ns=number * _MINUTE_NS,
        run_token=f"run-{root[:32]}",
        label=f"source {number % LABELS}",
        root=(root,),
        domain=domain,
        parent=parent,
        totals=Totals(files=number, folders=7, chunks=number, source_bytes=number << 20),
    )
    body = manifest.encode()
    return Snapshot(snapshot_id(repository_id, body).hex(), body, manifest)


def _write_log(repository: Repository, tier: OpenTier, snapshots: int, segments: list[str]) -> None:
    """The end of a log of one entry a snapshot, and a checkpoint of it."""
    before, root = tier.log.state, repository.keys.root
    assert before.tier_id is not None
    domain = repository.keys.active().identity_id.hex()
    made: list[Snapshot] = []
    for number in range(snapshots):
        parent = made[number - LABELS].id if number >= LABELS else None
        made.append(snapshot_of(number, domain, repository.id, parent))
    first = before.head.number + 1
    last = first + snapshots
    body = IndexChanged(time_ns=0, added=tuple(segments), reason="compacted")
    previous = before.head.digest if last == before.head.number + 1 else bytes(Seeded("previous").bytes(DIGEST_LENGTH))
    entry = encode_entry(body, Place(last, previous, before.tier_id, snapshots), root, SYSTEM_RANDOMNESS)
    tier.store.put(entry_object_key(last), entry)
    state = LogState(
        repository.id,
        before.genesis,
        base=last,
        digests=[crypto.sha256(entry)],
        tier_id=before.tier_id,
        snapshot_count=snapshots,
        snapshots=SharedMap({each.id: each for each in made}),
        by_token=SharedMap({each.brief.run_token: each.id for each in made}),
        entry_of=SharedMap({each.id: first + number for number, each in enumerate(made)}),
        segments=dict.fromkeys(segments, last),
        key_objects=before.key_objects,
    )
    checkpoint: CheckpointMade = tier.log.checkpoints.add(state, 0, SYSTEM_RANDOMNESS)
    tier.log.state = state
    tier.log.append(lambda _: checkpoint)
