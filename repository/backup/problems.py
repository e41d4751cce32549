"""What went wrong with single entries of a source: counted all, kept up to a bound, reported one by one."""

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from repository.backup.source import LOSSES, FileProblem, Reason
from repository.stored.tree_builder import OpenPage

KEPT_MAX: Final = 10_000


class FileError(NamedTuple):
    """One entry and what is wrong with it. `path` is relative to the source's root, without a slash in front.

    It is personal data: for the user's own terminal, or sealed.
    """

    path: bytes
    reason: Reason
    detail: str

    @property
    def is_loss(self) -> bool:
        """Whether something of the source is missing in the snapshot because of it."""
        return self.reason in LOSSES


class ProblemLog:
    """Collects problems from all threads. `on_problem` gets each one; the first `KEPT_MAX` are kept."""

    def __init__(self, on_problem: Callable[[FileError], None] | None = None) -> None:
        self.kept: list[FileError] = []
        self.counts: dict[Reason, int] = {}
        self._on_problem = on_problem
        self._lock = threading.Lock()

    @property
    def losses(self) -> int:
        """How many entries are missing or have no content."""
        return sum(count for reason, count in self.counts.items() if reason in LOSSES)

    @property
    def torn(self) -> int:
        """How many files were written to while they were read, and are kept."""
        return self.counts.get(Reason.CHANGED, 0)

    def add(self, path: bytes, problem: FileProblem) -> None:
        """Record what is wrong with the entry at this path."""
        error = FileError(path, problem.reason, problem.detail)
        with self._lock:
            self.counts[problem.reason] = self.counts.get(problem.reason, 0) + 1
            if len(self.kept) < KEPT_MAX:
                self.kept.append(error)
        if self._on_problem is not None:
            self._on_problem(error)

    def add_entry(self, page: OpenPage, number: int, problem: FileProblem) -> None:
        """Record what is wrong with an entry of a page."""
        self.add(page.path_of(number), problem)
