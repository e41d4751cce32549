"""A small seeded folder that changes from version to version: what a simulated configuration saves."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.made_folder import MADE_NS, MadeFile, MadeFolder
from benchmarks.seeded import Seeded
from repository.backup.source import SmallFile
from repository.format import ContentClass
from repository.stored.tree import Row


@dataclass(frozen=True)
class Content:
    """What a file holds in one of its generations: random, so that nothing of it compresses or is found twice."""

    configuration: int
    file: int
    generation: int
    length: int

    def bytes(self) -> bytes:
        """The bytes, the same on every machine."""
        return bytes(Seeded("year", self.configuration, self.file, self.generation).bytes(self.length))


class YearFile(MadeFile):
    """One file; see `repository.backup.source.SourceFile`."""

    head_class: ContentClass | None = ContentClass.PHOTO

    def __init__(self, body: bytes, row: Row) -> None:
        super().__init__(row)
        self._body = memoryview(body)

    def read_into(self, view: memoryview) -> int:
        """The next bytes."""
        length = min(len(view), len(self._body))
        view[:length] = self._body[:length]
        self._body = self._body[length:]
        return length


class YearFolder(MadeFolder):
    """The only folder, and the source that has it; see `repository.backup.source`."""

    def __init__(self, contents: Sequence[Content]) -> None:
        self._contents = contents

    def require(self) -> None:
        """It is always there."""

    def root(self) -> tuple[Row, "YearFolder"]:
        """The folder itself."""
        return (0o040755, 0, 0, 0, MADE_NS, MADE_NS, 10**6, 2, 0), self

    def names(self) -> list[bytes]:
        """Names in ascending order."""
        return [b"%03d.jpg" % each.file for each in self._contents]

    def row(self, name: bytes) -> Row:
        """A file's row: another generation has another time."""
        content = self._content(name)
        time_ns = MADE_NS + content.generation
        return 0o100644, 0, 0, content.length, time_ns, time_ns, content.file + 1, 1, 0

    def read_small(self, name: bytes, row: Row) -> SmallFile:
        """The whole of a small file."""
        return SmallFile(self._content(name).bytes(), row, None)

    def open(self, name: bytes, row: Row) -> YearFile:
        """A larger one."""
        return YearFile(self._content(name).bytes(), row)

    def _content(self, name: bytes) -> Content:
        return self._contents[int(name.partition(b".")[0])]
