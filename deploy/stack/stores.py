"""Whether a server's data folder still is the one that it has its data in.

A folder that is deleted or replaced below a running server goes unnoticed by the server: it goes on with files
that have no name any more, and acknowledges writes that end with it. And one that is missing at a start (a disk
that is not mounted) would be made anew on whatever lies below, and filled again in silence. Each store therefore
bears a mark, `layout.json` remembers which, and only an operator may say that another one is meant
(`wedsync-backup up --begin-anew PATH`).

Nobody waits for a disk that hangs, neither the other parts nor the stop of the platform: every look has a deadline
(`chassis.disk`), and a store that does not answer is named like one that is gone.
"""

from pathlib import Path

from chassis.disk import Disk, DiskSilent
from chassis.ids import new_id
from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.files import write_once
from deploy.stack.layout import Layout
from deploy.stack.probes import Grade, Trouble

MARK = ".wedsync-store"


OPEN_SECONDS = 8.0
"""How long a store may take to be opened: where it does not, its part is not started."""


class StoreGone(PlatformError):
    """A store that was used before is not in its place, or its disk does not answer."""


class Store:
    """The data folder of a part. `inside`: what it holds once it was used, and keeps for as long as it lives.

    `is_transport`: what was in it can be filled again from the record, which is asked for elsewhere; it is made anew.
    """

    def __init__(
        self, layout: Layout, folder: Path, *, inside: tuple[str, ...] = (), is_transport: bool = False
    ) -> None:
        self.name = str(folder.relative_to(layout.home))
        self.folder = folder
        self.disk = Disk(folder)
        self._layout = layout
        self._inside = (MARK, *inside)
        self._is_transport = is_transport
        self._seen: dict[str, tuple[int, int]] = {}

    @property
    def is_known(self) -> bool:
        """Whether it was used before: then it is never made anew without a word of the operator's."""
        remembered = self._layout.remembered
        return not self._is_transport and (self.name in remembered.stores or self.name in remembered.begun)

    async def open(self) -> None:
        """Before each start of its part: make the folder at the first one, else compare its mark. Raises StoreGone."""
        try:
            await self.disk.ask(self._open, seconds=OPEN_SECONDS)
        except DiskSilent as error:
            raise self.gone(f"cannot be used: {error.strerror}") from error

    def _open(self) -> None:
        self._seen.clear()
        if self.is_known:
            self._require()
        else:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.mark(self.folder)
        self._look()

    @staticmethod
    def mark(folder: Path) -> None:
        """Give a folder its mark, where it has none. The folder is closed to others; its own account may read it."""
        write_once(folder / MARK, f"{new_id()}\n", mode=0o644)

    async def keep(self) -> None:
        """Remember it, once it holds something. Raises OSError."""
        mark = await self.disk.ask(lambda: _read(self.folder / MARK))
        if mark is not None and self._layout.remembered.stores.get(self.name) != mark:
            self._layout.remembered.stores[self.name] = mark
            self._layout.remember()

    async def trouble(self) -> Trouble | None:
        """Whether it is still there, as a probe says it. It is asked of the file system alone."""
        try:
            changed = await self.disk.ask(self._look)
        except OSError as error:
            return Trouble(f"{self.folder} cannot be looked at: {error.strerror}")
        if changed is None:
            return None
        return Trouble(f"its data is gone: {self.folder / changed} was deleted or replaced while it ran", Grade.LOST)

    def gone(self, what: str) -> StoreGone:
        """The error that says what is missing, and what to do."""
        return StoreGone(
            errors.HOME_UNUSABLE,
            f"the store {self.folder} {what}",
            store=str(self.folder),
            hint=f"{self.what_to_do[0].upper()}{self.what_to_do[1:]}.",
        )

    @property
    def what_to_do(self) -> str:
        """How an operator goes on from a loss."""
        return (
            "bring it back (mount its disk, put a copy there) and it goes on by itself. To go on with what lies there"
            f" now, be it nothing: wedsync-backup down, then wedsync-backup up --begin-anew {self.name}"
        )

    def _require(self) -> None:
        try:
            is_there, found = self.folder.is_dir(), _read(self.folder / MARK)
        except OSError as error:
            # A mount whose server has died, say: that is no answer either.
            raise self.gone(f"cannot be looked at: {error.strerror}") from error
        if not is_there:
            raise self.gone("is not there")
        expected = self._layout.remembered.stores.get(self.name)
        if expected is None:
            # It was begun by a build that knew no marks. One that was used is not empty: its disk is not mounted.
            if not any(self.folder.iterdir()):
                raise self.gone("is empty")
            self.mark(self.folder)
            return
        if found != expected:
            raise self.gone("has no mark" if found is None else "is another one than before")

    def _look(self) -> str | None:
        """What is not what it was at the first look, or None. What is not there yet is seen once it is."""
        for name in self._inside:
            try:
                status = (self.folder / name).stat()
            except (FileNotFoundError, NotADirectoryError):
                if name in self._seen:
                    return name
                continue
            if self._seen.setdefault(name, (status.st_dev, status.st_ino)) != (status.st_dev, status.st_ino):
                return name
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
