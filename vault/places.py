"""The places of an organisation's tiers, asked all at once: what one of them does costs no other one's time."""

import os
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from urllib.parse import quote

from contracts.executor_events import TierRoom
from repository.errors import RepositoryError, TierFull, TierUnreachable, TierVanished
from repository.stored.config import CONFIG_KEY
from repository.tiers.places import refuse_among_others, refuse_within_repository
from repository.tiers.port import ObjectStore
from vault.unusable import UnusableStore


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
    is_required: bool = False
    """Of several troubles its own is told first."""


def troubles_of(places: Sequence[Place], ask: Callable[[Place], None]) -> list[RepositoryError | None]:
    """What each place answers with, None where nothing is wrong; one that is silent is given up after its patience.

    `ask` raises what is wrong; what else it raises is raised here.
    """
    found: dict[int, BaseException | None] = {}

    def look(number: int, place: Place) -> None:
        try:
            ask(place)
            found[number] = None
        except BaseException as error:  # noqa: BLE001  # told by whoever waits
            found[number] = error

    begun = time.monotonic()
    asking = [
        threading.Thread(target=look, args=each, name=f"ask-{each[1].store.name}", daemon=True)
        for each in enumerate(places)
    ]
    for thread in asking:
        thread.start()
    troubles: list[RepositoryError | None] = []
    for number, (thread, place) in enumerate(zip(asking, places, strict=True)):
        thread.join(max(0.0, begun + place.patience_seconds - time.monotonic()))
        silence = TierUnreachable(f"no answer for {place.patience_seconds:.0f} s", tier=place.store.name)
        trouble = found.get(number, silence)
        if trouble is not None and not isinstance(trouble, RepositoryError):
            raise trouble
        troubles.append(trouble)
    return troubles


def without_silent(places: Sequence[Place]) -> list[Place]:
    """The places, those whose folder does not answer in its time with an `UnusableStore`. All are asked at once."""

    def ask(place: Place) -> None:
        if place.folder:
            with suppress(OSError):  # Whatever it is: the store itself says what is wrong with it.
                os.statvfs(place.folder)

    answering: list[Place] = []
    for place, trouble in zip(places, troubles_of(places, ask), strict=True):
        if trouble is not None:
            name, seconds = place.store.name, place.patience_seconds
            error = TierUnreachable(f"its folder has not answered for {seconds:.0f} s", tier=name)
            place = replace(place, store=UnusableStore(name, error), folder=None)
        answering.append(place)
    return answering


def require_space(place: Place, reserve_bytes: int) -> None:
    """Raise `TierFull` where a folder has less free space than a run begins with."""
    if place.folder is None or not reserve_bytes:
        return
    try:
        found = os.statvfs(place.folder)
    except OSError:
        return  # The store itself says what is wrong with it.
    free = found.f_bavail * found.f_frsize
    if free < reserve_bytes:
        raise TierFull(
            f"no space: {free >> 20} MiB are free, and a run begins with {reserve_bytes >> 20} MiB at least",
            tier=place.store.name,
            location=place.location,
        )


def room_of(place: Place) -> TierRoom:
    """Of a place that answers; one that does not any more has nothing to tell."""
    capacity = free = None
    try:
        if place.folder is not None:
            found = os.statvfs(place.folder)
            capacity, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        begun = time.perf_counter()
        place.store.head(CONFIG_KEY)
        return TierRoom(capacity_bytes=capacity, free_bytes=free, latency_seconds=time.perf_counter() - begun)
    except (OSError, RepositoryError):
        return TierRoom(capacity_bytes=capacity, free_bytes=free)


def require_own_place(place: Place, organisation: str) -> None:
    """Raise `PlaceInUse` where a repository would be begun among other files, or within another repository."""
    address = "s3:"
    if place.folder is not None:
        address = f"file://{quote(os.path.join(place.folder, os.fsencode(organisation)))}"
        refuse_within_repository(place.store.name, address)
    refuse_among_others(place.store, address)


def of_all(troubles: Sequence[RepositoryError]) -> RepositoryError:
    """The first one, which says what is wrong with each of the tiers."""
    first = copy(troubles[0])
    first.causes = troubles
    return first


def vanished(place: Place, organisation: str) -> TierVanished:
    """The tier of a place is gone although it was in use: of the organisation, and perhaps of no other."""
    return TierVanished(
        "the tier was in use, and is empty or gone",
        hint=f"Mount the disk of the location {place.location}, or bring its bucket back: the next run goes on. If it "
        f"is gone for good: wedsync-backup tiers begin-anew {place.location} --organisation {organisation}; the next "
        "run fills it from the others.",
        tier=place.store.name,
        location=place.location,
    )
