"""The entries of one tier's log as they lie there, up to the last one that may be true.

Promise: each entry that is returned was signed by a root of this repository for its number; that it continues the
history, and that its root was in force, is for the state to judge. What cannot be used, or may not be read, is a fault,
and raises nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from repository.errors import AccessDenied, Damaged, ObjectMissing, Truncated, UnknownKey, about
from repository.keys.key_ring import KeyRing
from repository.log.state import LogFault
from repository.stored.log_entry import LOG_PREFIX, Entry, decode_entry, entry_number, entry_object_key
from repository.stored.object_reading import read_object
from repository.tiers.port import ObjectStore

NO_ENTRIES: Final[Mapping[int, bytes]] = {}
PARALLEL_READS: Final = 16
GAP_MAX: Final = 1000
"""Numbers that may be missing before one that counts unseen; what lies beyond a longer gap has to be signed."""


class LogReader:
    """Reads entries. Thread-safe."""

    def __init__(self, store: ObjectStore, ring: KeyRing) -> None:
        self._store = store
        self._ring = ring

    def decoded(self, body: bytes, number: int | None) -> Entry:
        """What these bytes say as entry `number` (None: any). Raises `Damaged`, `UnsupportedFormat`, `UnknownKey`."""
        return decode_entry(body, number, self._ring)

    def blocked(self, number: int) -> Damaged:
        """Nobody was faster: a folder or a link, say, has the name of the next entry, and no listing shows it."""
        what = self._store.blocked_by(entry_object_key(number)) or "something that is no log entry"
        return Damaged(
            f"{what} lies where the next log entry belongs",
            hint="`repo repair` puts a copy of the entry there, where there is one, and keeps what lies there below "
            "quarantine/; `repo repair --bridge` gives up what no copy is left of.",
            tier=self._store.name,
            object_key=entry_object_key(number),
        )

    def behind(
        self, head: int, bodies: dict[int, bytes] | None = None, tail: Mapping[int, bytes] = NO_ENTRIES
    ) -> Sequence[Entry | LogFault]:
        """Every entry behind number `head`, up to the highest number that the store lists and that may be true.

        `bodies`: takes their bytes. `tail`: bytes of entries that may be these; the last one is read in any case.
        """
        lengths: dict[int, int] = {}
        first = head + 1
        last = proven = first - 1
        for info in self._store.list(LOG_PREFIX, after=entry_object_key(last)):
            number = entry_number(info.key)
            if number is None:
                continue
            # Anybody who may write to the store can name an object after a number far away. Were it believed
            # unseen, all the numbers before it would be read, and kept as faults; so nor is it a step to the next.
            if number - proven > GAP_MAX:
                proven = max(proven, self._last_signed(last, number))
            if number - proven <= GAP_MAX:
                last = number
                lengths[number] = info.size
        known = {number: body for number, body in tail.items() if number < last and lengths.get(number) == len(body)}
        entries = list(self._entries(range(first, last + 1), {} if bodies is None else bodies, known))
        while len(entries) <= GAP_MAX and self._store.blocked_by(entry_object_key(first + len(entries))):
            # No listing shows it, and no writer would get past it: better known before anything is uploaded.
            number = first + len(entries)
            entries.append(LogFault(number, self.blocked(number)))
            if self._store.blocked_by(f"{entry_object_key(number).rpartition('/')[0]}/_"):
                break  # it has the place of the folder: what is behind it nobody knows, and each number would be told
        return entries

    def _last_signed(self, last: int, number: int) -> int:
        """The higher one of these two that is signed, by no older root than the lower one; 0 where none is."""
        found, before = self.entry(number), self.entry(last)
        if isinstance(found, LogFault):
            is_signed = isinstance(found.error, UnknownKey)
        else:
            is_signed = isinstance(before, LogFault) or found.signer >= before.signer
        if is_signed:
            return number
        return 0 if isinstance(before, LogFault) and not isinstance(before.error, UnknownKey) else last

    def _entries(
        self, numbers: range, bodies: dict[int, bytes], known: Mapping[int, bytes]
    ) -> Iterable[Entry | LogFault]:
        """These entries. `bodies`: takes the bytes of good ones. `known`: those that need not be asked for."""

        def read(number: int) -> Entry | LogFault:
            return self.entry(number, bodies, known.get(number))

        if len(numbers) - len(known) <= 1:
            return [read(number) for number in numbers]
        with ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="log-read") as pool:
            return list(pool.map(read, numbers))

    def entry(self, number: int, bodies: dict[int, bytes] | None = None, body: bytes | None = None) -> Entry | LogFault:
        """Entry `number` as it lies on the tier; whether it continues this history is not judged.

        `bodies`: takes its bytes, if it is good. `body`: its bytes, where they are known.
        """
        try:
            with about(tier=self._store.name, object_key=entry_object_key(number)):
                body = read_object(self._store, entry_object_key(number)) if body is None else body
                entry = self.decoded(body, number)
                if bodies is not None:
                    bodies[number] = body
                return entry
        except (AccessDenied, Damaged, ObjectMissing, Truncated, UnknownKey) as error:
            return LogFault(number, error)
