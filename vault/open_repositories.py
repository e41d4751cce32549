"""Repositories that stay open between the runs of their organisations, and the backups over them that share.

Promise: a repository is lent again only where everything that it was opened by is as it was (`Place.mark`, the key's
file, what is remembered) and each tier has shown the same config and the same entry at the head that was seen, in its
own time; its log and index are up to date then. Where anything is in doubt it is opened anew, and the old one is
closed when its last run gives it back. One that nobody uses is closed after `IDLE_SECONDS`, by one thread for all, and
sooner where there are more than `IDLE_MAX`: the one first that was used longest ago.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from chassis.life.signs import Signs
from repository.backup.sharing import Sharing
from repository.backup.workshop import Workshop
from repository.errors import RepositoryError
from repository.opened.repository import Repository
from vault.places import Place
from vault.repositories import Repositories

IDLE_SECONDS = 60.0
IDLE_MAX = 16
"""Each holds its index and connections, which are outside of the memory that backups share."""
WAIT_SECONDS = 0.5

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Kept:
    """An open repository. `users`: leases that are out; `places`: those that it was opened with."""

    key: Hashable
    repository: Repository
    sharing: Sharing
    places: Sequence[Place]
    users: int = 0
    is_doubtful: bool = False
    idle_since: float = 0.0
    upkeep: threading.Lock = field(default_factory=threading.Lock)


class Lease:
    """An open repository for one run. `sharing`: for its backup."""

    def __init__(self, kept: _Kept, give_back: Callable[[_Kept, bool], None], remember: Callable[[], None]) -> None:
        self.repository = kept.repository
        self.sharing = kept.sharing
        self.remember = remember
        """Note how far the logs go."""
        self._kept = kept
        self._give_back = give_back
        self._is_out = True

    @contextmanager
    def upkeep(self, on_waiting: Callable[[], None]) -> Iterator[None]:
        """Whoever brings the tiers up to date does so alone. `on_waiting` is called while another run does.

        Not where that run was left behind: it may hold the lock for ever.
        """
        is_held = False
        while not is_held and not self._kept.is_doubtful:
            is_held = self._kept.upkeep.acquire(timeout=WAIT_SECONDS)
            if not is_held:
                on_waiting()
        try:
            yield
        finally:
            if is_held:
                self._kept.upkeep.release()

    def release(self, *, is_doubtful: bool) -> None:
        """Give it back. `is_doubtful`: a tier failed, or was left behind in the middle of a call."""
        if self._is_out:
            self._is_out = False
            self._give_back(self._kept, is_doubtful)


class OpenRepositories:
    """Lends repositories. Thread-safe; one caller of `lease` at a time for each organisation. One object a process."""

    def __init__(self, repositories: Repositories, workshop: Workshop, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._repositories = repositories
        self._workshop = workshop
        self._idle_seconds = idle_seconds
        self._lock = threading.Condition()
        self._kept: dict[Hashable, _Kept] = {}
        self._closer: threading.Thread | None = None

    def kept(self, organisation: str, places: Sequence[Place], signs: Signs) -> Lease | None:
        """One that is open at these places and as it was; None where one has to be opened (`lease`).

        Takes the places' stores over where there is one.
        """
        kept = self._taken(self._key(organisation, places))
        if kept is None:
            return None
        is_lent = False
        try:
            signs.moved()
            if not self._repositories.is_as_it_was(organisation, kept.repository, kept.places):
                return None
            for place in places:
                place.store.close()
            is_lent = True
            return self._lease(organisation, kept)
        finally:
            # Also where the record did not answer: a user that is never given back keeps it open for ever.
            if not is_lent:
                self._give_back(kept, True)

    def lease(self, organisation: str, places: Sequence[Place], signs: Signs) -> Lease:
        """An open repository at these places. Raises as `Repositories.open`. Takes the places' stores over."""
        if (lease := self.kept(organisation, places, signs)) is not None:
            return lease
        repository = self._repositories.open(organisation, places, signs)
        # The first run makes the key's file.
        key = self._key(organisation, places)
        kept = _Kept(key, repository, Sharing(repository, self._workshop), places, users=1)
        if key is not None and _is_ready(repository):
            with self._lock:
                # One that another call left there meanwhile is as good; this one is closed by its run.
                self._kept.setdefault(key, kept)
        return self._lease(organisation, kept)

    def _lease(self, organisation: str, kept: _Kept) -> Lease:
        def remember() -> None:
            self._repositories.remember(organisation, kept.repository, kept.places)

        return Lease(kept, self._give_back, remember)

    def _key(self, organisation: str, places: Sequence[Place]) -> Hashable | None:
        """What a repository is found by; None where somebody cannot say what it depends on."""
        key_file = self._repositories.key_mark(organisation)
        marks = tuple(place.mark for place in places)
        return (organisation, key_file, marks) if key_file is not None and None not in marks else None

    def _taken(self, key: Hashable | None) -> _Kept | None:
        with self._lock:
            kept = self._kept.get(key) if key is not None else None
            if kept is not None:
                kept.users += 1
            return kept

    def _give_back(self, kept: _Kept, is_doubtful: bool) -> None:
        with self._lock:
            kept.users -= 1
            kept.is_doubtful = kept.is_doubtful or is_doubtful or not _is_ready(kept.repository)
            is_kept = self._kept.get(kept.key) is kept
            if is_kept and kept.is_doubtful:
                del self._kept[kept.key]
                is_kept = False
            is_over = not kept.users and not is_kept
            if not kept.users:
                kept.idle_since = time.monotonic()
                if is_kept:
                    self._see_to_closing()
        if is_over:
            _close(kept)

    def _see_to_closing(self) -> None:
        """Have it closed when it is overdue. The lock is held."""
        if self._closer is None or not self._closer.is_alive():
            self._closer = threading.Thread(target=self._close_idle, name="close-idle", daemon=True)
            self._closer.start()
        elif len(self._idle()) > IDLE_MAX:
            self._lock.notify_all()

    def _idle(self) -> list[_Kept]:
        """Those that nobody uses, the one first that was used longest ago."""
        return sorted((each for each in self._kept.values() if not each.users), key=lambda each: each.idle_since)

    def _close_idle(self) -> None:
        """Close what is overdue, until there is nothing that could be."""
        while True:
            with self._lock:
                idle = self._idle()
                overdue = time.monotonic() - self._idle_seconds
                over = len(idle) - IDLE_MAX
                ended = [each for at, each in enumerate(idle) if each.idle_since <= overdue or at < over]
                for each in ended:
                    del self._kept[each.key]
                if not idle:
                    self._closer = None
                    return
                if not ended:
                    self._lock.wait(idle[0].idle_since - overdue)
            for each in ended:
                # A folder's close syncs what is owed: a disk that hangs keeps no other from being closed.
                threading.Thread(target=_close, args=(each,), name="close", daemon=True).start()


def _is_ready(repository: Repository) -> bool:
    return all(tier.is_ready for tier in repository.tiers)


def _close(kept: _Kept) -> None:
    try:
        kept.repository.close()
    except (RepositoryError, OSError) as error:
        # Every snapshot was made durable when it was committed: nothing depends on this any more.
        _log.warning("a repository could not be closed", extra={"cause": str(error)})
