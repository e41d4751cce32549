"""A history to forget from: so many versions of one folder, backed up one after the other.

Each version gives half of the files, scattered, new content, so that a version's own packs hold what lives for one
version beside what lives for many: who lets every other snapshot go has to write packs again, not only to delete them.
Content is random: nothing compresses, and what kept snapshots need is the sum of the contents that they name.

`python -m benchmarks.retention SOURCE --bytes N --versions N -- COMMAND…` makes the history of our program, in one
process: a thousand starts of Python would be most of the time. `COMMAND` is what follows `wedsync-backup`.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.seeded import Seeded

KEEP: Final = "keep"
"""The tag of what is not forgotten."""
_FILES: Final = 100
_FOLDERS: Final = 10
_CHANGED: Final = 0.5


@dataclass(frozen=True)
class History:
    """`size` bytes in `versions` versions, all told. Histories of other names share nothing."""

    folder: Path
    size: int
    versions: int
    name: str = "retention"

    def write(self) -> Iterator[bool]:
        """Make the folder each version in turn; says of each whether it is one of those that stay: every other one,
        the newest among them.
        """
        for number in range(self.versions):
            for file in self._changed(number):
                path = self.folder / f"{file % _FOLDERS}" / f"{file}.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(Seeded(self.name, file, number).bytes(self._length(file)))
            yield self._stays(number)

    @property
    def kept(self) -> int:
        """How many versions stay."""
        return sum(self._stays(number) for number in range(self.versions))

    @property
    def needed_bytes(self) -> int:
        """Of all contents, those that the versions that stay hold."""
        found = set[tuple[int, int]]()
        generations = [0] * _FILES
        for number in range(self.versions):
            for file in self._changed(number):
                generations[file] = number
            if self._stays(number):
                found.update(enumerate(generations))
        return sum(self._length(file) for file, _ in found)

    @property
    def changed_bytes(self) -> int:
        """What the last version gave new content."""
        return sum(map(self._length, self._changed(self.versions - 1)))

    def _stays(self, number: int) -> bool:
        return (self.versions - 1 - number) % 2 == 0

    def _changed(self, number: int) -> list[int]:
        """The files that a version gives new content: the first one all of them."""
        if number == 0:
            return list(range(_FILES))
        draws = Seeded("changed", self.name, number).uniform(_FILES)
        return [file for file in range(_FILES) if draws[file] < _CHANGED]

    def _length(self, file: int) -> int:
        """From a quarter of the mean to one and three quarters."""
        mean = self.size / (1 + _CHANGED * (self.versions - 1)) / _FILES
        return int(mean * (0.25 + 1.5 * file / (_FILES - 1)))


def main() -> int:
    """Back each version up with our program."""
    from cli.main import main as program

    parser = argparse.ArgumentParser(prog="python -m benchmarks.retention")
    parser.add_argument("source", type=Path)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--versions", type=int, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    for stays in History(options.source, options.bytes, options.versions).write():
        code = program([*options.command, str(options.source), "--tag", KEEP if stays else "other"])
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
