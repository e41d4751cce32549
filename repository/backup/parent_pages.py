"""The parent snapshot's pages of one directory, read along with the walk.

Promise: `advance` is called with ascending ranges of names and loads each page at most once; `find` answers
for the last range. A page that cannot be read counts as absent: its files are read again, nothing is lost.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from repository.errors import Damaged, NotInIndex, TierError, UnknownKey
from repository.stored.tree import Extra, Page, Row, content_ids, decode_page

UNREADABLE: Final = (Damaged, NotInIndex, TierError, UnknownKey)
"""What makes a page of the parent absent rather than the backup fail."""

_FILE = 0o100000
_KIND = 0o170000


class OldPage(NamedTuple):
    """One page of the parent. `plain_files`: all its entries are files whose content is there for sure."""

    id: bytes
    page: Page
    plain_files: bool


class OldEntry(NamedTuple):
    """What the parent has under a name."""

    row: Row
    content: bytes | None
    extra: Extra | None


class ParentPages:
    """Pages in the order of their ids; without ids: there is no parent."""

    def __init__(self, content: bytes, depth: int, load: Callable[[bytes], bytes]) -> None:
        self._load = load
        self._ids: Iterator[bytes] = content_ids(content, depth, load) if content else iter(())
        self._pages: list[OldPage] = []
        self._entries: dict[bytes, OldEntry] | None = None

    def advance(self, names: Sequence[bytes]) -> OldPage | None:
        """Go on to these names; returns the parent's page that has exactly them."""
        self._entries = None
        if not names:
            return None
        first, last = names[0], names[-1]
        self._pages = [old for old in self._pages if old.page.names and old.page.names[-1] >= first]
        while not self._pages or self._pages[-1].page.names[-1] < last:
            old = self._next()
            if old is None:
                break
            if old.page.names and old.page.names[-1] >= first:
                self._pages.append(old)
        if self._pages and self._pages[0].page.names == names:
            return self._pages[0]
        return None

    @property
    def is_empty(self) -> bool:
        """Whether the parent has nothing in the present range."""
        return not self._pages

    def find(self, name: bytes) -> OldEntry | None:
        """What the parent has under a name of the present range."""
        if self._entries is None:
            self._entries = {}
            for old in self._pages:
                page = old.page
                extras = page.extras
                for number, row in enumerate(page.rows()):
                    self._entries[page.names[number]] = OldEntry(row, page.contents[number], extras.get(number))
        return self._entries.get(name)

    def directory(self, name: bytes) -> "ParentPages":
        """The pages of a directory of the present range; none where the parent has no such directory."""
        old = self.find(name)
        if old is None or old.row[0] & _KIND != 0o040000 or old.content is None:
            return ParentPages(b"", 0, self._load)
        return ParentPages(old.content, old.extra.depth if old.extra is not None else 0, self._load)

    def _next(self) -> OldPage | None:
        try:
            page_id = next(self._ids, None)
            if page_id is None:
                return None
            page = decode_page(self._load(page_id))
        except UNREADABLE:
            self._ids = iter(())
            return None
        return OldPage(page_id, page, _are_plain_files(page))


def _are_plain_files(page: Page) -> bool:
    """Whether each entry is a file with content, trusted and without anything to look at twice."""
    if page.extras or None in page.contents:
        return False
    # In the columns of i64: no entry of another kind, no change time that is not to be trusted.
    modes, changes = (memoryview(page.columns[number]).cast("q") for number in (0, 5))
    return all(mode & _KIND == _FILE for mode in set(modes)) and 0 not in changes
