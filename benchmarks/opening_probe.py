"""A repository with a long history: what it costs to open, and to commit to. Prints JSON.

`make` writes the history to a tier (a folder, or a bucket by its address), `open` opens it, `commit` commits snapshots
to it one after the other as a backup does, each in a process of its own. Requests are those that the tier is asked:
of a bucket the HTTP requests, of a folder the calls.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.history import make_history, snapshot_of
from repository.format import Compression, ContentClass, FrameEntry, FrameHeader
from repository.index.index import Index
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.tiers.local_cache import LocalCache
from repository.tiers.location import open_tier
from repository.tiers.port import ObjectStore
from repository.tiers.s3.store import S3ObjectStore

_CALLS = ("put", "get", "get_range", "head", "list", "delete", "extend_lock")


class Requests:
    """How many requests a store was asked, by their kinds."""

    def __init__(self, store: ObjectStore) -> None:
        self.kinds: dict[str, int] = {}
        if isinstance(store, S3ObjectStore):
            events = store._connection._current_client().meta.events  # noqa: SLF001 - nobody else counts what goes out
            events.register("before-send.s3", lambda request, **_: self._count(request.method))
        else:
            for name in _CALLS:
                setattr(store, name, self._counted(name, getattr(store, name)))

    def _count(self, kind: str) -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def _counted(self, kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*words: Any, **options: Any) -> Any:
            self._count(kind)
            return call(*words, **options)

        return counted

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.kinds.values())


def open_again(url: str, key: KeyFile, cache: LocalCache) -> dict[str, Any]:
    """Open, and look for the latest snapshot of a source."""
    store = open_tier(url, name="tier")
    requests = Requests(store)
    started = time.perf_counter()
    busy = time.process_time()
    with Repository.open([store], key, cache=cache) as repository:
        opened, used, asked = time.perf_counter(), time.process_time(), requests.total
        repository.find_snapshot("latest", label="source 7" if len(repository.snapshots()) > 7 else None)
        found = time.perf_counter()
        tier = repository.tiers[0]
        return {
            "snapshots": len(tier.snapshots()),
            "chunks": len(tier.index),
            "segments": len(tier.index.segments()),
            "behind_checkpoint": tier.log.state.head.number - tier.log.state.base,
            "open_seconds": opened - started,
            "open_cpu_seconds": used - busy,
            "find_seconds": found - opened,
            "requests": asked,
            "kinds": requests.kinds,
            "state": str(tier.state),
        }


def commit_once(repository: Repository, number: int) -> None:
    """What a backup of one new chunk asks of the only tier, beside the chunk's pack."""
    domain = repository.keys.active().identity_id.hex()
    snapshot = snapshot_of(number, domain, repository.id)
    pack_id = bytes.fromhex(snapshot.manifest.root[0])
    token = repository.randomness.token_bytes(16)
    repository.begin_writing(token)
    sealed = repository.seal_segments(small_index(pack_id).take_new_segments())
    repository.tiers[0].commit_snapshot(snapshot.body, packs=[pack_id], new_segments=sealed)
    repository.end_writing(token)


def small_index(pack_id: bytes) -> Index:
    """One chunk, in a pack of its own."""
    header = FrameHeader(1000, 1000, 1, ContentClass.PHOTO, Compression.NONE, bytes(16))
    index = Index()
    index.add_pack(pack_id, [FrameEntry(100, header, pack_id, (1000,))])
    return index


def commit(url: str, key: KeyFile, cache: LocalCache, count: int, first: int) -> dict[str, Any]:
    """What a backup does on a tier beside its packs, so many times; and as many small entries of the log."""
    store = open_tier(url, name="tier")
    with Repository.open([store], key, cache=cache) as repository:
        tier = repository.tiers[0]
        requests = Requests(store)
        seconds: list[float] = []
        busy: list[float] = []
        asked: list[int] = []
        for number in range(first, first + count):
            before, started, used = requests.total, time.perf_counter(), time.process_time()
            commit_once(repository, number)
            busy.append(time.process_time() - used)
            seconds.append(time.perf_counter() - started)
            asked.append(requests.total - before)
        return {
            "median_ms": 1e3 * statistics.median(seconds),
            "mean_ms": 1e3 * statistics.fmean(seconds),
            "median_cpu_ms": 1e3 * statistics.median(busy),
            "mean_cpu_ms": 1e3 * statistics.fmean(busy),
            "requests_median": statistics.median(asked),
            "requests_mean": statistics.fmean(asked),
            "requests_most": max(asked),
            "state": str(tier.state),
        }


def main() -> int:
    """Run one of the three."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.opening_probe")
    parser.add_argument("what", choices=("make", "open", "commit"))
    parser.add_argument("url", help="of the tier")
    parser.add_argument("folder", type=Path, help="where key and cache are")
    parser.add_argument("--snapshots", type=int, default=1000)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--commits", type=int, default=100)
    options = parser.parse_args()
    key_path, cache = options.folder / "key", LocalCache(options.folder / "cache")
    result: dict[str, Any] = {}
    if options.what == "make":
        KeyFile.create(key_path)
        make_history(open_tier(options.url, name="tier"), KeyFile.load(key_path), options.snapshots, options.chunks)
    elif options.what == "open":
        result = open_again(options.url, KeyFile.load(key_path), cache)
    else:
        result = commit(options.url, KeyFile.load(key_path), cache, options.commits, options.snapshots)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
