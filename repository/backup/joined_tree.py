"""The tree above the parts of one snapshot: a folder that has each part under its name.

Promise: the pages of the parts are referred to, not copied; the same parts give the same tree.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from repository.errors import Damaged
from repository.format import Compression, ContentClass, PackKind, pack_object_key
from repository.index.segments import SealedSegment
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.stored.buffers import Memory, new_memory
from repository.stored.pack_builder import BUFFER_LENGTH_MIN, PackWriter, RawFrame, SealedPack
from repository.stored.tree import (
    NO_EXTRA,
    ROOT_NAME,
    ContentList,
    Extra,
    Page,
    Row,
    columns_of,
    decode_page,
    encode_page,
    page_boundaries,
)


@dataclass
class JoinedTree:
    """`root`: id of the root page. `packs`: those that hold the new pages. `segments`: what lists new ones."""

    root: bytes
    packs: set[bytes] = field(default_factory=set)
    segments: Sequence[SealedSegment] = ()
    bodies: Mapping[bytes, bytes] = field(default_factory=dict)

    def store(self, tier: OpenTier, lock_until: datetime | None) -> None:
        """Put the new packs on a tier. Raises the store's errors."""
        for pack_id, body in self.bodies.items():
            tier.store.put(pack_object_key(pack_id), body, lock_until=lock_until)


class _Buffers:
    """As many as are asked for: these packs are small."""

    def acquire(self) -> Memory:
        return new_memory(BUFFER_LENGTH_MIN)

    def release(self, buffer: Memory) -> None:
        del buffer


def joined_tree(
    repository: Repository, tiers: Sequence[OpenTier], domain: str, time_ns: int, roots: Mapping[bytes, bytes]
) -> JoinedTree:
    """Join the trees with these root pages (by the part's name). Raises `Damaged`, `NotInIndex`, a tier's error."""
    keys, index = repository.keys.active(domain), repository.session_index(tiers)
    tree = JoinedTree(b"")
    bodies: dict[bytes, bytes] = {}

    def on_pack(pack: SealedPack) -> None:
        bodies[pack.id] = bytes(pack.body)
        index.add_pack(pack.id, pack.frames)
        tree.packs.add(pack.id)

    writer = PackWriter(keys, PackKind.TREE, _Buffers(), repository.randomness, on_pack)
    new: set[bytes] = set()

    def keep(body: bytes) -> bytes:
        chunk_id = keys.chunk_id(body)
        location = index.lookup(chunk_id)
        if location is not None:
            tree.packs.add(location.pack_id)
        elif chunk_id not in new:
            new.add(chunk_id)
            writer.add(RawFrame(chunk_id, (len(body),), len(body), ContentClass.TREE, Compression.NONE, body))
        return chunk_id

    reader = ChunkReader(nearest_first(tiers), repository.keys)
    names = sorted(roots)
    rows: list[Row] = []
    contents: list[bytes | None] = []
    extras: dict[int, Extra] = {}
    for number, name in enumerate(names):
        page = decode_page(reader.chunk(roots[name]))
        if page.names != [ROOT_NAME]:
            raise Damaged("root page of a part is none", part=number)
        rows.append(page.rows()[0])
        contents.append(page.contents[0])
        if 0 in page.extras:
            extras[number] = page.extras[0]
    pages, start = ContentList(keep), 0
    for end in page_boundaries(names):
        own = {number - start: extras[number] for number in range(start, end) if number in extras}
        pages.extend(keep(encode_page(Page(names[start:end], columns_of(rows[start:end]), contents[start:end], own))))
        start = end
    ids, depth = pages.finish()
    root = Page([ROOT_NAME], columns_of([_root_row(rows, time_ns)]), [ids], {})
    if depth:
        root.extras[0] = replace(NO_EXTRA, depth=depth)
    tree.root = keep(encode_page(root))
    writer.flush()
    tree.segments = repository.seal_segments(index.take_new_segments())
    tree.bodies = bodies
    return tree


def _root_row(parts: Sequence[Row], time_ns: int) -> Row:
    """The folder above the parts, which nobody has read: it belongs to the owner of the first one."""
    _, uid, gid, *_ = parts[0]
    return (stat.S_IFDIR | 0o755, uid, gid, 0, time_ns, 0, 0, 1, 0)
