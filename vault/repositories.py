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
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType

from chassis.key_errors import unreadable
from chassis.life.blocking import RunInterrupted
from chassis.life.signs import Signs
from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError
from repository.errors import (
    BucketMissing,
    NotARepository,
    NoUsableTier,
    RepositoryError,
    TierVanished,
    UnknownKey,
    WrongKey,
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
from vault import joining
from vault.begun import Begun, BegunTier
from vault.key_files import expect_newest, ids_of_others, name_of, note_made, note_opened, was_made
from vault.places import Place, of_all, require_own_place, require_space, troubles_of, vanished, without_silent
from vault.unusable import UnusableStore

_log = logging.getLogger(__name__)


class Repositories:
    """Opens and begins repositories. Thread-safe; one caller at a time for each organisation. One object a process."""

    def __init__(
        self,
        begun: Begun,
        keys_dir: Path,
        *,
        place_at: Callable[[str, str], Place],
        reserve_bytes: int = 0,
        cache: LocalCache | None = None,
    ) -> None:
        """`place_at`: an organisation's place at a location that its run does not name, under a name of its own.

        `reserve_bytes`: a directory tier with less free space takes no run. `cache`: as of `Repository.open`.
        """
        self._begun = begun
        self._keys_dir = keys_dir
        self._place_at = place_at
        self._reserve_bytes = reserve_bytes
        self._cache = cache
        self._lock = threading.Lock()
        self._shared: weakref.WeakValueDictionary[str, SharedSegments] = weakref.WeakValueDictionary()

    def open(self, organisation: str, places: Sequence[Place], signs: Signs) -> Repository:
        """Open what answers, or begin what was never begun. Raises KEYS_UNUSABLE and the repository's errors.

        Raises `RunInterrupted` instead of beginning anything once the call was left behind.
        """
        places = without_silent(places)
        signs.moved()
        if all(isinstance(place.store, UnusableStore) for place in places):
            raise of_all([place.store.error for place in places if isinstance(place.store, UnusableStore)])
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
                known = known or self._in_use(organisation, repository, places)
            except (WrongKey, UnknownKey) as error:
                # The key is right, and the folder another's, where that shows another repository than was begun there.
                known_ids = {location: each.repository_id for location, each in known.items()}
                strange = ids_of_others(self._keys_dir, organisation)
                if others := joining.others_at(places, known_ids, key.ids(), strange):
                    raise of_all(others) from error
                raise
            except NotARepository:
                # The key file was made by a run that got no further, or for tiers that are no longer in use.
                gone = [vanished(place, organisation) for place in places if place.location in known]
                if gone:
                    raise of_all(gone) from None
                if not (known or self._begun.intended(organisation) or self._begun.begins_anew(organisation)):
                    raise of_all(joining.forgotten(organisation, places)) from None
                repository = self._begin(organisation, places, key, known, signs)
            except NoUsableTier as error:
                # A tier without an error of its own has answered, and was found empty; so was one that is missed.
                causes = [cause for cause in error.causes if not isinstance(cause, TierVanished)]
                named = {cause.context.get("tier") for cause in causes}
                empty = [place for place in places if place.store.name not in named]
                new = [place for place in empty if place.location not in known]
                if not new or not self._join(organisation, places, self._require_begin(organisation, new), key, known):
                    error.causes = [*causes, *(vanished(place, organisation) for place in empty if place not in new)]
                    raise
                repository = self._open(organisation, places, key, known)
        else:
            self._require_no_repository(organisation, places, known)
            beginning = self._require_begin(organisation, places)
            _check_wanted(signs)
            # An empty mount point is no keys folder: the organisation's key may lie below it.
            Sealer(self._keys_dir).check_folder()
            # Before there is a key: one of which no note tells had a repository, and whoever knew of it is lost.
            self._begun.intend(organisation, [place.location for place in beginning])
            path.parent.mkdir(mode=0o700, exist_ok=True)
            key = KeyFile.create(path)
            note_made(self._keys_dir, organisation)
            repository = self._begin(organisation, places, key, known, signs)
        note_opened(self._keys_dir, organisation, key)
        self._judge(organisation, repository, places, known)
        expect_newest(organisation, repository)
        self.remember(organisation, repository, places)
        return repository

    def _in_use(self, organisation: str, repository: Repository, places: Sequence[Place]) -> Mapping[str, BegunTier]:
        """What counts as begun where nothing is remembered of a repository that has backups: all places of the run.

        The record was lost, and with it what tells a tier that is new from one whose disk is not mounted. What
        is said to be new (`tiers begin-anew`) is filled. Noted, so that it holds for the next run as well.
        """
        if not any(tier.is_readable and tier.snapshots() for tier in repository.tiers):
            return {}
        identity = repository.id.hex()
        for place in places:
            if repository.tier(place.store.name).state is TierState.EMPTY:
                self._begun.remember(organisation, place.location, identity, None)
        return {place.location: BegunTier(identity) for place in places}

    def key_mark(self, organisation: str) -> Hashable | None:
        """Which key file it is; None where there is none that can be seen."""
        try:
            found = (self._keys_dir / name_of(organisation)).stat()
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)

    def is_as_it_was(self, organisation: str, repository: Repository, places: Sequence[Place]) -> bool:
        """Whether an open repository may be used again: every tier shows what it showed, in its own time, and is ready.

        Its logs and indexes are up to date then, how far they go is noted, and no key was made or destroyed meanwhile.
        Raises UNAVAILABLE.
        """
        known = self._begun.of(organisation)
        if any(known.get(place.location, BegunTier("")).repository_id != repository.id.hex() for place in places):
            return False
        sound: set[str] = set()

        def look(place: Place) -> None:
            with suppress(RepositoryError):
                require_space(place, self._reserve_bytes)
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
        if repository.contradicts(_seen_at(places, known, repository.id)):
            return False
        self.remember(organisation, repository, places, known)
        return True

    def remember(
        self,
        organisation: str,
        repository: Repository,
        places: Sequence[Place],
        known: Mapping[str, BegunTier] = MappingProxyType({}),
    ) -> None:
        """Note where the repository is, and how far its logs go, but for what is `known` already.

        What cannot be noted now, is by the next run.
        """
        for place in places:
            tier = repository.tier(place.store.name)
            if tier.is_ready or tier.state is TierState.DAMAGED:
                state = tier.log.state
                seen = SeenTier(state.tier_id, state.head) if tier.is_ready and state.tier_id is not None else None
                if known.get(place.location) == BegunTier(repository.id.hex(), seen):
                    continue
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

        def ask(place: Place) -> None:
            if place.store.head(CONFIG_KEY) is not None:
                raise missing

        for place, trouble in zip(places, troubles_of(places, ask), strict=True):
            if trouble is not None:
                _log.warning("a tier does not answer", extra={"tier": place.store.name, "code": trouble.code})

    def _begin(
        self, organisation: str, places: Sequence[Place], key: KeyFile, known: Mapping[str, BegunTier], signs: Signs
    ) -> Repository:
        """Begin a repository on the tiers that answer, or let them join; the others join when they are back."""
        beginning = self._require_begin(organisation, places)
        _check_wanted(signs)
        if not self._join(organisation, places, beginning, key, known):
            # Noted before anything is written: whoever comes after a crash, with other tiers, looks there.
            self._begun.intend(organisation, [place.location for place in beginning])
            _check_wanted(signs)
            Repository.init([place.store for place in beginning], key)
        return self._open(organisation, places, key, {})

    def _join(
        self,
        organisation: str,
        places: Sequence[Place],
        beginning: Sequence[Place],
        key: KeyFile,
        known: Mapping[str, BegunTier],
    ) -> bool:
        """Make new tiers members of the organisation's repository, where it has one elsewhere; whether it has."""
        here = [place.location for place in places]
        others = joining.other_locations(known, self._begun.intended(organisation), here)
        if not others:
            return False
        elsewhere = without_silent([self._place_at(organisation, location) for location in others])
        try:
            names = [place.store.name for place in beginning]
            joining.join(self._open(organisation, [*elsewhere, *beginning], key, known), names)
        except (NotARepository, NoUsableTier) as error:
            if isinstance(error, NotARepository) and not any(location in known for location in others):
                return False  # It was about to be begun there, and was not.
            raise of_all([joining.away(name, others, error.message) for name in names]) from error
        finally:
            for place in elsewhere:
                place.store.close()
        return True

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

    def _require_begin(self, organisation: str, places: Sequence[Place]) -> list[Place]:
        """The places on which a repository can be begun. Raises what keeps it from each of them."""
        empty: list[Place] = []

        def ask(place: Place) -> None:
            if place.store.head(CONFIG_KEY) is None:
                self._require_others(organisation, place)
                require_space(place, self._reserve_bytes)
                empty.append(place)

        # What a required tier says first: for its sake alone the run fails, whatever the others say.
        asked = sorted(places, key=lambda place: not place.is_required)
        troubles = [trouble for trouble in troubles_of(asked, ask) if trouble is not None]
        answering = [place for place in places if place in empty]
        if not answering and troubles:
            raise of_all(troubles)
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
            raise vanished(place, organisation)
        if tier.state is TierState.EMPTY:
            self._require_others(organisation, place)
        before = begun.repository_id if begun is not None else ""
        if before and tier.state is TierState.FOREIGN and before != repository.id.hex():
            other = repository.id.hex()
            tier.set_state(tier.state, joining.of_another(tier.name, place.location, organisation, before, other))
        if before and tier.is_readable and before != repository.id.hex():
            error = joining.of_another_owner(place, before=before, shown=repository.id.hex())
            tier.set_state(TierState.FOREIGN, error)
        if tier.is_ready or tier.state is TierState.EMPTY:
            require_space(place, self._reserve_bytes)

    def _require_others(self, organisation: str, place: Place) -> None:
        """Raise `TierVanished` where other organisations had repositories and none is there, and `PlaceInUse`."""
        require_own_place(place, organisation)
        others = self._begun.others_at(place.location, organisation)
        for other in others:
            store = place.store_of(other)
            try:
                if store.head(CONFIG_KEY) is not None:
                    return
            finally:
                store.close()
        if others:
            raise vanished(place, organisation)


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
