"""What lies in the place of one of a tier's folders: a file, a pipe, or a link, which leads elsewhere."""

import os
import stat
from pathlib import Path

from repository.errors import PlaceBlocked


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


def refuse_in_the_way(root: str, folder: str, *, tier: str) -> None:
    """Raise `PlaceBlocked` where something is in the way."""
    path = in_the_way(root, folder)
    if path is not None:
        raise PlaceBlocked(
            "something that is no folder lies in the place of one of the tier's",
            tier=tier,
            object_key=os.path.relpath(path, root),
            path=path,
        )
