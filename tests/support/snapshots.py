"""What a snapshot holds, read through the repository alone, without restoring it."""

from typing import NamedTuple

from repository.opened.pack_access import ChunkReader
from repository.opened.repository import Repository
from repository.stored.snapshot import Snapshot
from repository.stored.tree import Entry, content_ids, decode_page


class Kept(NamedTuple):
    """An entry of a snapshot and, of a file, its bytes (holes left out)."""

    entry: Entry
    body: bytes | None


def kept(repository: Repository, snapshot: Snapshot, tier: str | None = None) -> dict[bytes, Kept]:
    """Every entry by its path; the root's is empty. `tier`: read from this one alone."""
    tiers = [repository.tier(tier)] if tier is not None else repository.tiers_with(snapshot)
    reader = ChunkReader(tiers, repository.keys)
    found: dict[bytes, Kept] = {}

    def look(content: bytes, depth: int, above: bytes) -> None:
        for page_id in content_ids(content, depth, reader.chunk):
            for entry in decode_page(reader.chunk(page_id)).entries():
                path = above + b"/" + entry.name if above else entry.name
                body = None
                if entry.is_file and entry.content is not None:
                    body = b"".join(
                        reader.chunk(chunk_id)
                        for chunk_id in content_ids(entry.content, entry.extra.depth, reader.chunk)
                    )
                found[path] = Kept(entry, body)
                if entry.is_directory and entry.content is not None:
                    look(entry.content, entry.extra.depth, path)

    look(b"".join(map(bytes.fromhex, snapshot.manifest.root)), 0, b"")
    return found
