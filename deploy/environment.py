"""Makes the virtual environment that `make` runs everything from: `deploy/environment.sh [--dev]`.

It is a program of its own, which imports nothing of ours. Promise: what is there is
used only where it was finished, by this folder's own hash-pinned lock, and runs; all else is removed and made
anew, so that a mended cause is never hidden by what a failed attempt has left. Nothing is silent for more than a few
seconds, waiting for another setup included. Ctrl-C (and SIGTERM) ends what was started, says what is left, and
exits with 130. `--dev` adds what tests and checks need.

The installer is uv where it is there and works, else the virtual environment's own pip. Both take registries
and proxies from their own settings.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
LOCK = "requirements.lock"
DEV_LOCK = "requirements-dev.lock"
BUILD_LOCK = "requirements-build.lock"
MARK = ".installed"
COMMAND = "wedsync-backup"
LOG = "setup.log"
SAY_SECONDS = 3.0
END_SECONDS = 5.0
"""How long an installer that is told to end may take."""
_FAILED, _INTERRUPTED = 1, 130
_COMPILED = ("cli", "repository", "sources")
_COMPILE = """
import compileall, importlib, sys
for folder in sys.argv[1:]:
    compileall.compile_dir(folder, quiet=2)
for name in (
    "cryptography.hazmat.primitives.asymmetric.ed25519", "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.kdf.hkdf", "msgspec.json", "zstandard", "blake3", "numpy", "boto3",
    "botocore.client", "botocore.httpsession",
):
    importlib.import_module(name)
"""


class Voice:
    """Says lines; and that the work goes on, and what it is, wherever nothing was said for some seconds."""

    def __init__(self) -> None:
        self.begun = self._said = time.monotonic()
        self._turn = threading.RLock()
        self._work: Callable[[], str] = lambda: "at work"

    def say(self, line: str) -> None:
        """A line, at once, whatever letters the terminal has. That nobody reads it any more ends nothing."""
        encoding = sys.stdout.encoding or "utf-8"
        with self._turn, contextlib.suppress(OSError):
            self._said = time.monotonic()
            print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)

    @contextlib.contextmanager
    def during(self, work: Callable[[], str]) -> Iterator[None]:
        """What is said of the work, for as long as this block lasts."""
        before, self._work = self._work, work
        try:
            yield
        finally:
            self._work = before

    @contextlib.contextmanager
    def never_silent(self) -> Iterator[None]:
        """Speak up in every silence of this block. The silence counts, not the stage: short ones add up."""
        done = threading.Event()
        thread = threading.Thread(target=self._break_silence, args=(done,), name="voice", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _break_silence(self, done: threading.Event) -> None:
        while not done.wait(0.1):
            now = time.monotonic()
            if now - self._said >= SAY_SECONDS:
                self.say(f"  {time.monotonic() - self.begun:3.0f} s  {self._work()}")


_voice = Voice()
say = _voice.say


@_voice.never_silent()
def main() -> int:
    """Make the environment, or leave it as it is where it is whole."""
    parser = argparse.ArgumentParser(description="Make the virtual environment.")
    parser.add_argument("--dev", action="store_true", help="with what tests and checks need")
    parser.add_argument("--folder", default=".venv", help="where, from the folder of the project (default: .venv)")
    arguments = parser.parse_args()
    if not arguments.folder:
        parser.error("--folder is empty")
    os.chdir(ROOT)
    folder = Path(arguments.folder).absolute()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` has set it
            signal.signal(number, signal.default_int_handler)
    try:
        holder = os.open(ROOT, os.O_RDONLY)
        try:
            wait_for_turn(holder)
        except KeyboardInterrupt:
            say("setup: interrupted; the other setup goes on.")
            return _INTERRUPTED
        make(folder, DEV_LOCK if arguments.dev else LOCK)
    except KeyboardInterrupt:
        say(f"setup: interrupted; {what_is_left(folder)}")
        return _INTERRUPTED
    except OSError as error:
        refuse(str(error), "Free space or grant access, then the same command again.")
    return 0


def wait_for_turn(holder: int) -> None:
    """Two at once in one folder would spoil each other's work. The kernel gives the lock back with the process."""
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"Another setup works in this folder, {lock_holder()}; this one waits for it.")
        with _voice.during(lambda: f"waiting for the other setup, {lock_holder()}"):
            fcntl.flock(holder, fcntl.LOCK_EX)


def lock_holder() -> str:
    """Which process has locked this folder, and since when it runs, as far as the kernel tells."""
    found = ROOT.stat()
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        for line in Path("/proc/locks").read_text().splitlines():
            # 1: FLOCK ADVISORY WRITE 4711 fd:01:393236 0 EOF; one who waits has an arrow behind the number.
            words = line.split()
            if words[1] == "FLOCK" and words[5] == place:
                ticks = int(Path("/proc", words[4], "stat").read_text().rpartition(")")[2].split()[19])
                uptime = float(Path("/proc/uptime").read_text().split()[0])
                return f"process {words[4]}, which began {uptime - ticks / os.sysconf('SC_CLK_TCK'):.0f} s ago"
    except (OSError, ValueError, IndexError):
        pass
    return "a process that the kernel does not name here"


def make(folder: Path, wanted: str) -> None:
    """The environment with all that a lock names; as it is where it is whole."""
    mark = read_mark(folder)
    if mark is not None and mark["locks"].get(wanted) == digest(wanted):
        return
    if mark is None:
        require_tools()
        warn_of_missing_name()
    with scratch():
        if mark is None:
            remake(folder)
        install(folder, wanted)


@contextlib.contextmanager
def scratch() -> Iterator[None]:
    """A place of the installers' own for temporary files: one that is ended in its work leaves them, pip does."""
    before = os.environ.get("TMPDIR")
    place = tempfile.mkdtemp(prefix="wedsync-setup-")
    os.environ["TMPDIR"] = place
    try:
        yield
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def what_is_left(folder: Path) -> str:
    """After an interruption, what there is of the environment and what becomes of it."""
    if (folder / MARK).exists():
        return f"{folder.name} is left as it was finished."
    if folder.exists():
        return f"{folder.name} is half made and is not used: the same command removes it and begins anew."
    return "nothing was made."


def refuse(problem: str, hint: str) -> NoReturn:
    """End with what is wrong and what to do."""
    say(f"setup: {problem}")
    say(f"  {hint}")
    sys.exit(_FAILED)


def digest(lock: str) -> str:
    """The identity of a lock's content."""
    return hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()


def python_of(folder: Path) -> Path:
    """The environment's interpreter."""
    return folder / "bin" / "python"


def read_mark(folder: Path) -> dict[str, Any] | None:
    """What a finished installation says of itself; None where none was finished here, or it runs no longer."""
    try:
        mark = json.loads((folder / MARK).read_bytes())
        if mark["folder"] != str(folder) or not isinstance(mark["locks"], dict):
            return None
        found = subprocess.run(
            [str(python_of(folder)), "-c", "import sys; print(sys.version_info[:2])"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        ).stdout.decode()
    except (OSError, ValueError, TypeError, KeyError, subprocess.CalledProcessError):
        return None
    return mark if found.strip() == mark["python"] else None


def require_tools() -> None:
    """Refuse, before anything is made, what can only fail later and with a message that leads astray."""
    here = f"Python {platform.python_version()} ({sys.executable})"
    if sys.platform != "linux":
        refuse(f"the system is {sys.platform}: Linux is needed.", "Use a Linux machine, or one in a container.")
    if os.pathsep in str(ROOT):
        refuse(f"the path of this folder has a colon in it: {ROOT}", "Move the folder; no PYTHONPATH can name it.")
    if shutil.which("uv") is None and not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        refuse(
            f"{here} has no module venv or no module ensurepip, so that it can make no virtual environment.",
            "Install them (Debian and Ubuntu: apt install python3-venv), or uv; then the same command again.",
        )


def warn_of_missing_name() -> None:
    """Say before the installation what the platform will refuse after it. Linting needs no Postgres, so go on."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        say(
            f"The user {os.geteuid()} has no name on this machine (no entry in /etc/passwd), and Postgres makes its "
            "cluster for named users only. Where the system lets users make namespaces, one is borrowed; else the demo "
            "and the tests are refused. Better: run this as a named user, or give the user a name (docs/operations.md)."
        )


def remake(folder: Path) -> None:
    """An empty virtual environment in place of whatever is there."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        say(f"{folder.name} is half made, of another folder or of another Python; it is made anew.")
        with _voice.during(lambda: f"the old {folder.name} is removed"):
            shutil.rmtree(folder)
    say(f"The virtual environment {folder.name} is being made, with Python {platform.python_version()}.")
    uv = shutil.which("uv")
    if uv is not None:
        # Where it fails, the module that every Python has does it.
        if run([uv, "venv", "-q", "--seed", "--python", sys.executable, str(folder)], "uv", None) == 0:
            return
        shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(folder)], "making it", folder.parent / f"{folder.name}.log")


def install(folder: Path, lock: str) -> None:
    """Install a lock, add the command, and mark the environment as finished."""
    (folder / MARK).unlink(missing_ok=True)
    total = sum("==" in line and line[:1].isalnum() for line in (ROOT / lock).read_text().splitlines())
    say(f"{total} packages are installed from {lock}: about a minute, once.")
    # What has no wheel is built with what is pinned, too, not with what the registry has newest.
    install_one(folder, BUILD_LOCK, total=1)
    install_one(folder, lock, "--no-build-isolation", total=total)
    write_command(folder)
    compile_ahead(folder)
    # The lock of the tests has all that the other has.
    locks = {name: digest(name) for name in ((LOCK,) if lock == LOCK else (LOCK, DEV_LOCK))}
    version = subprocess.check_output([str(python_of(folder)), "-c", "import sys; print(sys.version_info[:2])"])
    draft = folder / f"{MARK}.new"
    draft.write_text(json.dumps({"folder": str(folder), "python": version.decode().strip(), "locks": locks}))
    draft.rename(folder / MARK)
    say(f"The packages are installed, {time.monotonic() - _voice.begun:.0f} s after the start.")


def install_one(folder: Path, lock: str, *options: str, total: int) -> None:
    """Install one lock: by uv where it is there and works, else by pip."""
    uv = shutil.which("uv")
    required = ["--no-deps", "--require-hashes", *options, "-r", lock]
    fast = [uv or "", "pip", "install", "--python", str(python_of(folder)), *required]
    if uv is None or run(fast, "uv", None, total=total) != 0:
        # Dependencies are all in the lock, and what is never imported need not be compiled.
        pip = [str(python_of(folder)), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
        run([*pip, "--no-input", "--no-compile", *required], "pip", folder / LOG, total=total)


def compile_ahead(folder: Path) -> None:
    """Compile what `wedsync-backup repo` loads: where Python is told to keep nothing, each start would do it anew.

    Twice as long as all else that such a command does. Where it cannot be kept, commands start as slowly as before.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    words = [str(python_of(folder)), "-P", "-c", _COMPILE, *(str(ROOT / name) for name in _COMPILED)]
    with _voice.during(lambda: "modules are compiled"):
        subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def write_command(folder: Path) -> None:
    """The command `wedsync-backup`, by a script that no letter in the path can break."""
    root = shlex.quote(str(ROOT))
    script = folder / "bin" / COMMAND
    script.write_bytes(
        os.fsencode(
            "#!/bin/sh\n"
            f"PYTHONPATH={root}${{PYTHONPATH:+:$PYTHONPATH}}\n"
            "export PYTHONPATH\n"
            f'exec {shlex.quote(str(python_of(folder)))} -P -m cli "$@"\n'
        )
    )
    script.chmod(0o755)


def run(command: list[str], name: str, log: Path | None, *, total: int = 0) -> int:
    """Run an installer to its end, and say how far it is. Where it fails: its last words, and the end.

    `log`: where all that it said is kept then; None where there is another way, and its exit code is wanted.
    """
    seen: list[str] = []
    environment = {**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )

    def read() -> None:
        if process.stdout is not None:
            seen.extend(line.decode(errors="replace").rstrip() for line in process.stdout)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        with _voice.during(lambda: _how_far(seen, total)):
            process.wait()
    except KeyboardInterrupt:
        say(f"setup: {name} is told to end.")
        raise
    finally:
        _end(process)
    reader.join(2.0)
    if process.returncode == 0:
        return 0
    say("\n".join(f"  {line}" for line in seen[-15:]))
    if log is None:
        say(f"{name} ended with {process.returncode}; Python's own way is tried.")
        return process.returncode
    log.write_text("\n".join(seen), errors="replace")
    refuse(
        f"{name} ended with {process.returncode}; all that it said is in {log}.",
        "Most often the registry cannot be reached (proxy, registry settings: pip config list) or the disk is full. "
        "What is half made is not used: once the cause is mended, the same command begins anew.",
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Nothing goes on writing into the folder once the lock on it is given back."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()


def _how_far(seen: list[str], total: int) -> str:
    """The stage in words, from what the installer has said so far."""
    lines = list(seen)
    if any(line.startswith("Installing collected") for line in lines):
        return f"all {total} packages are fetched and are being unpacked"
    fetched = sum(line.startswith("Collecting ") for line in lines)
    if fetched:
        return f"packages fetched: {fetched} of {total}"
    return "the installer works" if total else "the virtual environment is made"


if __name__ == "__main__":
    sys.exit(main())
