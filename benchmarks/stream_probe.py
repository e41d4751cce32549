"""A backup of a stream that no disk here could hold, to a tier that proves every byte it receives and drops it.

The source is a folder of seeded files of 1 GB, made while they are read: nothing compresses, nothing
repeats. The tier keeps trees, index and log, and of each data pack checks the name, decrypts every frame and
recomputes the identity of every chunk before it drops the pack; it remembers the length of each chunk.
Afterwards the stream is made once more, cut as the stored tree says, and each piece's identity is compared:
so every byte is known to have arrived, in its place. Prints JSON.
"""

import argparse
import json
import sys
import threading
import time

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from benchmarks.made_folder import MADE_NS, MadeFile, MadeFolder
from benchmarks.memory import own_memory
from cli.snapshot_tree import SnapshotTree
from repository.backup.backup import BackupOptions, backup
from repository.backup.source import SmallFile
from repository.format import ContentClass, PackKind, decode_pack_header, pack_id_of
from repository.keys.key_file import KeyFile
from repository.keys.key_ring import KeyRing
from repository.opened.pack_access import ChunkReader
from repository.opened.repository import Repository
from repository.stored.pack_reader import read_frames
from repository.stored.tree import Row, content_ids
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import Body, buffers_of

_FILE_BYTES = 10**9
_ZEROS = bytes(1 << 20)
_BLOCK = 16


class SeededFile(MadeFile):
    """One file of the stream; see `repository.source.SourceFile`."""

    head_class: ContentClass | None = ContentClass.PHOTO

    def __init__(self, number: int, row: Row) -> None:
        super().__init__(row)
        self._stream = _stream(number)
        self._left = row[3]

    def read_into(self, view: memoryview) -> int:
        """The next bytes, at most 1 MiB."""
        length = min(len(view), len(_ZEROS), self._left)
        if len(view) >= length + _BLOCK - 1:
            self._stream.update_into(memoryview(_ZEROS)[:length], view)
        else:
            # `update_into` wants room for a block more than it writes.
            view[:length] = self._stream.update(_ZEROS[:length])
        self._left -= length
        return length


class SeededFolder(MadeFolder):
    """The folder with the stream's files; see `repository.source.SourceDirectory`."""

    def __init__(self, size: int) -> None:
        count = -(-size // _FILE_BYTES)
        self.sizes = [min(_FILE_BYTES, size - number * _FILE_BYTES) for number in range(count)]

    def names(self) -> list[bytes]:
        """Names in ascending order."""
        return [b"%06d" % number for number in range(len(self.sizes))]

    def row(self, name: bytes) -> Row:
        """A file's row."""
        number = int(name)
        return 0o100644, 0, 0, self.sizes[number], MADE_NS, MADE_NS, number + 1, 1, 0

    def read_small(self, name: bytes, row: Row) -> SmallFile:
        """The whole of a small last file."""
        return SmallFile(_stream(int(name)).update(bytes(row[3])), row, None)

    def open(self, name: bytes, row: Row) -> SeededFile:
        """A file of the stream."""
        return SeededFile(int(name), row)


class SeededSource:
    """The stream as a source; see `repository.source.Source`."""

    def __init__(self, size: int) -> None:
        self.folder = SeededFolder(size)

    def require(self) -> None:
        """It is always there."""

    def close(self) -> None:
        """Nothing is held."""

    def root(self) -> tuple[Row, SeededFolder]:
        """The only folder."""
        return (0o040755, 0, 0, 0, 10**18, 10**18, 10**6, 2, 0), self.folder


class ProvingStore(MemoryObjectStore):
    """A tier that proves data packs and drops them; all else it keeps in memory."""

    def __init__(self) -> None:
        super().__init__("proving")
        self.ring: KeyRing | None = None
        self.lengths: dict[bytes, int] = {}
        self.dropped_bytes = 0
        self.proving_seconds = 0.0
        self._counting = threading.Lock()

    def put(self, key: str, body: Body, *, sha256: bytes | None = None, **options: object) -> None:
        """Prove and drop a data pack; keep anything else."""
        parts = buffers_of(body)
        if not key.startswith("packs/") or decode_pack_header(parts[0]).kind is not PackKind.DATA:
            super().put(key, body, sha256=sha256, **options)  # type: ignore[arg-type]
            return
        started = time.thread_time()
        whole = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
        pack_id = bytes.fromhex(key.rpartition("/")[2])
        if pack_id_of(whole) != pack_id or self.ring is None:
            raise AssertionError("the digest of a pack is its name")
        lengths = {
            chunk.id: chunk.length for entry, _ in read_frames(whole, self.ring, pack_id) for chunk in entry.chunks()
        }
        with self._counting:
            self.lengths |= lengths
            self.dropped_bytes += len(whole)
            self.proving_seconds += time.thread_time() - started


def stream(size: int, memory_mib: int) -> dict[str, float]:
    """Back up `size` bytes, then compare all of them."""
    store = ProvingStore()
    with Repository.init([store], KeyFile([bytes(range(32))])) as repository:
        store.ring = repository.keys
        source = SeededSource(size)
        options = BackupOptions(run_token="stream", label="stream", memory_budget=memory_mib << 20)
        started, cpu = time.perf_counter(), time.process_time()
        result = backup(repository, source, options=options)
        elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
        peak = own_memory()["VmHWM"]
        if result.file_errors or result.totals.source_bytes != size:
            raise AssertionError(f"the stream is not in the snapshot whole: {result.totals}, {result.error_counts}")
        compared = _compare(repository, store, source.folder)
    return {
        "bytes": size,
        "compared_bytes": compared,
        "seconds": elapsed,
        "cpu_seconds": cpu,
        "proving_cpu_seconds": store.proving_seconds,
        "stored_bytes": store.dropped_bytes + sum(map(len, store.contents().values())),
        "kept_bytes": sum(map(len, store.contents().values())),
        "peak_bytes": peak,
    }


def _compare(repository: Repository, store: ProvingStore, folder: SeededFolder) -> int:
    """Make the stream again and compare the identity of each piece with the tree's."""
    reader = ChunkReader(repository.readable_tiers(), repository.keys)
    tree = SnapshotTree(reader, repository.find_snapshot("latest"), _fail)
    keys = repository.keys.active()
    compared = 0
    for number, entry in enumerate(tree.below(tree.root(), b"")):
        seeded, left = _stream(number), folder.sizes[number]
        for chunk_id in content_ids(entry.content or b"", entry.extra.depth, reader.chunk):
            length = store.lengths[chunk_id]
            if keys.chunk_id(seeded.update(bytes(length))) != chunk_id:
                raise AssertionError(f"file {number} differs")
            left -= length
        if left:
            raise AssertionError(f"file {number} is not whole")
        compared += folder.sizes[number]
    return compared


def _fail(path: bytes, error: Exception) -> None:
    raise AssertionError(f"a page of the tree cannot be read below {path!r}") from error


def _stream(number: int) -> CipherContext:
    key = b"wedsync-bench stream".ljust(32, b".")
    return Cipher(algorithms.AES256(key), modes.CTR(number.to_bytes(8, "big") + bytes(8))).encryptor()


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream_probe", description=__doc__.split("\n")[0])
    parser.add_argument("--bytes", type=int, default=10**11)
    parser.add_argument("--memory", type=int, default=256, metavar="MIB")
    arguments = parser.parse_args()
    print(json.dumps(stream(arguments.bytes, arguments.memory)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
