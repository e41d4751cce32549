"""One child process: it dies with the supervisor, is awaited without a thread, and is stopped within a time limit."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from deploy.stack.account import Account, PopenOptions
from deploy.stack.process_identity import ProcessIdentity, descendants

OPEN_FOLDER = "{open-folder}"
"""Stands in a command line for the folder that is handed to the child as an open descriptor."""
OPEN_SECRET = "{open-secret}"
"""Stands in a command line for the file in memory that holds the launch's secret."""

KILL_SIGNAL_SECONDS = 1.0
KILLED_SECONDS = 1.0
"""How long the end of a killed process is waited for: one that waits for its disk may not end at all."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a child is started.

    `account`: whom it runs as, None for the supervisor's own user. `open_folder`: handed over as an open
    descriptor, so that an unprivileged account reaches it below folders that are closed to it; no folder's
    permissions have to be widened. `secret`: handed over as a file in memory, never on disk or in the command
    line. `death_signal`: what the kernel sends when the supervisor dies. `waits`: it loads what it is made of, and
    waits on its input for the word to begin.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    account: Account | None = None
    open_folder: Path | None = None
    secret: bytes | None = None
    death_signal: signal.Signals = signal.SIGKILL
    waits: bool = False


class Child:
    """A running child. Its number is not reused before it was awaited here, so signals cannot hit another process."""

    def __init__(self, popen: "subprocess.Popen[bytes]", identity: ProcessIdentity | None) -> None:
        self._popen = popen
        self.identity = identity
        self._descriptor = os.pidfd_open(popen.pid)
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._descriptor, self._reap)

    @classmethod
    def start(cls, launch: Launch) -> "Child":
        """Start it in a session of its own, so that Ctrl-C at the terminal reaches the supervisor alone."""
        popen = spawn(launch)
        return cls(popen, ProcessIdentity.of(popen.pid))

    def begin(self) -> None:
        """Give the word to one that waits for it."""
        if self._popen.stdin is not None:
            # One that has ended meanwhile is told of where its end is waited for.
            with contextlib.suppress(BrokenPipeError), self._popen.stdin as word:
                word.write(b"\n")

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """Negative: the signal that ended it. None while it runs."""
        return self._popen.returncode

    def _reap(self) -> None:
        if self._popen.returncode is None:
            if os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return
            # What it leaves behind in its process group would hold its ports and files. It is a zombie still,
            # so the group's number cannot be another's.
            self._kill_group()
            self._popen.wait()
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._ended.set()

    def _kill_group(self) -> None:
        """End the process, its group, and what it has started in groups of their own (as Postgres does)."""
        below = [] if self._popen.returncode is not None else descendants(self._popen.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        for process in below:
            process.send(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end; its exit code."""
        await self._ended.wait()
        return self._popen.returncode

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, not to its group."""
        if self._popen.returncode is None:
            self._popen.send_signal(number)

    def kill(self) -> None:
        """End the process and its group at once."""
        if self._popen.returncode is None:
            self._kill_group()

    async def stop(
        self, number: signal.Signals, *, grace_seconds: float, kill_signal: signal.Signals | None = None
    ) -> bool:
        """Ask it to end, wait, ask harder where there is a way, then kill it with its group; False where it was.

        Where the kernel does not let it end, its `exit_code` is None still.
        """
        if await self._ends_after(number, grace_seconds):
            return True
        if kill_signal is None or not await self._ends_after(kill_signal, KILL_SIGNAL_SECONDS):
            self.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILLED_SECONDS):
                    await self.wait()
        return False

    async def _ends_after(self, number: signal.Signals, seconds: float) -> bool:
        self.send(number)
        try:
            async with asyncio.timeout(seconds):
                await self.wait()
        except TimeoutError:
            return False
        return True


def spawn(launch: Launch) -> "subprocess.Popen[bytes]":
    """Start a process as `launch` says. Raises OSError where it cannot be started."""
    with contextlib.ExitStack() as descriptors:

        def held(descriptor: int) -> int:
            descriptors.callback(os.close, descriptor)
            return descriptor

        log = held(os.open(launch.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))
        handed: dict[str, int] = {}
        if launch.open_folder is not None:
            handed[OPEN_FOLDER] = held(os.open(launch.open_folder, os.O_RDONLY | os.O_DIRECTORY))
        if launch.secret is not None:
            handed[OPEN_SECRET] = held(os.memfd_create("secret"))
            os.write(handed[OPEN_SECRET], launch.secret)
        argv = list(launch.argv)
        for placeholder, descriptor in handed.items():
            argv = [word.replace(placeholder, f"/proc/self/fd/{descriptor}") for word in argv]
        identity = PopenOptions() if launch.account is None else launch.account.popen_options()
        return subprocess.Popen(
            argv,
            env=dict(launch.environment),
            cwd=launch.folder if launch.account is None else "/",
            stdin=subprocess.PIPE if launch.waits else subprocess.DEVNULL,
            bufsize=0,
            stdout=log,
            stderr=log,
            umask=0o077,
            start_new_session=True,
            pass_fds=tuple(handed.values()),
            preexec_fn=_die_with_parent(os.getpid(), launch.death_signal),
            **identity,
        )


def _die_with_parent(parent: int, number: signal.Signals) -> Callable[[], None]:
    """What the child does before it becomes the program, after the change of user, which would clear the signal."""

    def arm() -> None:
        if _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
            os._exit(126)
        # The supervisor may have died between the fork and the line above.
        if os.getppid() != parent:
            os._exit(126)

    return arm
