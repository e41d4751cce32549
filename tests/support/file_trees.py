"""Trees of files with everything that a file system can hold, and what is true of them."""

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple


class Seen(NamedTuple):
    """One entry, as far as a restore has to give it back. `same_file` names the first path of the same inode."""

    kind: int
    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    content: bytes
    xattrs: tuple[tuple[bytes, bytes], ...]
    same_file: bytes
    has_holes: bool


def seen(folder: Path | str | bytes) -> dict[bytes, Seen]:
    """Every entry below (and with b"." including) a folder. Works beyond PATH_MAX."""
    found: dict[bytes, Seen] = {}
    first_names: dict[tuple[int, int], bytes] = {}
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def look(fd: int, path: bytes) -> None:
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            full = path + b"/" + name if path else name
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            kind = stat.S_IFMT(status.st_mode)
            content = b""
            if kind == stat.S_IFREG:
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)
                digest = hashlib.sha256()
                while piece := os.read(file, 1 << 20):
                    digest.update(piece)
                os.close(file)
                content = digest.digest()
            elif kind == stat.S_IFLNK:
                content = os.readlink(name, dir_fd=fd)
            elif kind in (stat.S_IFCHR, stat.S_IFBLK):
                content = b"%d" % status.st_rdev
            place = b"/proc/self/fd/%d/%s" % (fd, name)
            xattrs = [
                (os.fsencode(key), os.getxattr(place, key, follow_symlinks=False))
                for key in os.listxattr(place, follow_symlinks=False)
            ]
            identity = (status.st_dev, status.st_ino)
            found[full] = Seen(
                kind,
                stat.S_IMODE(status.st_mode),
                (status.st_uid, status.st_gid),
                status.st_mtime_ns,
                content,
                tuple(sorted(xattrs)),
                first_names.setdefault(identity, full),
                kind == stat.S_IFREG and status.st_blocks * 512 < status.st_size,
            )
            if kind == stat.S_IFDIR:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                try:
                    look(below, full)
                finally:
                    os.close(below)

    try:
        look(root, b"")
    finally:
        os.close(root)
    return found


def differences(left: dict[bytes, Seen], right: dict[bytes, Seen]) -> list[str]:
    """What differs, one line an entry; empty when both are equal."""
    lines = []
    for path in sorted(left.keys() | right.keys()):
        one, other = left.get(path), right.get(path)
        if one is None or other is None:
            lines.append(f"{path!r} only {'right' if one is None else 'left'}")
        elif one != other:
            fields = [name for name in Seen._fields if getattr(one, name) != getattr(other, name)]
            lines.append(f"{path!r} differs in " + ", ".join(fields))
    return lines


def make_everything(folder: Path) -> None:
    """A small tree with one of everything. Extended attributes only where the file system takes them."""
    root = os.fsencode(folder)
    os.makedirs(root, exist_ok=True)
    (folder / "empty").touch()
    (folder / "small.txt").write_bytes(b"To have and to hold.\n" * 40)
    (folder / "large.bin").write_bytes(hashlib.shake_256(b"large").digest(5_000_000))
    (folder / "large.txt").write_bytes(b"a line of a contract, number %d\n" * 90_000)
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + hashlib.shake_256(b"photo").digest(700_000))
    (folder / "empty folder").mkdir()
    (folder / "nested" / "deeper").mkdir(parents=True)
    (folder / "nested" / "deeper" / "file").write_bytes(b"x")
    with open(root + b"/not utf-8 \xff\xfe\x80", "wb") as file:
        file.write(b"bytes")
    with open(root + b"/" + b"n" * 255, "wb") as file:
        file.write(b"long name")
    os.symlink(b"small.txt", root + b"/link")
    os.symlink(b"/nowhere/at \xff all", root + b"/dangling")
    os.symlink(b"nested", root + b"/link to folder")
    os.link(folder / "large.bin", folder / "nested" / "hard link")
    os.link(folder / "small.txt", folder / "z hard link")
    os.mkfifo(folder / "fifo", 0o640)
    with (folder / "sparse").open("wb") as sparse:
        sparse.truncate(20_000_000)
        sparse.seek(4_000_000)
        sparse.write(b"in the middle" * 1000)
        sparse.seek(19_000_000)
        sparse.write(b"near the end")
    with (folder / "all hole").open("wb") as sparse:
        sparse.truncate(3_000_000)
    with (folder / "small sparse").open("wb") as sparse:
        sparse.truncate(200_000)
        sparse.seek(100_000)
        sparse.write(b"!")
    (folder / "small.txt").chmod(0o4711)
    (folder / "nested").chmod(0o2750)
    (folder / "empty").chmod(0o000)
    for name in ("large.bin", "nested", "photo.jpg"):
        try:
            os.setxattr(folder / name, "user.colour", b"white")
            os.setxattr(folder / name, "user.note", bytes(range(256)))
        except OSError:
            pass
    for number, name in enumerate(("small.txt", "nested/deeper/file", "empty folder", "nested/deeper", "nested")):
        os.utime(folder / name, ns=(1, 1_000_000_000_000_000_007 + number))
    os.utime(folder / "large.txt", ns=(1, -5_000_000_001))
    os.utime(folder / "dangling", ns=(1, 1_234_567_891), follow_symlinks=False)
