"""Which globs of a restore nothing in the snapshot matches: who asked for them by name is to be told.

Reads pages alone, in one walk for all of the globs, and only as far as one of them may still match.
"""

from collections.abc import Callable, Sequence

from repository.restore.path_filter import Match, PathFilter
from repository.restore.snapshot_walk import SnapshotWalk
from repository.stored.tree import Entry


def unmatched(
    globs: Sequence[bytes | str], root: Entry, load: Callable[[bytes], bytes], check: Callable[[], None]
) -> tuple[bytes | str, ...]:
    """Those that match nothing; a folder on the way to nothing is no match. Below a damaged page nothing matches.

    `load` gives a chunk; `check` is called for each entry, and raises what is to end the walk.
    """
    pending = _Pending(globs)
    walk = SnapshotWalk(load, pending, lambda _path, _error: None, lambda _path: None)
    for _step in walk.steps(root) if globs else ():
        check()
        if not pending.left:
            break
    return tuple(pending.left)


class _Pending(PathFilter):
    """Globs until something matches each: no entry is wanted for what lies above it, so that each is tried."""

    def __init__(self, globs: Sequence[bytes | str]) -> None:
        super().__init__()
        self.left = {glob: PathFilter((glob,)) for glob in globs}

    def match(self, path: bytes) -> Match:
        """Take away what matches here; whether something below may match another."""
        found = {glob: wanted.match(path) for glob, wanted in self.left.items()}
        if Match.WANTED in found.values():
            self.left = {glob: self.left[glob] for glob, match in found.items() if match is not Match.WANTED}
        return Match.BELOW if Match.BELOW in found.values() else Match.NOTHING
