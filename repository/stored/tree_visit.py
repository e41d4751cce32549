"""All chunks that a snapshot references, page by page, for checking and for copying.

Promise: every chunk of the tree is yielded at least once; pages that were seen in an earlier visit of the same
`TreeVisitor` are not entered again, so that visiting many snapshots costs what differs between them. A
page that cannot be read is noted in `faults` and the visit goes on.
"""

import stat as stat_bits
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from repository.errors import Damaged, RepositoryError
from repository.stored.tree import Page, decode_page, ids_of

LIST_LEVELS_MAX = 4


class TreeFault(NamedTuple):
    """A page or list of a tree that cannot be read."""

    chunk_id: bytes
    error: RepositoryError


class TreeVisitor:
    """Visits trees. `load` gives a chunk's plaintext. Not thread-safe."""

    def __init__(self, load: Callable[[bytes], bytes]) -> None:
        self._load = load
        self._seen: set[bytes] = set()
        self.faults: list[TreeFault] = []

    def apart(self) -> "TreeVisitor":
        """One that has seen the same pages by now, and whose visits this one does not count as its own."""
        other = TreeVisitor(self._load)
        other._seen = set(self._seen)
        return other

    def chunks(self, root: Iterable[str]) -> Iterator[bytes]:
        """The ids of pages, lists and contents below the root pages (hex) that were not seen before."""
        waiting = [bytes.fromhex(page_id) for page_id in root]
        while waiting:
            page_id = waiting.pop()
            if page_id in self._seen:
                continue
            self._seen.add(page_id)
            yield page_id
            page = self._page(page_id)
            if page is not None:
                yield from self._entries(page, waiting)

    def _entries(self, page: Page, waiting: list[bytes]) -> Iterator[bytes]:
        for number, (row, content) in enumerate(zip(page.rows(), page.contents, strict=True)):
            extra = page.extras.get(number)
            if extra is not None and extra.xattrs_chunk:
                yield extra.xattrs_chunk
            ids = self._ids(content or b"", extra.depth if extra is not None else 0)
            if stat_bits.S_ISDIR(row[0]):
                for chunk_id, is_list in ids:
                    if is_list:
                        yield chunk_id
                    else:
                        waiting.append(chunk_id)
            else:
                for chunk_id, _ in ids:
                    yield chunk_id

    def _ids(self, content: bytes, depth: int) -> Iterator[tuple[bytes, bool]]:
        """The ids of a content, and those of the lists between; True for a list."""
        for chunk_id in ids_of(content):
            yield chunk_id, depth > 0
            if depth > 0:
                yield from self._ids(self._list(chunk_id, depth), depth - 1)

    def _list(self, chunk_id: bytes, depth: int) -> bytes:
        try:
            if depth > LIST_LEVELS_MAX:
                raise Damaged("lists of a content are nested too deeply", depth=depth)
            return self._load(chunk_id)
        except RepositoryError as error:
            self.faults.append(TreeFault(chunk_id, error))
            return b""

    def _page(self, page_id: bytes) -> Page | None:
        try:
            return decode_page(self._load(page_id))
        except RepositoryError as error:
            self.faults.append(TreeFault(page_id, error))
            return None


class Wholeness(TreeVisitor):
    """Says of each tree whether all of it is there. A page is looked at once, however many trees share it."""

    def __init__(self, load: Callable[[bytes], bytes], has: Callable[[bytes], bool]) -> None:
        """`has` says of a chunk whether it is there; of pages and lists, `load` has to give it too."""
        super().__init__(load)
        self._has = has
        self._whole: dict[bytes, bool] = {}

    def is_whole(self, root: Iterable[str]) -> bool:
        """Whether everything below the root pages (hex) is there."""
        return all(self._is_page_whole(bytes.fromhex(page_id)) for page_id in root)

    def _is_page_whole(self, page_id: bytes) -> bool:
        looked_at: dict[bytes, tuple[bool, list[bytes]]] = {}
        waiting = [page_id]
        while waiting:
            current = waiting[-1]
            if current in self._whole:
                waiting.pop()
            elif current not in looked_at:
                looked_at[current] = self._look_at(current)
                waiting += looked_at[current][1]
            else:
                is_whole, below = looked_at.pop(current)
                self._whole[current] = is_whole and all(self._whole[each] for each in below)
        return self._whole[page_id]

    def _look_at(self, page_id: bytes) -> tuple[bool, list[bytes]]:
        """Whether the page and what it lists itself are there, and the pages below it."""
        below: list[bytes] = []
        page = self._page(page_id)
        # All of it: the pages below are found on the way.
        found = [self._has(page_id)] + [self._has(each) for each in self._entries(page, below)] if page else [False]
        is_whole = all(found) and not self.faults
        self.faults.clear()
        return is_whole, below
