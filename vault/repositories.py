"""An organisation's repository, opened or begun. Nothing is begun a second time by surprise.

Open repositories of one organisation share what they have read of the index: each segment is fetched and in memory
once in a process (ADR 0039). `open_repositories` keeps them open from run to run.

An organisation has one repository, complete on each tier, and one key file. What was begun is remembered apart from
both (`Begun`): where a repository is remembered, its key file is not made again, and a tier that does not
hold it any more has *vanished*; it is neither begun nor filled until somebody says so. A tier's identity is the
repository's config object. The head of its log is remembered too: a tier that went back to an older state takes nothing
until somebody says that the older one counts (ADR 0044).
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from chassis.life.blocking import RunInterrupted
from chassis.life.signs import Signs
from chassis.sealing import Sealer, unreadable
from contracts import errors
from contracts.errors import PlatformError
from repository.errors import (
    BucketMissing,
    NotARepository,
    NoUsableTier,
    RepositoryError,
    TierFull,
    TierUnreachable,
    TierVanished,
)
from repository.index.segments import SharedSegments
from repository.keys.key_file import KeyFile
from repository.opened import present_objects
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.opening import Patience
from repository.opened.repository import Repository
from repository.opened.seen import SeenTier
from repository.stored.config import CONFIG_KEY
from repository.tiers.local_cache import LocalCache
from repository.tiers.port import ObjectStore
from vault.key_files import name_of, note_made, was_made
from vault.unusable import UnusableStore

_log = logging.getLogger(__name__)


class BegunTier(NamedTuple):
    """What is remembered of a tier. `repository_id`: in hex, empty where it is not known; `seen`: its latest head."""

    repository_id: str
    seen: SeenTier | None = None


class Begun(Protocol):
    """What was begun where (`BegunRepositories`)."""

    def of(self, organisation: str) -> Mapping[str, BegunTier]:
        """What was begun, by location."""
        ...

    def others_at(self, location: str, organisation: str) -> list[str]:
        """Some other organisations that have a repository at the location."""
        ...

    def remember(self, organisation: str, location: str, repository_id: str, seen: SeenTier | None) -> None:
        """Note a repository that was found or begun, and what was seen of the tier: a head is only raised."""
        ...


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a tier lies. `folder`: of the location, where that is a directory. `store_of`: another organisation's.

    `patience_seconds`: how long a run waits for it once another tier has answered.
    """

    store: ObjectStore
    location: str
    folder: bytes | None
    patience_seconds: float
    store_of: Callable[[str], ObjectStore]
    mark: Hashable | None = None
    """What the store was made of: while it stays equal, the store stays usable. None: nobody can say."""


class Repositories:
    """Opens and begins repositories. Thread-safe; one caller at a time for each organisation. One object a process."""

    def __init__(
        self, begun: Begun, keys_dir: Path, *, reserve_bytes: int = 0, cache: LocalCache | None = None
    ) -> None:
        """`reserve_bytes`: a directory tier with less free space takes no run. `cache`: as of `Repository.open`."""
        self._begun = begun
        self._keys_dir = keys_dir
        self._reserve_bytes = reserve_bytes
        self._cache = cache
        self._lock = threading.Lock()
        self._shared: weakref.WeakValueDictionary[str, SharedSegments] = weakref.WeakValueDictionary()

    def open(self, organisation: str, places: Sequence[Place], signs: Signs) -> Repository:
        """Open what answers, or begin what was never begun. Raises KEYS_UNUSABLE and the repository's errors.

        Raises `RunInterrupted` instead of beginning anything once the call was left behind.
        """
        places = _without_silent(places)
        signs.moved()
        if all(isinstance(place.store, UnusableStore) for place in places):
            raise _of_all([place.store.error for place in places if isinstance(place.store, UnusableStore)])
        known = self._begun.of(organisation)
        path = self._keys_dir / name_of(organisation)
        try:
            has_key = path.exists()
        except OSError as error:
            raise unreadable(error, file=name_of(organisation)) from error
        if has_key:
            key = KeyFile.load(path)
            try:
                note_made(self._keys_dir, organisation)
            except OSError as error:
                # A folder that may only be read holds a key of before there was such a note: that one is good.
                _log.warning("that a key was made is not noted", extra={"reason": error.strerror})
            try:
                repository = self._open(organisation, places, key, known)
            except NotARepository:
                # The key file was made by a run that got no further, or for tiers that are no longer in use.
                gone = [vanished(place) for place in places if place.location in known]
                if gone:
                    raise _of_all(gone) from None
                repository = self._begin(organisation, places, key, signs)
            except NoUsableTier as error:
                # A tier without an error of its own has answered, and was found empty; so was one that is missed.
                causes = [cause for cause in error.causes if not isinstance(cause, TierVanished)]
                named = {cause.context.get("tier") for cause in causes}
                emptied = [place for place in places if place.location in known and place.store.name not in named]
                error.causes = [*causes, *map(vanished, emptied)]
                raise
        else:
            self._require_no_repository(organisation, places, known)
            self._require_begin(organisation, places)
            _check_wanted(signs)
            # An empty mount point is no keys folder: the organisation's key may lie below it.
            Sealer(self._keys_dir, may_make=False).check_folder()
            path.parent.mkdir(mode=0o700, exist_ok=True)
            key = KeyFile.create(path)
            note_made(self._keys_dir, organisation)
            repository = self._begin(organisation, places, key, signs)
        self._judge(organisation, repository, places, known)
        self.remember(organisation, repository, places)
        return repository

    def key_mark(self, organisation: str) -> Hashable | None:
        """Which key file it is; None where there is none that can be seen."""
        try:
            found = (self._keys_dir / name_of(organisation)).stat()
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)

    def is_as_it_was(self, organisation: str, repository: Repository, places: Sequence[Place]) -> bool:
        """Whether an open repository may be used again: every tier shows what it showed, in its own time, and is ready.

        Its logs and indexes are up to date then, and no key was made or destroyed meanwhile. Raises UNAVAILABLE.
        """
        known = self._begun.of(organisation)
        if any(known.get(place.location, BegunTier("")).repository_id != repository.id.hex() for place in places):
            return False
        sound: set[str] = set()

        def look(place: Place) -> None:
            with suppress(RepositoryError):
                self._require_space(place)
                tier = repository.tier(place.store.name)
                if tier.shows_the_same() and tier.refresh() and tier.is_ready:
                    present_objects.expect_objects(tier)
                    sound.add(tier.name)

        begun = time.monotonic()
        looking = [threading.Thread(target=look, args=(place,), daemon=True) for place in places]
        for thread in looking:
            thread.start()
        for thread, place in zip(looking, places, strict=True):
            thread.join(max(0.0, begun + place.patience_seconds - time.monotonic()))
        if len(sound) < len(repository.tiers) or not repository.knows_its_keys():
            return False
        return not repository.contradicts(_seen_at(places, known, repository.id))

    def remember(self, organisation: str, repository: Repository, places: Sequence[Place]) -> None:
        """Note where the repository is, and how far its logs go. What cannot be noted now, is by the next run."""
        for place in places:
            tier = repository.tier(place.store.name)
            if tier.is_ready or tier.state is TierState.DAMAGED:
                state = tier.log.state
                seen = SeenTier(state.tier_id, state.head) if tier.is_ready and state.tier_id is not None else None
                try:
                    self._begun.remember(organisation, place.location, repository.id.hex(), seen)
                except PlatformError as error:
                    _log.warning("a repository could not be noted", extra={"tier": tier.name, "code": error.code.code})

    def _require_no_repository(
        self, organisation: str, places: Sequence[Place], known: Mapping[str, BegunTier]
    ) -> None:
        file = name_of(organisation)
        hint = f"Put the file {file} back into the keys folder from its copy; no new key is made for what is there."
        missing = PlatformError(errors.KEYS_UNUSABLE, f"the repository's key file {file} is gone", hint=hint)
        # A tier that is silent may hold what the record has lost: the note beside the keys tells of it all the same.
        if known or was_made(self._keys_dir, organisation):
            raise missing
        for place in places:
            try:
                if place.store.head(CONFIG_KEY) is not None:
                    raise missing
            except RepositoryError as error:
                _log.warning("a tier does not answer", extra={"tier": place.store.name, "code": error.code})

    def _begin(self, organisation: str, places: Sequence[Place], key: KeyFile, signs: Signs) -> Repository:
        """Begin a repository on the tiers that answer; the others join when they are back."""
        stores = self._require_begin(organisation, places)
        _check_wanted(signs)
        Repository.init(stores, key)
        return self._open(organisation, places, key, {})

    def _open(
        self, organisation: str, places: Sequence[Place], key: KeyFile, known: Mapping[str, BegunTier]
    ) -> Repository:
        patience = Patience(
            seconds_of={place.store.name: place.patience_seconds for place in places},
            on_waiting=lambda names: _log.warning("tiers have not answered yet", extra={"tiers": list(names)}),
        )
        with self._lock:
            shared = self._shared.get(organisation)
            if shared is None:
                shared = self._shared[organisation] = SharedSegments()

        return Repository.open(
            [place.store for place in places],
            key,
            patience=patience,
            shared=shared,
            known=partial(_seen_at, places, known),
            cache=self._cache,
        )

    def _require_begin(self, organisation: str, places: Sequence[Place]) -> list[ObjectStore]:
        """The tiers on which a repository can be begun. Raises what keeps it from each of them."""
        answering: list[ObjectStore] = []
        troubles: list[RepositoryError] = []
        for place in places:
            try:
                if place.store.head(CONFIG_KEY) is None:
                    self._require_others(organisation, place)
                    self._require_space(place)
                    answering.append(place.store)
            except RepositoryError as error:
                troubles.insert(0, error)
        if not answering and troubles:
            raise _of_all(troubles)
        if not answering:
            raise NotARepository("no tier is empty and none holds this organisation's repository")
        return answering

    def _judge(
        self, organisation: str, repository: Repository, places: Sequence[Place], known: Mapping[str, BegunTier]
    ) -> None:
        """Leave out the tiers that vanished, were replaced, or have no room."""
        for place in places:
            tier = repository.tier(place.store.name)
            try:
                self._look_at(organisation, repository, tier, place, known.get(place.location))
            except TierVanished as error:
                tier.set_state(TierState.VANISHED, error)
            except RepositoryError as error:
                tier.set_unreachable(error)

    def _look_at(
        self, organisation: str, repository: Repository, tier: OpenTier, place: Place, begun: BegunTier | None
    ) -> None:
        is_empty = tier.state in (TierState.EMPTY, TierState.VANISHED)
        if begun is not None and (is_empty or isinstance(tier.error, BucketMissing)):
            raise vanished(place)
        if tier.state is TierState.EMPTY:
            self._require_others(organisation, place)
        before = begun.repository_id if begun is not None else ""
        if before and tier.is_readable and before != repository.id.hex():
            error = NotARepository("the location had another repository before", tier=tier.name, before=before)
            tier.set_state(TierState.FOREIGN, error)
        if tier.is_ready or tier.state is TierState.EMPTY:
            self._require_space(place)

    def _require_others(self, organisation: str, place: Place) -> None:
        """Raise `TierVanished` where other organisations had repositories and none of them is there."""
        others = self._begun.others_at(place.location, organisation)
        for other in others:
            store = place.store_of(other)
            try:
                if store.head(CONFIG_KEY) is not None:
                    return
            finally:
                store.close()
        if others:
            raise vanished(place)

    def _require_space(self, place: Place) -> None:
        if place.folder is None or not self._reserve_bytes:
            return
        try:
            found = os.statvfs(place.folder)
        except OSError:
            return  # The store itself says what is wrong with it.
        free = found.f_bavail * found.f_frsize
        if free < self._reserve_bytes:
            raise TierFull(
                f"no space: {free >> 20} MiB are free, and a run begins with {self._reserve_bytes >> 20} MiB at least",
                tier=place.store.name,
                location=place.location,
            )


def _seen_at(
    places: Sequence[Place], known: Mapping[str, BegunTier], repository_id: bytes
) -> dict[str, list[SeenTier]]:
    """What is remembered of the tiers of a repository, as `Repository.open` wants it."""
    own = {at: each.seen for at, each in known.items() if each.repository_id == repository_id.hex()}
    here = {place.store.name: [head] for place in places if (head := own.get(place.location)) is not None}
    return {**here, "": [head for head in own.values() if head is not None]}


def _check_wanted(signs: Signs) -> None:
    """What was left behind begins no repository: another run may have begun it meanwhile."""
    if signs.is_left:
        raise RunInterrupted


def _without_silent(places: Sequence[Place]) -> list[Place]:
    """The places, those whose folder does not answer in its time with an `UnusableStore`. All are asked at once."""

    def ask(folder: bytes) -> None:
        with suppress(OSError):  # Whatever it is: the store itself says what is wrong with it.
            os.statvfs(folder)

    begun = time.monotonic()
    asked = {
        place.location: threading.Thread(target=ask, args=(place.folder,), daemon=True)
        for place in places
        if place.folder
    }
    for thread in asked.values():
        thread.start()
    answering: list[Place] = []
    for place in places:
        asking = asked.get(place.location)
        if asking is not None:
            asking.join(max(0.0, begun + place.patience_seconds - time.monotonic()))
            if asking.is_alive():
                name, seconds = place.store.name, place.patience_seconds
                error = TierUnreachable(f"its folder has not answered for {seconds:.0f} s", tier=name)
                place = replace(place, store=UnusableStore(name, error), folder=None)
        answering.append(place)
    return answering


def _of_all(troubles: Sequence[RepositoryError]) -> RepositoryError:
    """The first one, which says what is wrong with each of the tiers."""
    first = copy(troubles[0])
    first.causes = troubles
    return first


def vanished(place: Place) -> TierVanished:
    """The tier of a place is gone although it was in use."""
    return TierVanished(
        "the tier was in use, and is empty or gone",
        hint=f"Mount the disk of the location {place.location}, or bring its bucket back: the next run goes on. If it "
        f"is gone for good: wedsync-backup tiers begin-anew {place.location}; the next run fills it from the others.",
        tier=place.store.name,
        location=place.location,
    )
