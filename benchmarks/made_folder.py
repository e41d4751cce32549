"""What every source has that is one made-up folder of files, for benchmarks that read no disk."""

from collections.abc import Sequence
from typing import NoReturn

from repository.backup.source import Listing, ProblemSink
from repository.stored.tree import Extra, Row

MADE_NS = 10**18


class MadeFile:
    """A file that does not change while it is read; see `repository.backup.source.SourceFile`."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def finish(self) -> tuple[Row, Extra | None]:
        """The row that was listed."""
        return self._row, None

    def close(self) -> None:
        """Nothing is held."""


class MadeFolder:
    """Files alone, with nothing beside their rows; see `repository.backup.source.SourceDirectory`."""

    ahead = None
    block_length = 0

    def row(self, name: bytes) -> Row:
        """A file's row: for the folder to say."""
        raise NotImplementedError(name)

    def rows(self, names: Sequence[bytes], on_problem: ProblemSink) -> Listing:  # noqa: ARG002  # there are none
        """The files' rows."""
        return Listing([self.row(name) for name in names])

    def enter(self, name: bytes) -> NoReturn:
        """There is no folder in it."""
        raise NotImplementedError(name)

    def extra(self) -> Extra | None:
        """Nothing."""
        return None

    def describe(self, name: bytes, row: Row) -> Extra | None:  # noqa: ARG002  # all are alike
        """Nothing."""
        return None

    def close(self) -> None:
        """Nothing is held."""
