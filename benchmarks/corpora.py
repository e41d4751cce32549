"""The corpora: seeded, honest about what they stand for, built once below a work folder and kept there.

| class | what it is | what it stands for |
|---|---|---|
| photos | a JPEG's structure around a scan without redundancy (`benchmarks.jpeg`) | a photographer's deliveries |
| tables | a real Postgres: `pg_dump -Fd -Z0` and relation files (`benchmarks.postgres`) | databases |
| documents | contract-like HTML, each file its own (`benchmarks.documents`) | contracts, mails, exports |
| small | files of exactly one size, half thumbnail-like, half text | caches, mail folders, web sites |

`python -m benchmarks.corpora NAME --work FOLDER [--scale S]` builds one. The benchmark does so in a
process of its own: what building needs in memory must not show in what is measured.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.documents import WORDS, contract, text_blocks
from benchmarks.jpeg import photo_parts
from benchmarks.postgres import Postgres
from benchmarks.seeded import Seeded

GB, MB = 10**9, 10**6
DEFAULT_WORK = Path("/var/tmp/wedsync-bench")  # disk, and reachable by the user that Postgres runs as
_VERSION = 2  # part of each cached folder's name: raise it when a corpus changes


@dataclass(frozen=True)
class Corpus:
    """A folder with a corpus in it."""

    name: str
    folder: Path
    files: int
    bytes: int


@dataclass(frozen=True)
class _Kind:
    """How to build one corpus at scale 1."""

    build: Callable[[Path, Path, float], None]
    summary: str


def photos(folder: Path, size: int, *, album_size: int = 400) -> None:
    """Photos of 2 to 14 MB (log-normal around 5.5 MB) in albums, `size` bytes in all."""
    number = written = 0
    while written < size:
        seeded = Seeded("photo", number)
        each = int(min(max(5.5e6 * 2.718281828 ** (0.4 * float(seeded.normal(1)[0])), 2e6), 14e6))
        each = min(each, max(size - written, 64 * 1024))
        album = folder / f"wedding-{number // album_size:03}"
        album.mkdir(parents=True, exist_ok=True)
        with (album / f"IMG_{number:05}.JPG").open("wb") as file:
            file.writelines(photo_parts(seeded, each))
            written += file.tell()
        number += 1


def tables(folder: Path, size: int, scratch: Path) -> None:
    """A database twice, about `size` bytes in all: as `dump` and as `cluster`, its data folder without log."""
    with Postgres(scratch / "postgres", scratch / "postgres-tools") as postgres:
        postgres.populate(int(size * 0.6), WORDS)
        postgres.dump(scratch / "postgres" / "dump")
    shutil.copytree(scratch / "postgres" / "dump", folder / "dump", copy_function=shutil.copyfile)
    without = shutil.ignore_patterns("pg_wal", "postmaster.*")
    shutil.copytree(postgres.folder, folder / "cluster", copy_function=shutil.copyfile, ignore=without)
    shutil.rmtree(scratch / "postgres")


def database(folder: Path, size: int, scratch: Path) -> None:
    """A stopped cluster (`cluster` and `wal`) of about `size` bytes, for `Postgres(template=…)`."""
    with Postgres(scratch / "postgres", scratch / "postgres-tools") as postgres:
        postgres.populate(size, WORDS)
    without = shutil.ignore_patterns("pg_wal")
    for name in ("cluster", "wal"):
        shutil.copytree(scratch / "postgres" / name, folder / name, ignore=without)
    shutil.rmtree(scratch / "postgres")


def documents(folder: Path, size: int) -> None:
    """Contracts of a hundred suppliers, `size` bytes in all."""
    number = written = 0
    while written < size:
        supplier = number % 100
        (folder / f"supplier-{supplier:02}").mkdir(parents=True, exist_ok=True)
        text = contract(Seeded("contract", number), supplier)
        (folder / f"supplier-{supplier:02}" / f"agreement-{number:06}.html").write_bytes(text)
        written += len(text)
        number += 1


def small_files(folder: Path, count: int, size: int = 4096) -> None:
    """`count` files of `size` bytes each, a thousand to a folder; the even ones like thumbnails, the odd ones text."""
    texts = text_blocks(Seeded("small-text"), size)
    for number in range(count):
        _small_path(folder, number).parent.mkdir(parents=True, exist_ok=True)
        _small_path(folder, number).write_bytes(_small(number, size, 0) if number % 2 == 0 else next(texts))


def change_small_files(folder: Path, count: int, percent: float, generation: int, size: int = 4096) -> int:
    """Give `percent` of the files, scattered, new content of the same size. Returns how many."""
    changed = int(count * percent / 100)
    texts = text_blocks(Seeded("changed-text", generation), size)
    picks = sorted(set(Seeded("changed", generation).integers(2 * changed, count).tolist()))[:changed]
    for number in picks:
        new = _small(number, size, generation) if number % 2 == 0 else next(texts)
        _small_path(folder, number).write_bytes(new)
    return len(picks)


def _small_path(folder: Path, number: int) -> Path:
    return folder / f"{number // 1000:04}" / f"{number % 1000:03}.{'jpg' if number % 2 == 0 else 'txt'}"


def _small(number: int, size: int, generation: int) -> bytes:
    """A thumbnail's start and a scan."""
    head = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
    return head + bytes(Seeded("small", number, generation).bytes(size - len(head) - 2)) + b"\xff\xd9"


def _wedding(folder: Path, scratch: Path, scale: float) -> None:
    photos(folder / "photos", int(2 * GB * scale))
    tables(folder / "tables", int(0.5 * GB * scale), scratch)


def _wedding_large(folder: Path, scratch: Path, scale: float) -> None:
    """Ten times as many bytes. The database stays the same: its rows take a minute per 200 MB to make."""
    tables(folder / "tables", int(0.5 * GB * scale), scratch)
    photos(folder / "photos", int(24.5 * GB * scale))


KINDS = {
    "database": _Kind(
        lambda folder, scratch, scale: database(folder, int(0.4 * GB * scale), scratch), "a stopped server of 400 MB"
    ),
    "wedding": _Kind(_wedding, "2 GB of photos and 0.5 GB of tables"),
    "wedding-small": _Kind(
        lambda folder, scratch, scale: _wedding(folder, scratch, 0.28 * scale),
        "0.56 GB of photos and 0.14 GB of tables",
    ),
    "wedding-large": _Kind(_wedding_large, "24.5 GB of photos and 0.5 GB of tables"),
    "documents": _Kind(lambda folder, _, scale: documents(folder, int(0.2 * GB * scale)), "200 MB of contracts"),
    "small-files": _Kind(lambda folder, _, scale: small_files(folder, int(200_000 * scale)), "200,000 files of 4 KB"),
}


def build(kind: str, work: Path, scale: float) -> Corpus:
    """The corpus, built now or found below `work`."""
    folder = _place(kind, work, scale)
    record = folder.with_suffix(".json")
    if not record.exists():
        shutil.rmtree(folder, ignore_errors=True)
        scratch = work / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        for each in (work, folder.parent, scratch, folder):
            each.mkdir(parents=True, exist_ok=True)
            each.chmod(0o755)
        KINDS[kind].build(folder, scratch, scale)
        shutil.rmtree(scratch)
        files, size = measure(folder)
        # Everything on disk before the record says that it is whole.
        os.sync()
        record.write_text(json.dumps({"kind": kind, "scale": scale, "files": files, "bytes": size}))
    facts = json.loads(record.read_text())
    return Corpus(kind, folder, facts["files"], facts["bytes"])


def remove(corpus: Corpus) -> None:
    """Give its disk space back."""
    corpus.folder.with_suffix(".json").unlink(missing_ok=True)
    shutil.rmtree(corpus.folder, ignore_errors=True)


def measure(folder: Path) -> tuple[int, int]:
    """How many files are below the folder, and how many bytes are in them (content, not blocks)."""
    files = size = 0
    for root, _, names in os.walk(folder):
        for name in names:
            files += 1
            size += os.lstat(os.path.join(root, name)).st_size
    return files, size


def _place(kind: str, work: Path, scale: float) -> Path:
    return work / "corpora" / f"{kind}-v{_VERSION}-{scale:g}".replace(".", "_")


def main() -> int:
    """Build one corpus and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpora", description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK)
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    corpus = build(arguments.kind, arguments.work, arguments.scale)
    print(json.dumps({**asdict(corpus), "folder": str(corpus.folder)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
