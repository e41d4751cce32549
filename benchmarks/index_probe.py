"""An index of many chunks: bytes per chunk at rest and in memory, lookups per second. Prints JSON.

`build` makes the index as a backup does (packs are added, segments taken) and keeps the segments in a
folder; `search` reads them into an empty index in a process of its own, so that only what searching
needs is counted.
"""

import argparse
import json
import mmap
import sys
import time
from pathlib import Path

from benchmarks.memory import own_memory
from benchmarks.seeded import Seeded
from repository.format import Compression, ContentClass, FrameEntry, FrameHeader
from repository.index.index import Index
from repository.stored.index_segment import Segment

_CHUNKS_PER_FRAME = 8
_FRAMES_PER_PACK = 32
_LOOKUPS = 200_000


def build(folder: Path, chunks: int) -> dict[str, float]:
    """An index of that many chunks, its segments written below `folder`."""
    index = Index()
    seconds = 0.0
    per_pack = _CHUNKS_PER_FRAME * _FRAMES_PER_PACK
    header = FrameHeader(1 << 20, 1 << 20, _CHUNKS_PER_FRAME, ContentClass.PHOTO, Compression.NONE, bytes(16))
    lengths = ((1 << 20) // _CHUNKS_PER_FRAME,) * _CHUNKS_PER_FRAME
    for number in range(chunks // per_pack):
        ids = bytes(Seeded("chunks", number).bytes(32 * per_pack))
        step = 32 * _CHUNKS_PER_FRAME
        frames = [
            FrameEntry(96 + frame * (1 << 20), header, ids[frame * step : (frame + 1) * step], lengths)
            for frame in range(_FRAMES_PER_PACK)
        ]
        pack_id = bytes(Seeded("pack", number).bytes(32))
        started = time.perf_counter()
        index.add_pack(pack_id, frames)
        seconds += time.perf_counter() - started
    started = time.perf_counter()
    segments = index.take_new_segments()
    seconds += time.perf_counter() - started
    for number, segment in enumerate(segments):
        (folder / f"{number:04}").write_bytes(segment.body)
    return {
        "chunks": len(index),
        "stored_bytes": float(sum(len(segment.body) for segment in segments)),
        "segments": len(segments),
        "chunks_added_per_second": len(index) / seconds,
        "peak_bytes": own_memory()["VmHWM"],
    }


def search(folder: Path) -> dict[str, float]:
    """Lookups of chunks that are there and of chunks that are not, one thread."""
    paths = sorted(folder.iterdir())
    per_pack = _CHUNKS_PER_FRAME * _FRAMES_PER_PACK
    chunks = sum(Segment(_mapped(path)).rows for path in paths)
    there: list[bytes] = []
    for number in Seeded("picks").integers(_LOOKUPS // per_pack, chunks // per_pack).tolist():
        ids = bytes(Seeded("chunks", number).bytes(32 * per_pack))
        there.extend(ids[at : at + 32] for at in range(0, len(ids), 32))
    others = bytes(Seeded("absent").bytes(32 * len(there)))
    absent = [others[at : at + 32] for at in range(0, len(others), 32)]
    # What was made until here would be counted otherwise: the index is opened last.
    before = own_memory()
    index = Index([Segment(_mapped(path)) for path in paths])
    found = _rate(index, there, expected=True)
    missed = _rate(index, absent, expected=False)
    after = own_memory()
    return {
        "chunks": chunks,
        "hits_per_second": found,
        "misses_per_second": missed,
        "resident_bytes": after["VmRSS"] - before["VmRSS"],
        "private_bytes": after["RssAnon"] - before["RssAnon"],
    }


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _rate(index: Index, ids: list[bytes], *, expected: bool) -> float:
    started = time.perf_counter()
    found = sum(1 for each in ids if index.lookup(each) is not None)
    elapsed = time.perf_counter() - started
    if found != (len(ids) if expected else 0):
        raise AssertionError(f"{found} of {len(ids)} chunks were found")
    return len(ids) / elapsed


def main() -> int:
    """One of the two steps."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index_probe", description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=("build", "search"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chunks", type=int, default=5_000_000)
    arguments = parser.parse_args()
    result = build(arguments.folder, arguments.chunks) if arguments.step == "build" else search(arguments.folder)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
