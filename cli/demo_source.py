"""The demo's source: a supplier's folder of photos and contracts, the same for the same seed, with every oddity.

Beside ordinary files it has what backups lose: symbolic links (relative, dangling, to a folder), hard links,
extended attributes where the file system has them, a sparse file, empty files and folders, names that are
not UTF-8, long names, closed modes, times with nanoseconds, two copies of one photo.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.documents import contract
from benchmarks.jpeg import photo
from benchmarks.seeded import Seeded

PHOTO_BYTES = 3 * 1024 * 1024
CONTRACT_SHARE = 0.08
"""Of all bytes, how many are contracts: suppliers have many of them, and they are small."""
SPARSE_BYTES = 64 * 1024 * 1024
_EPOCH_NS = 1_750_000_000_000_000_000
_YEAR_NS = 365 * 86_400 * 1_000_000_000
_SUPPLIERS = 5


@dataclass
class SourceSummary:
    """What was made. `content_bytes` is without the oddities."""

    photos: int = 0
    contracts: int = 0
    others: int = 0
    content_bytes: int = 0


def make_source(folder: Path, *, megabytes: int, seed: int = 1) -> SourceSummary:
    """Fill a new folder. Raises FileExistsError where it is there, OSError where the disk is full."""
    folder.mkdir(parents=True)
    root = os.fsencode(folder)
    summary = SourceSummary()
    wanted = megabytes * 1_000_000
    for number, (name, body) in enumerate(_contracts(seed, int(wanted * CONTRACT_SHARE))):
        _write(os.path.join(root, name), body, mode=0o640 if number % 7 else 0o400)
        summary.contracts += 1
        summary.content_bytes += len(body)
    for name, body in _photos(seed, wanted - summary.content_bytes):
        _write(os.path.join(root, name), body)
        summary.photos += 1
        summary.content_bytes += len(body)
    summary.others = _oddities(root, seed)
    _set_times(root, seed)
    return summary


def _contracts(seed: int, wanted: int) -> Iterator[tuple[bytes, bytes]]:
    made, number = 0, 0
    while made < wanted or number < _SUPPLIERS * 2:
        supplier = number % _SUPPLIERS
        body = contract(Seeded("demo", seed, "contract", number), supplier)
        yield b"contracts/supplier-%d/20%02d/contract-%04d.html" % (supplier, 20 + number % 6, number), body
        made += len(body)
        number += 1


def _photos(seed: int, wanted: int) -> Iterator[tuple[bytes, bytes]]:
    made, number = 0, 0
    while made < wanted or number < 3:
        seeded = Seeded("demo", seed, "photo", number)
        size = min(PHOTO_BYTES, max(64 * 1024, wanted // 4)) * seeded.integer(60, 140) // 100
        body = photo(seeded, size)
        yield b"photos/wedding-%02d/IMG_%04d.jpg" % (number // 40, number), body
        made += len(body)
        number += 1


def _oddities(root: bytes, seed: int) -> int:
    """Everything but photos and contracts; how many entries that is."""
    before = sum(1 for _ in _walk(root))
    odd = os.path.join(root, b"oddities")
    _write(os.path.join(odd, b"empty file"), b"")
    for name in (b"empty folder", b"empty folder/and one in it", b"\xff\xfe not utf-8"):
        os.makedirs(os.path.join(odd, name))
    _write(os.path.join(odd, b"caf\xe9 latin-1.txt"), b"a name that is not UTF-8\n")
    _write(os.path.join(odd, "fünf Gäste 💍.txt".encode()), "fünf\n".encode())
    _write(os.path.join(odd, b"line\nbreak.txt"), b"a name with a line break\n")
    _write(os.path.join(odd, b"n" * 251 + b".txt"), b"the longest name\n")
    _write(os.path.join(odd, b"secret.txt"), b"nobody else may read this\n", mode=0o600)
    _write(os.path.join(odd, b"tool.sh"), b"#!/bin/sh\nexit 0\n", mode=0o755)
    _write(os.path.join(odd, *[b"deep"] * 12, b"down.txt"), b"far down\n")
    _write_sparse(os.path.join(odd, b"disk.img"), Seeded("demo", seed, "sparse").bytes(256 * 1024))

    first = os.path.join(root, b"photos", b"wedding-00", b"IMG_0000.jpg")
    os.link(first, os.path.join(odd, b"hard link to a photo.jpg"))
    os.link(first, os.path.join(odd, b"another hard link.jpg"))
    with open(first, "rb") as photo_file:
        _write(os.path.join(odd, b"copy of a photo.jpg"), photo_file.read())
    os.symlink(b"../photos/wedding-00/IMG_0000.jpg", os.path.join(odd, b"link to a photo"))
    os.symlink(b"../contracts", os.path.join(odd, b"link to a folder"))
    os.symlink(b"/nowhere/\xff/at all", os.path.join(odd, b"dangling link"))
    # Some file systems have no extended attributes: then the demo goes on without.
    with contextlib.suppress(OSError):
        os.setxattr(first, "user.rating", b"5")
        os.setxattr(first, "user.binary", bytes(range(256)))
        os.setxattr(odd, "user.owner", "Évans & Söhne".encode())
    return sum(1 for _ in _walk(root)) - before


def _write(path: bytes, body: bytes, mode: int = 0o644) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "xb") as file:
        file.write(body)
        os.fchmod(file.fileno(), mode)


def _write_sparse(path: bytes, island: bytes | bytearray) -> None:
    """Two islands of bytes in a large hole."""
    with open(path, "xb") as file:
        file.seek(SPARSE_BYTES // 3)
        file.write(island)
        file.seek(SPARSE_BYTES - len(island))
        file.write(island)


def _walk(root: bytes) -> Iterator[bytes]:
    """Every path below the root, what lies in a folder before the folder."""
    for folder, folders, files in os.walk(root, topdown=False):
        yield from (os.path.join(folder, name) for name in (*files, *folders))


def _set_times(root: bytes, seed: int) -> None:
    """Give everything a time of its own, with nanoseconds; folders last, since filling one changes its time."""
    paths = [*_walk(root), root]
    offsets = Seeded("demo", seed, "times").integers(len(paths), 5 * _YEAR_NS)
    for path, offset in zip(paths, offsets, strict=True):
        moment = _EPOCH_NS - int(offset)
        os.utime(path, ns=(moment, moment), follow_symlinks=False)
