"""What lies in the place of one of a tier's folders or objects: a file, a pipe, or a link, which leads elsewhere."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from repository.errors import PlaceBlocked, TierUnreachable

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISREG, "a file"),
)


def kind_of(mode: int) -> str:
    """What it is, in words."""
    return next((words for is_one, words in _KINDS if is_one(mode)), "a device")


def instead_of_object(root: str, path: str) -> tuple[str, str] | None:
    """What lies where the file of an object belongs and is none, in words, and its path; None: nothing does.

    That may be what lies in the place of a folder above it.
    """
    place = in_the_way(root, os.path.dirname(path)) or path
    try:
        mode = os.lstat(place).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (kind_of(mode), place) if place != path or not stat.S_ISREG(mode) else None


def refuse_absent(folder: str | None, *, tier: str) -> None:
    """Raise `TierUnreachable` where this folder, perhaps a mount point, is not there, with what is in its place."""
    if folder is None or os.path.isdir(folder):
        return
    instead = ""
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = os.lstat(folder).st_mode
        instead = f", and {kind_of(mode)} lies in its place{', which leads nowhere' if stat.S_ISLNK(mode) else ''}"
    hint = "Mount its disk; a folder for a new location is made by whoever registers it."
    raise TierUnreachable(f"the folder of the tier's location is not there{instead}", hint=hint, tier=tier)


def no_files(folder: str) -> Iterator[str]:
    """The names in a folder that are none of a file, and are not hidden."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if not entry.name.startswith(".") and not entry.is_file(follow_symlinks=False):
                yield entry.name


def in_the_way(root: str, folder: str) -> str | None:
    """The path of what lies in the place of this folder below `root`, or of one between them; None: nothing does."""
    place = root
    for name in Path(os.path.relpath(folder, root)).parts:
        place = os.path.join(place, name)
        try:
            found = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISDIR(found.st_mode):
            return place
    return None


def refuse_blocked(root: str, folder: str, *, tier: str) -> None:
    """Raise `PlaceBlocked` where something is in the way."""
    path = in_the_way(root, folder)
    if path is not None:
        raise PlaceBlocked(
            f"{kind_of(os.lstat(path).st_mode)} lies in the place of one of the tier's folders",
            tier=tier,
            object_key=os.path.relpath(path, root),
            path=path,
        )


def expect_own(root: str, path: str, *, tier: str) -> None:
    """Raise `PlaceBlocked` where something that is no object lies at an object's path: it may be evidence, and the
    name of a link says where the bytes are. Of an object's own bytes whoever puts others there knows.
    """
    if (what := instead_of_object(root, path)) is not None:
        raise PlaceBlocked(
            f"{what[0]} lies where the object belongs",
            tier=tier,
            object_key=os.path.relpath(what[1], root),
            path=what[1],
        )
