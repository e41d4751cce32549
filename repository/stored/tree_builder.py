"""Builds the tree of a snapshot from the leaves up, while files are still being read.

Promise: a page is encoded once all its files are read and all its directories are done, by the thread that
completes it; a page that is equal to the parent snapshot's is not encoded at all. Memory: the pages on
the path of the walk, and those with files still in the queue. Thread-safe.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from repository.stored.tree import NO_EXTRA, ContentList, Extra, Page, Row, columns_of, encode_page


class Closable(Protocol):
    """The source's directory, as far as the builder cares."""

    def close(self) -> None:
        """Give back what it holds."""
        ...


class OpenDirectory:
    """A directory whose pages are not all known yet. `path` is relative to the source's root, which has b""."""

    __slots__ = ("above", "extra", "number", "page_ids", "path", "source", "waiting")

    def __init__(self, above: "OpenPage", number: int, source: Closable, path: bytes, extra: Extra | None) -> None:
        self.above = above
        self.number = number
        self.source = source
        self.path = path
        self.extra = extra
        self.page_ids: list[bytes] = []
        self.waiting = 1  # the walker's own hold, until it has left the directory


class OpenPage:
    """A page some of whose contents are not known yet.

    `waiting` counts them, and one for the walker until it has handed out all of the page. `reused` is the
    parent's page and its id where names, stats and identities are equal.
    """

    __slots__ = ("contents", "directory", "extras", "names", "number", "reused", "rows", "waiting")

    def __init__(self, directory: OpenDirectory | None, names: list[bytes], rows: list[Row | None]) -> None:
        self.directory = directory
        self.names = names
        self.rows = rows
        self.contents: list[bytes | None] = [None] * len(names)
        self.extras: dict[int, Extra] = {}
        self.waiting = 1
        self.reused: tuple[bytes, Page] | None = None
        self.number = 0
        if directory is not None:
            self.number = len(directory.page_ids)
            directory.page_ids.append(b"")

    def path_of(self, number: int) -> bytes:
        """The path of an entry, relative to the source's root."""
        name = self.names[number]
        above = self.directory.path if self.directory is not None else b""
        return above + b"/" + name if above else name


class TreeBuilder:
    """Completes pages and directories.

    `store` keeps a page or a list as a chunk and returns its id; `use` gets the id of a page of the parent, and
    says whether the new snapshot may rely on it: the pack that holds it may be absent, or marked for deletion.
    """

    def __init__(self, store: Callable[[bytes], bytes], use: Callable[[bytes], bool]) -> None:
        self._store = store
        self._use = use
        self._lock = threading.Lock()
        self.root_id: bytes | None = None
        self.pages_reused = 0

    def open_page(self, directory: OpenDirectory | None, names: list[bytes], rows: list[Row | None]) -> OpenPage:
        """The next page of a directory; only the root page has none."""
        if directory is not None:
            with self._lock:
                directory.waiting += 1
        return OpenPage(directory, names, rows)

    def wait_for(self, page: OpenPage, count: int = 1) -> None:
        """The page shall wait for so many more contents. Its walker still holds it."""
        with self._lock:
            page.waiting += count

    def done(self, page: OpenPage, count: int = 1) -> None:
        """So many contents of the page are there (or never will be, then row or content is None)."""
        with self._lock:
            page.waiting -= count
            if page.waiting:
                return
        self._complete(page)

    def left(self, directory: OpenDirectory) -> None:
        """The walker has seen all of the directory."""
        with self._lock:
            directory.waiting -= 1
            if directory.waiting:
                return
        self._complete_directory(directory)

    def _complete(self, page: OpenPage) -> None:
        """Close the page, and whatever above has waited for it alone."""
        above: OpenPage | None = page
        while above is not None:
            page = above
            page_id = self._page_id(page)
            directory = page.directory
            if directory is None:
                self.root_id = page_id
                return
            directory.page_ids[page.number] = page_id
            with self._lock:
                directory.waiting -= 1
                if directory.waiting:
                    return
            above = self._close(directory)

    def _complete_directory(self, directory: OpenDirectory) -> None:
        above = self._close(directory)
        if above is not None:
            self._complete(above)

    def _close(self, directory: OpenDirectory) -> OpenPage | None:
        """Put the directory's pages into the page above; returns it if it is complete now."""
        directory.source.close()
        above = directory.above
        content = ContentList(self._store)
        content.extend(b"".join(directory.page_ids))
        ids, depth = content.finish()
        above.contents[directory.number] = ids
        extra = directory.extra
        if depth:
            extra = _with_depth(extra or NO_EXTRA, depth)
        with self._lock:
            if extra is not None:
                above.extras[directory.number] = extra
            above.waiting -= 1
            return above if above.waiting == 0 else None

    def _page_id(self, page: OpenPage) -> bytes:
        if page.reused is not None:
            page_id, old = page.reused
            if page.contents == old.contents and page.extras == old.extras and self._use(page_id):
                self.pages_reused += 1
                return page_id
        rows = [row for row in page.rows if row is not None]
        names, contents, extras = page.names, page.contents, page.extras
        if len(rows) != len(page.rows):
            kept = [number for number, row in enumerate(page.rows) if row is not None]
            names = [names[number] for number in kept]
            contents = [contents[number] for number in kept]
            extras = {new: extras[old] for new, old in enumerate(kept) if old in extras}
        return self._store(encode_page(Page(names, columns_of(rows), contents, dict(sorted(extras.items())))))


def _with_depth(extra: Extra, depth: int) -> Extra:
    from msgspec.structs import replace

    return replace(extra, depth=depth)
