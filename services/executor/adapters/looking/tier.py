"""One tier of a configuration that is tested: there, by its clock, with room, written to, read back, and a place of its
own, which is told by what is written and not by what it is called.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

from chassis.clock import Clock
from chassis.disk import Disk
from chassis.location import Location
from chassis.locations import Locations
from contracts import errors
from contracts.configuration import Destination, Tier
from contracts.errors import PlatformError
from contracts.trial import Check, Finding, Verdict
from repository.errors import AccessDenied, RepositoryError
from repository.tiers.port import ObjectStore
from services.executor.adapters.looking.place import ASK_SECONDS, Place, Told
from services.executor.adapters.tier_watch import folder_trouble
from vault.stores import find_location, folder_of, location_store

FOLDER = ".location-test-"
"""No organisation can be called so: what bears this name is nobody's repository, here and for `location test`."""
LEFT_SECONDS = 3600.0
"""What is older was left by a worker that died."""
_LEFT = re.compile(re.escape(os.fsencode(FOLDER)) + b"[0-9a-f]{16}")
CLOCK_SECONDS = 60.0
"""By so much a tier's clock may differ: locks are dated by it."""
_BODY = b"a trial of a configuration; it may be deleted\n"
_PREFIX = "trial-"

T = TypeVar("T")


class TierPlace:
    """A tier. `drawn`: the name of the folder that all tiers of one test write to, each at its own place."""

    def __init__(
        self,
        locations: Locations,
        keys_dir: Path,
        disk: Callable[[bytes], Disk],
        clock: Clock,
        reserve_bytes: int,
        organisation: str,
        tier: Tier,
        destination: Destination,
        drawn: str,
    ) -> None:
        self._locations, self._keys_dir, self._clock = locations, keys_dir, clock
        self._reserve_bytes = reserve_bytes
        self._organisation, self._tier, self._destination, self._drawn = organisation, tier, destination, drawn
        self._disk_of = disk
        self._location: Location | None = None
        self._store: ObjectStore | None = None
        self._seen: frozenset[str] | None = None
        self._is_written = False
        checks = [
            (Check.TIER_REACHABLE, self._reachable),
            (Check.TIER_CREDENTIALS, self._credentials),
            (Check.TIER_CLOCK, self._in_time),
            (Check.TIER_SPACE, self._has_room),
            (Check.TIER_WRITABLE, self._writable),
            (Check.TIER_READABLE, self._readable),
        ]
        if destination.lock_days:
            checks.append((Check.TIER_LOCKABLE, self._lockable))
        self._denied = False
        self.place = Place(checks, destination.location, errors.TIER_UNREACHABLE, tier)

    @property
    def _folder(self) -> bytes | None:
        return folder_of(self._location) if self._location is not None and self._location.kind == "directory" else None

    def _ask(self, question: Callable[[], T]) -> T:
        """A question to the place. A folder's by its disk, which holds one thread where it hangs."""
        folder = self._folder
        return question() if folder is None else self._disk_of(folder).answer(question, seconds=ASK_SECONDS)

    def _opened(self) -> ObjectStore:
        if self._store is None:
            raise Told(Verdict.UNDECIDED, errors.NOT_TESTED)
        return self._store

    def _reachable(self) -> None:
        name = self._destination.location
        self._location = location = find_location(self._locations, self._organisation, name, role="tier")
        if location is None:
            raise PlatformError(errors.UNKNOWN_LOCATION, "no tier location of this name is open to the organisation")
        if (folder := self._folder) is not None:
            self._ask(lambda: os.stat(folder))
        self._store = store = location_store(
            self._keys_dir,
            location,
            self._drawn,
            name=self._tier.value,
            patience_seconds=ASK_SECONDS,
            storage_class=self._destination.storage_class,
        )
        try:
            self._ask(lambda: list(islice(store.list(""), 1)))
        except AccessDenied:
            if folder is not None:
                raise
            self._denied = True

    def _credentials(self) -> None:
        if self._denied:
            raise Told(Verdict.FAIL, errors.LOCATION_ACCESS_DENIED)

    def _in_time(self) -> None:
        theirs = self._ask(self._opened().now)
        if abs((theirs - self._clock.now()).total_seconds()) > CLOCK_SECONDS:
            raise Told(Verdict.FAIL, errors.TIER_CLOCK_DIFFERS)

    def _has_room(self) -> None:
        location = self._location
        if location is None or self._folder is None:
            raise Told(Verdict.UNDECIDED, errors.NOT_TESTED, "A bucket does not tell how much it still takes.")
        trouble = self._ask(lambda: folder_trouble(location, self._reserve_bytes))
        if trouble is not None:
            # What is nearly full takes this run still.
            verdict = Verdict.UNDECIDED if "nearly" in trouble.message else Verdict.FAIL
            raise Told(verdict, trouble.code, trouble.hint)

    def _writable(self) -> None:
        store, key = self._opened(), _PREFIX + self._tier.value
        self._is_written = True
        self._ask(lambda: store.put(key, _BODY))

    def _readable(self) -> None:
        store, key = self._opened(), _PREFIX + self._tier.value
        if self._ask(lambda: store.get(key)) != _BODY:
            raise Told(Verdict.FAIL, errors.VERIFICATION_FAILED)

    def _lockable(self) -> None:
        store = self._opened()
        locks = self._ask(lambda: store.capabilities.locks)
        if locks is None:
            hint = "These credentials may not ask whether it locks: each run proves it by its own objects."
            raise Told(Verdict.UNDECIDED, errors.LOCK_NOT_PROVEN, hint)
        if not locks:
            raise Told(Verdict.FAIL, errors.LOCK_NOT_SUPPORTED)

    def look_around(self) -> None:
        """See which tiers' trials are at this place, before any of them is taken away."""
        if self._store is None or not self._is_written:
            return
        store = self._store
        with suppress(RepositoryError, OSError):
            self._seen = frozenset(self._ask(lambda: [each.key for each in store.list("")]))

    def clear(self) -> None:
        """Take the trial away. What cannot be now is told by nobody: its name says that it may be deleted."""
        if self._store is None or not self._is_written:
            return
        store, folder = self._store, self._folder
        with suppress(RepositoryError, OSError):
            self._ask(lambda: store.delete(_PREFIX + self._tier.value))
        if folder is not None:
            with suppress(OSError):
                drawn = os.path.join(folder, os.fsencode(self._drawn))
                self._ask(lambda: shutil.rmtree(drawn, ignore_errors=True))
                self._ask(lambda: self._sweep(folder))
        with suppress(RepositoryError, OSError):
            self._ask(store.close)

    def _sweep(self, folder: bytes) -> None:
        """Take away what tests have left in a folder whose workers died."""
        for name in filter(_LEFT.fullmatch, os.listdir(folder)):
            left = os.path.join(folder, name)
            if os.path.isdir(left) and os.stat(left).st_mtime < self._clock.now().timestamp() - LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)

    def findings(self, tiers: "Mapping[Tier, TierPlace]") -> Iterator[Finding]:
        """Those of the place, and whether it is one of its own."""
        yield from self.place.findings()
        yield self.place.finding(Check.TIER_SEPARATE, self._separate(tiers))

    def _separate(self, tiers: "Mapping[Tier, TierPlace]") -> Told | None:
        if len(tiers) == 1:
            return None
        own = _PREFIX + self._tier.value
        if self._seen is None or own not in self._seen:
            return Told(Verdict.UNDECIDED, errors.NOT_TESTED)
        others = sorted(key.removeprefix(_PREFIX) for key in self._seen - {own})
        if others:
            hint = f"{errors.TIERS_ARE_ONE.hint} It is that of {', '.join(others)}, too."
            return Told(Verdict.FAIL, errors.TIERS_ARE_ONE, hint)
        return None
