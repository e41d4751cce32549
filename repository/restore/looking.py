"""Looking into one snapshot: what a folder has, a part at a time, and what lies at a path. Reads pages, no content.

Promise: what is shown was read from pages that hash to the snapshot's ids. Cost follows what is asked for: a path costs
some pages of each folder on the way, however many entries these have, and a part of a folder begins at its own page. A
page that no tier gives is counted, and what is beside it is shown; where it may hold what is looked for, that is
raised: nobody is told that something is not there who could not look.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from repository.errors import RepositoryError
from repository.restore.snapshot_walk import is_safe, root_entry
from repository.stored.snapshot import Snapshot
from repository.stored.tree import Entry, Page, content_ids, decode_page

_WITHIN_PAGE_BITS: Final = 24
PLACE_MAX: Final = (1 << 62) - 1
"""The highest place that can be asked for."""


class Listed(NamedTuple):
    """A part of a folder. `next_place`: where the next one begins; None at the end.

    `unreadable_pages`: pages of this part that no tier gives: entries are missing. `hidden`: entries whose names could
    lead out of the folder.
    """

    entries: list[Entry]
    next_place: int | None
    unreadable_pages: int
    hidden: int


class SnapshotLook:
    """Looks into a snapshot. `load` gives a chunk's plaintext, or raises to end the look. Used by one thread."""

    def __init__(self, snapshot: Snapshot, load: Callable[[bytes], bytes]) -> None:
        self._snapshot = snapshot
        self._load = load

    def at(self, path: bytes) -> Entry | None:
        """The entry at a path below the root (slashes at either end do not count), or None.

        Raises why a page on the way cannot be read.
        """
        entry = root_entry(self._snapshot, self._load)
        for name in filter(None, path.split(b"/")):
            found = self._named(entry, name) if entry.is_directory and is_safe(name) else None
            if found is None:
                return None
            entry = found
        return entry

    def listed(self, folder: Entry, place: int = 0, limit: int = 200, bytes_max: int = 1 << 18) -> Listed:
        """Entries of a folder in the order of their names, from a place on: `limit` of them, or so many bytes of names.

        `place`: 0, or a `next_place`; another one shows what lies there, or nothing.
        """
        page_number, skipped = place >> _WITHIN_PAGE_BITS, place & ((1 << _WITHIN_PAGE_BITS) - 1)
        entries: list[Entry] = []
        unreadable = hidden = length = 0
        for number, page_id in enumerate(self._pages_of(folder)):
            if number < page_number:
                continue
            page = self._page(page_id)
            if page is None:
                unreadable += 1
                continue
            for index, entry in enumerate(page.entries()):
                if number == page_number and index < skipped:
                    continue
                if len(entries) >= limit or length >= bytes_max:
                    return Listed(entries, number << _WITHIN_PAGE_BITS | index, unreadable, hidden)
                if is_safe(entry.name):
                    entries.append(entry)
                    length += len(entry.name) + len(entry.extra.target)
                else:
                    hidden += 1
        return Listed(entries, None, unreadable, hidden)

    def _named(self, folder: Entry, name: bytes) -> Entry | None:
        """By halves: names ascend over all pages of a folder."""
        page_ids = self._pages_of(folder)
        low, high = 0, len(page_ids)
        while low < high:
            middle = (low + high) // 2
            page = decode_page(self._load(page_ids[middle]))
            if page.names and page.names[0] <= name <= page.names[-1]:
                return next((each for each in page.entries() if each.name == name), None)
            if not page.names or name < page.names[0]:
                high = middle
            else:
                low = middle + 1
        return None

    def _pages_of(self, folder: Entry) -> list[bytes]:
        return list(content_ids(folder.content or b"", folder.extra.depth, self._load))

    def _page(self, page_id: bytes) -> Page | None:
        try:
            return decode_page(self._load(page_id))
        except RepositoryError:
            return None
