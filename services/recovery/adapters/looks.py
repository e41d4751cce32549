"""Looking into recovery points: an organisation's repository, opened to be read and kept open between looks.

Promise: what is kept open is used again only while the key's file and the registered locations are as they were; its
logs and keys are looked at anew after `FRESH_SECONDS`, so that what was forgotten or erased is shown no longer than
that. What a look was left behind in is opened anew by the next one. One that nobody uses is closed by `close_idle`.
"""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from chassis.life.signs import Signs
from chassis.locations import Locations
from contracts import errors
from contracts.errors import PlatformError
from contracts.looking import PIECE_BYTES, ContentAnswer, ContentAsked, EntriesAsked, EntryFound, EntryKind, PointLooked
from repository.errors import RepositoryError
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.restore.looking import SnapshotLook
from repository.restore.path_filter import Match, PathFilter
from repository.restore.piece import Content
from repository.stored.snapshot import Snapshot
from repository.stored.tree import Entry, Flag
from services.recovery.adapters.places import places_of, told
from services.recovery.failures import told_code
from services.recovery.kept import KeptPlace, KeptPoint
from vault.key_files import name_of
from vault.places import Place
from vault.reading import open_to_read

FRESH_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 120.0
CONTENTS_MAX: Final = 16
"""Files of a repository whose chunks were looked up and are remembered: they are sent piece by piece."""
KEPT_MAX: Final = 8
"""Each holds its index and connections."""
_STATES = {Flag.CHANGED: "changed", Flag.UNREADABLE: "unreadable", Flag.NOT_ENTERED: "not-entered"}

_OF_THE_QUESTION = frozenset({errors.LOOK_UNANSWERED, errors.ENTRY_UNKNOWN, errors.ENTRY_WITHOUT_CONTENT})

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Kept:
    """An open repository. `users`: looks that are under way; `fresh_at`, `used_at`: monotonic."""

    repository: Repository
    places: dict[str, Place]
    reader: ChunkReader
    fresh_at: float
    users: int = 1
    used_at: float = 0.0
    is_over: bool = False
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    contents: "OrderedDict[tuple[str, bytes], tuple[EntryFound, Content]]" = field(default_factory=OrderedDict)


class RepositoryLooks:
    """Looks into recovery points. Thread-safe; its calls block. One object a process."""

    def __init__(self, *, locations: Locations, keys_dir: Path, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._locations = locations
        self._keys_dir = keys_dir
        self._fresh_seconds = fresh_seconds
        self._lock = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}
        self._kept: dict[tuple[str, Hashable], _Kept] = {}

    def look(self, asked: EntriesAsked, points: Sequence[KeptPoint], is_over: Callable[[], bool]) -> list[PointLooked]:
        """What lies at the path of these points. What is not looked at once `is_over` is told as unanswered."""
        return [self._looked(asked, point, is_over) for point in points]

    def content(self, asked: ContentAsked, point: KeptPoint, is_over: Callable[[], bool]) -> ContentAnswer:
        """A piece of a file. Raises what keeps it from being read: ENTRY_UNKNOWN, ENTRY_WITHOUT_CONTENT, the tiers'."""
        if point.is_gone:
            raise PlatformError(errors.RECOVERY_POINT_GONE, "the recovery point is gone")
        if PathFilter(asked.scope).match(asked.path) is not Match.WANTED:
            raise PlatformError(errors.ENTRY_UNKNOWN, "the path is not in what is recovered")
        with self._open(point.organisation, point.places, is_over) as kept:

            def load(chunk_id: bytes) -> bytes:
                _refuse_over(is_over)
                return kept.reader.chunk(chunk_id)

            with told(kept.places, kept.repository.tiers):
                found, content = self._content_of(kept, point, asked.path, load)
                if asked.content and asked.content != found.content:
                    raise PlatformError(errors.ENTRY_UNKNOWN, "the file is another one by now")
                body = content.piece(max(0, asked.offset), min(asked.length, PIECE_BYTES), load)
            return ContentAnswer(entry=found, body=body)

    def _content_of(
        self, kept: _Kept, point: KeptPoint, path: bytes, load: Callable[[bytes], bytes]
    ) -> tuple[EntryFound, Content]:
        key = (point.snapshot_id, path)
        with self._lock:
            if (known := kept.contents.get(key)) is not None:
                kept.contents.move_to_end(key)
                return known
        entry = SnapshotLook(self._snapshot(kept, point), load).at(path)
        if entry is None:
            raise PlatformError(errors.ENTRY_UNKNOWN, "the recovery point has nothing at this path")
        if not entry.is_file or entry.content is None or entry.extra.flags & Flag.UNREADABLE:
            raise PlatformError(errors.ENTRY_WITHOUT_CONTENT, "there is no content at this path")
        made = _found(entry), Content(entry, load, kept.reader.locate)
        with self._lock:
            kept.contents[key] = made
            while len(kept.contents) > CONTENTS_MAX:
                kept.contents.popitem(last=False)
        return made

    @staticmethod
    def _snapshot(kept: _Kept, point: KeptPoint) -> Snapshot:
        snapshot = kept.snapshots.get(point.snapshot_id)
        if snapshot is None:
            snapshot = kept.snapshots[point.snapshot_id] = kept.repository.find_snapshot(point.snapshot_id)
        return snapshot

    def leave(self, organisation: str) -> None:
        """A look has been left behind: the next one opens the repository anew, and waits for nobody."""
        with self._lock:
            self._opening.pop(organisation, None)
            left = [self._kept.pop(key) for key in [key for key in self._kept if key[0] == organisation]]
            for kept in left:
                kept.is_over = True
            unused = [kept for kept in left if not kept.users]
        for kept in unused:
            # A disk that hangs keeps no other from being closed.
            threading.Thread(target=_close, args=(kept,), name="close", daemon=True).start()

    def close_idle(self, idle_seconds: float = IDLE_SECONDS) -> None:
        """Close what nobody has used for so long, and what is more than may be kept, the longest unused first."""
        with self._lock:
            idle = sorted((each for each in self._kept.items() if not each[1].users), key=lambda each: each[1].used_at)
            over = len(self._kept) - KEPT_MAX
            old = time.monotonic() - idle_seconds
            ended = [(key, kept) for at, (key, kept) in enumerate(idle) if at < over or kept.used_at <= old]
            for key, _ in ended:
                del self._kept[key]
        for _, kept in ended:
            _close(kept)

    def _looked(self, asked: EntriesAsked, point: KeptPoint, is_over: Callable[[], bool]) -> PointLooked:
        identity = point.recovery_point_id
        try:
            if point.is_gone:
                return PointLooked(recovery_point_id=identity, code=errors.RECOVERY_POINT_GONE.code)
            with self._open(point.organisation, point.places, is_over) as kept:
                return self._in_point(kept, asked, point, is_over)
        except PlatformError as error:
            return PointLooked(recovery_point_id=identity, code=told_code(error.code).code)

    def _in_point(self, kept: _Kept, asked: EntriesAsked, point: KeptPoint, is_over: Callable[[], bool]) -> PointLooked:
        def load(chunk_id: bytes) -> bytes:
            _refuse_over(is_over)
            return kept.reader.chunk(chunk_id)

        with told(kept.places, kept.repository.tiers):
            look = SnapshotLook(self._snapshot(kept, point), load)
            entry = look.at(asked.path)
            if entry is None:
                return PointLooked(recovery_point_id=point.recovery_point_id)
            looked = PointLooked(recovery_point_id=point.recovery_point_id, entry=_found(entry))
            if not asked.limit or not entry.is_directory:
                return looked
            listed = look.listed(entry, asked.place, asked.limit)
        return msgspec.structs.replace(
            looked,
            entries=tuple(map(_found, listed.entries)),
            next_place=listed.next_place,
            unreadable_pages=listed.unreadable_pages,
            hidden=listed.hidden,
        )

    @contextmanager
    def _open(self, organisation: str, kept_at: Sequence[KeptPlace], is_over: Callable[[], bool]) -> Iterator[_Kept]:
        key = (organisation, self._basis(organisation, kept_at))
        with self._alone(organisation, is_over):
            with self._lock:
                kept = self._kept.get(key)
                if kept is not None:
                    kept.users += 1
            if kept is not None and not self._is_fresh(kept):
                self._doubt(key, kept)
                self._give_back(kept)
                kept = None
            if kept is None:
                kept = self._opened(organisation, kept_at)
                with self._lock:
                    # Where a look was left behind, another one may have opened it meanwhile: its last user closes it.
                    before, self._kept[key] = self._kept.get(key), kept
                    is_unused = before is not None and not before.users
                    if before is not None:
                        before.is_over = True
                if before is not None and is_unused:
                    _close(before)
        try:
            yield kept
        except PlatformError as error:
            if error.code not in _OF_THE_QUESTION:
                self._doubt(key, kept)  # A tier may be back, and what was open would not have it.
            raise
        finally:
            self._give_back(kept)

    def _doubt(self, key: tuple[str, Hashable], kept: _Kept) -> None:
        """The next look opens anew."""
        with self._lock:
            kept.is_over = True
            if self._kept.get(key) is kept:
                del self._kept[key]

    def _give_back(self, kept: _Kept) -> None:
        with self._lock:
            kept.users -= 1
            kept.used_at = time.monotonic()
            is_last = kept.is_over and not kept.users
        if is_last:
            _close(kept)

    @contextmanager
    def _alone(self, organisation: str, is_over: Callable[[], bool]) -> Iterator[None]:
        """One look of an organisation opens; the others wait for what it gets. Raises LOOK_UNANSWERED."""
        with self._lock:
            opening = self._opening.setdefault(organisation, threading.Lock())
        while not opening.acquire(timeout=0.1):
            _refuse_over(is_over)
        try:
            yield
        finally:
            opening.release()

    def _basis(self, organisation: str, kept_at: Sequence[KeptPlace]) -> Hashable:
        """What a repository was opened by. Raises LOCATIONS_UNREADABLE."""
        try:
            found = (self._keys_dir / name_of(organisation)).stat()
            mark: Hashable = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
        except OSError:
            mark = None  # Opening it says what is wrong.
        registered = ((each, self._locations.find(each.location, organisation)) for each in kept_at)
        return mark, tuple((each.tier, each.location, msgspec.json.encode(location)) for each, location in registered)

    def _is_fresh(self, kept: _Kept) -> bool:
        """Whether it may be used: it shows what its tiers show now, and no key was made or destroyed."""
        if time.monotonic() - kept.fresh_at < self._fresh_seconds:
            return True
        try:
            for tier in kept.repository.readable_tiers():
                tier.refresh()
            if not kept.repository.readable_tiers() or not kept.repository.knows_its_keys():
                return False
        except (RepositoryError, OSError):
            return False
        kept.snapshots.clear()
        with self._lock:
            kept.contents.clear()
        kept.fresh_at = time.monotonic()
        return True

    def _opened(self, organisation: str, kept_at: Sequence[KeptPlace]) -> _Kept:
        with ExitStack() as stack:
            places: dict[str, Place] = {}
            for name, place in places_of(self._locations, self._keys_dir, organisation, kept_at):
                stack.callback(place.store.close)
                places[name] = place
            with told(places):
                repository = open_to_read(organisation, list(places.values()), self._keys_dir, Signs())
            stack.pop_all()
        reader = ChunkReader(nearest_first(repository.readable_tiers()), repository.keys)
        return _Kept(repository, places, reader, fresh_at=time.monotonic())


def _refuse_over(is_over: Callable[[], bool]) -> None:
    if is_over():
        raise PlatformError(errors.LOOK_UNANSWERED, "the time for the look is over")


def _found(entry: Entry) -> EntryFound:
    flags, content = entry.extra.flags, entry.content
    kind = EntryKind.OTHER
    if entry.is_directory:
        kind = EntryKind.FOLDER
    elif entry.is_file:
        kind = EntryKind.FILE
    elif entry.is_symlink:
        kind = EntryKind.SYMLINK
    # Of ids that are secret to the repository: it tells equal bytes apart from others, and nothing of them.
    is_file = kind is EntryKind.FILE and content is not None
    digest = hashlib.sha256(content or b"", usedforsecurity=False) if is_file else None
    if digest is not None:
        digest.update(entry.extra.extents)
    return EntryFound(
        name=entry.name,
        kind=kind,
        size=entry.stat.size,
        modified_ns=entry.stat.mtime_ns,
        states=tuple(word for flag, word in _STATES.items() if flags & flag) if flags else (),
        target=entry.extra.target,
        content="" if digest is None else digest.hexdigest()[:32],
    )


def _close(kept: _Kept) -> None:
    try:
        kept.repository.close()
    except (RepositoryError, OSError) as error:
        _log.warning("a repository could not be closed", extra={"cause": str(error)})
