"""A snapshot's tree in the order of its names, for a restore.

Promise: the folders on the path of the walk are all that is in memory; a name that could lead out of its folder, and
entries out of order (two of one name), are reported as hostile and not handed out; a page that no tier
has is reported and what is beside it still comes.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from repository.errors import Damaged, RepositoryError
from repository.restore.path_filter import Match, PathFilter
from repository.stored.snapshot import Snapshot
from repository.stored.tree import ROOT_NAME, Entry, content_ids, decode_page


class Step(NamedTuple):
    """One step of the walk: into a folder, out of it, or to anything else. `match` is never NOTHING."""

    path: bytes
    entry: Entry
    match: Match
    is_leaving: bool


_RESERVED: Final = frozenset((b"", b".", b".."))


def is_safe(name: bytes) -> bool:
    """Whether a name can only mean an entry of its own folder."""
    return name not in _RESERVED and b"/" not in name and b"\x00" not in name


def root_entry(snapshot: Snapshot, load: Callable[[bytes], bytes]) -> Entry:
    """The entry of the source itself. Raises `Damaged` and whatever `load` raises."""
    for page_id in snapshot.manifest.root:
        for entry in decode_page(load(bytes.fromhex(page_id))).entries():
            if entry.name == ROOT_NAME and entry.is_directory:
                return entry
    raise Damaged("snapshot has no root folder", snapshot=snapshot.id)


class SnapshotWalk:
    """Walks one snapshot. `on_damaged(path, error)` hears of pages that cannot be read, `on_hostile(path)` of names."""

    def __init__(
        self,
        load: Callable[[bytes], bytes],
        wanted: PathFilter,
        on_damaged: Callable[[bytes, RepositoryError], None],
        on_hostile: Callable[[bytes], None],
    ) -> None:
        self._load = load
        self._wanted = wanted
        self._on_damaged = on_damaged
        self._on_hostile = on_hostile
        self._skipped: Step | None = None

    def skip(self) -> None:
        """Do not enter the folder of the last step; its leaving is not reported either."""
        self._skipped = self._last

    def steps(self, root: Entry) -> Iterator[Step]:
        """All that is below the root folder, and the leaving of each folder."""
        path: list[tuple[Step, Iterator[Step]]] = []
        start = Step(b"", root, self._wanted.match(b""), False)
        path.append((start, self._below(start)))
        while path:
            above, steps = path[-1]
            step = next(steps, None)
            if step is None:
                path.pop()
                yield above._replace(is_leaving=True)
                continue
            self._last: Step = step
            yield step
            if step.entry.is_directory and self._skipped is not step:
                path.append((step, self._below(step)))

    def _below(self, folder: Step) -> Iterator[Step]:
        content, above = folder.entry.content, folder.path
        last = b""
        try:
            for page_id in content_ids(content, folder.entry.extra.depth, self._load) if content else ():
                try:
                    page = decode_page(self._load(page_id))
                except RepositoryError as error:
                    self._on_damaged(above, error)
                    continue
                for entry in page.entries():
                    name = entry.name
                    path = above + b"/" + name if above else name
                    if not is_safe(name) or name <= last:
                        self._on_hostile(path)
                        continue
                    last = name
                    match = Match.WANTED if folder.match is Match.WANTED else self._wanted.match(path)
                    if match is Match.WANTED or (match is Match.BELOW and entry.is_directory):
                        yield Step(path, entry, match, False)
        except RepositoryError as error:
            # A list of page ids is gone, and with it all that comes after it in this folder.
            self._on_damaged(above, error)
