"""Makes the golden repositories under tests/compat, which every later version has to read.

`python -m tests.compat.make_golden` makes what is missing and leaves alone what is there: a golden repository
is the work of the version that wrote it, and writing it anew would prove nothing. With `--anew` it does so all
the same (before a format is released). A change of a golden file is a commit of its own.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import urllib.parse
from pathlib import Path
from unittest.mock import patch

from repository.backup.backup import BackupOptions, backup
from repository.keys.key_file import KeyFile
from repository.opened import key_change
from repository.opened.repository import Repository
from repository.stored.chunker import ChunkerParameters
from repository.stored.log_entry import PacksMarked, PacksUnmarked, entry_object_key
from repository.streams.on_tier import StreamHead
from repository.streams.stream import open_stream
from repository.tiers.folder.store import DirectoryObjectStore
from sources.directory import DirectorySource
from tests.support.file_trees import Seen, seen
from tests.support.repositories import SeededRandomness, photos, write_snapshot

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "repository-v1"
NEAR, FAR = "near", "far"
STREAM = "main/wal"
STREAM_BEGINS = 1 << 24
OLD_TIME_NS = 1_766_000_000_123_456_789


def main(arguments: list[str]) -> int:
    """Make what is missing; 0 when all is there afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anew", action="store_true", help="also write anew what is there")
    options = parser.parse_args(arguments)
    if options.anew and GOLDEN.exists():
        shutil.rmtree(GOLDEN)
    if not GOLDEN.exists():
        _make(GOLDEN)
    return 0


def stores(folder: Path) -> list[DirectoryObjectStore]:
    """The two tiers of a golden repository."""
    return [DirectoryObjectStore(str(folder / name), name) for name in (NEAR, FAR)]


def described(tree: dict[bytes, Seen]) -> dict[str, dict[str, object]]:
    """A tree as JSON: what every restore gives back, whoever runs it on whatever file system."""
    return {
        urllib.parse.quote_from_bytes(path): {
            "kind": entry.kind,
            "mode": entry.mode,
            "mtime_ns": entry.mtime_ns,
            "content": entry.content.hex(),
            "same_file": urllib.parse.quote_from_bytes(entry.same_file),
        }
        for path, entry in tree.items()
    }


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _make(golden: Path) -> None:
    golden.mkdir(parents=True)
    KeyFile.create(golden / "key")
    provider = KeyFile.load(golden / "key")
    Repository.init(stores(golden), provider, chunker=ChunkerParameters(4 << 10, 16 << 10, 64 << 10)).close()
    snapshots = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        _first_tree(source)
        with Repository.open(stores(golden), provider) as repository:
            snapshots.append(_save(repository, source, "first"))
            _append(repository, 0, 3)
        _second_tree(source)
        # The second tier is away from here on: it is behind.
        with Repository.open(stores(golden)[:1], provider) as repository:
            snapshots.append(_save(repository, source, "second"))
        KeyFile.rotate(golden / "key", golden / "new-key")
        with Repository.open(stores(golden)[:1], provider) as repository:
            key_change.rewrap(repository, KeyFile.load(golden / "new-key"))
            key_change.add_generation(repository, KeyFile.load(golden / "new-key"))
            key_change.add_generation(repository, KeyFile.load(golden / "new-key"), "tenant")
        (source / "third.txt").write_bytes(b"written under the second key\n")
        with Repository.open(stores(golden)[:1], KeyFile.load(golden / "new-key")) as repository:
            snapshots.append(_save(repository, source, "third", {STREAM: _append(repository, 3, 5)}))
            _unfinished_business(repository)
    for key in ("key", "new-key"):
        (golden / key).chmod(0o644)
    expected = {"snapshots": snapshots, "broken": _broken(golden), "digests": digests(golden)}
    (golden / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def appended(number: int) -> bytes:
    """What the golden stream's piece `number` (from 0 on) holds."""
    return b"commit %d\n" % number * (1 + 20 * number)


def _append(repository: Repository, first: int, end: int) -> StreamHead:
    """Append some pieces to the golden stream, and let the logs say so."""
    stream = open_stream(repository, STREAM)
    for number in range(first, end):
        stream.append(appended(number), position=None if number else STREAM_BEGINS)
    return stream.say()


def _save(
    repository: Repository, source: Path, token: str, streams: dict[str, StreamHead] | None = None
) -> dict[str, object]:
    result = backup(
        repository,
        DirectorySource(os.fsencode(source)),
        options=BackupOptions(run_token=token, label="golden", tags=("compat",), streams=streams or {}, workers=1),
    )
    return {"id": result.snapshot_id, "run_token": token, "tree": described(seen(source))}


def _first_tree(source: Path) -> None:
    """One of everything, small."""
    root = os.fsencode(source)
    (source / "album" / "2024").mkdir(parents=True)
    (source / "empty folder").mkdir()
    (source / "empty").touch()
    (source / "album" / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + hashlib.shake_256(b"photo").digest(9_000))
    ledger = b"".join(b"%06d,deposit received,paid\n" % (number // 40) for number in range(25_000))
    (source / "ledger.csv").write_bytes(ledger)
    for number in range(30):
        text = b"Contract %d, between the couple and the florist.\n" % number
        (source / "album" / "2024" / f"contract {number}.txt").write_bytes(text * (number + 1))
    with open(root + b"/not utf-8 \xff\xfe", "wb") as file:
        file.write(b"bytes")
    with open(root + b"/" + b"n" * 255, "wb") as file:
        file.write(b"long name")
    os.symlink(b"ledger.csv", root + b"/link")
    os.symlink(b"/nowhere/at \xff all", root + b"/dangling")
    os.link(source / "album" / "photo.jpg", source / "the same photo")
    os.mkfifo(source / "fifo", 0o640)
    with (source / "sparse").open("wb") as sparse:
        sparse.truncate(3_000_000)
        sparse.seek(1_000_000)
        sparse.write(b"in the middle")
    with contextlib.suppress(OSError):
        os.setxattr(source / "ledger.csv", "user.colour", b"white")
    (source / "empty").chmod(0o400)
    (source / "album").chmod(0o2750)
    for number, path in enumerate(sorted(source.rglob("*"))):
        os.utime(path, ns=(0, OLD_TIME_NS + number), follow_symlinks=False)


def _second_tree(source: Path) -> None:
    """A day later: one file changed, one gone, one new."""
    with (source / "ledger.csv").open("r+b") as ledger:
        ledger.seek(300_000)
        ledger.write(b"a correction in the middle of the ledger\n")
    (source / "album" / "2024" / "contract 3.txt").unlink()
    (source / "album" / "second.jpg").write_bytes(hashlib.shake_256(b"second").digest(3_000))


def _unfinished_business(repository: Repository) -> None:
    """Marks that were set and taken back, a checkpoint, and a writer that died after it uploaded packs."""
    tier = repository.tiers[0]
    packs = tuple(sorted(pack.hex() for pack in tier.index.pack_ids()))
    now = repository.clock.now_ns
    tier.log.append(lambda _: PacksMarked(time_ns=now(), packs=packs))
    tier.log.append(lambda _: PacksUnmarked(time_ns=now(), packs=packs))
    with patch("repository.log.commit_log.CHECKPOINT_EVERY", 1):
        tier.log.checkpoint()
    write_snapshot(repository, [tier], photos(2), "died", SeededRandomness(99), commit=False)
    tier.store.sync()


def _broken(golden: Path) -> list[dict[str, object]]:
    """Ways to break the whole repository, and what a check has to say of each.

    `changes`: of objects (tier and key): flip a bit at `place`, cut to `length`, delete, or give it the bytes of
    another one. `finds`: tier, problem and object of all damage that a check with data reports. `is_repaired`:
    whether the other tier's objects suffice.
    """
    data, tree = sorted(
        (f"packs/{path.name[:2]}/{path.name}" for path in (golden / FAR / "packs").rglob("*") if path.is_file()),
        key=lambda name: (golden / FAR / name).read_bytes()[12],  # the kind of pack
    )
    (segment,) = (f"index/{path.name}" for path in (golden / FAR / "index").iterdir())
    (key,) = (f"keys/{path.name}" for path in (golden / FAR / "keys").iterdir())
    (manifest,) = (f"snapshots/{path.name}" for path in (golden / FAR / "snapshots").iterdir())
    (checkpoint,) = (f"checkpoints/{path.name}" for path in (golden / NEAR / "checkpoints").iterdir())
    entry = entry_object_key(3)
    piece = min(path.relative_to(golden / FAR).as_posix() for path in (golden / FAR / "streams").rglob("*/0*2"))

    def case(
        name: str, change: dict[str, object], *finds: tuple[str, str, str], is_repaired: bool = True
    ) -> dict[str, object]:
        return {"name": name, "changes": [{"tier": NEAR} | change], "finds": finds, "is_repaired": is_repaired}

    def flip(object_key: str, place: int) -> dict[str, object]:
        return {"object": object_key, "do": "flip", "place": place}

    size = (golden / FAR / data).stat().st_size
    damaged_pack, lost_pack = (NEAR, "pack-damaged", data), (NEAR, "pack-missing", data)
    cases = [
        case("config with a flipped bit", flip("config", 340), (NEAR, "config", "config")),
        case("config lost", {"object": "config", "do": "delete"}, (NEAR, "config", "config")),
        case("key object with a flipped bit", flip(key, 250), (NEAR, "key", key)),
        case("key object lost", {"object": key, "do": "delete"}, (NEAR, "key", key)),
        case("log entry with a flipped bit", flip(entry, 200), (NEAR, "log-entry", entry)),
        case("log entry lost", {"object": entry, "do": "delete"}, (NEAR, "log-entry", entry)),
        case(
            "log entry of the other tier",
            {"object": entry, "do": "copy", "from": [FAR, entry]},
            (NEAR, "log-entry", entry),
        ),
        case("manifest with a flipped bit", flip(manifest, 100), (NEAR, "manifest", manifest)),
        case("manifest lost", {"object": manifest, "do": "delete"}, (NEAR, "manifest", manifest)),
        case("checkpoint with a flipped bit", flip(checkpoint, 100), (NEAR, "checkpoint", checkpoint)),
        case("index segment with a flipped bit", flip(segment, 100), (NEAR, "index-segment", segment)),
        case("index segment lost", {"object": segment, "do": "delete"}, (NEAR, "index-segment", segment)),
        case("header of a pack with a flipped bit", flip(data, 50), damaged_pack),
        case("frame of a pack with a flipped bit", flip(data, 5_000), damaged_pack),
        case("footer of a pack with a flipped bit", flip(data, size - 100), damaged_pack),
        case("trailer of a pack with a flipped bit", flip(data, size - 20), damaged_pack),
        case("pack cut off", {"object": data, "do": "cut", "length": 8_000}, damaged_pack),
        case("pack lost", {"object": data, "do": "delete"}, lost_pack),
        case("pack with the bytes of another", {"object": data, "do": "copy", "from": [NEAR, tree]}, damaged_pack),
        case("piece of a stream with a flipped bit", flip(piece, 120), (NEAR, "stream-piece", piece)),
        case("piece of a stream lost", {"object": piece, "do": "delete"}, (NEAR, "stream-piece", piece)),
        case("tree pack with a flipped bit", flip(tree, 300), (NEAR, "pack-damaged", tree)),
    ]
    both = case(
        "pack damaged on both tiers", flip(data, 5_000), damaged_pack, (FAR, "pack-damaged", data), is_repaired=False
    )
    both["changes"] = [{"tier": tier} | flip(data, 5_000) for tier in (NEAR, FAR)]
    return [*cases, both]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
