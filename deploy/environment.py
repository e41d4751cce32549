"""Makes the virtual environment that `make` runs everything from: `deploy/environment.sh [--dev]`.

It is a program of its own, which imports nothing of ours. Promise: what is there is
used only where it was finished, by this folder's own hash-pinned lock, and runs; all else is removed and made
anew, so that a mended cause is never hidden by what a failed attempt has left. Something is said every five
seconds. `--dev` adds what tests and checks need.

The installer is uv where it is there and works, else the virtual environment's own pip. Both take registries
and proxies from their own settings.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
LOCK = "requirements.lock"
DEV_LOCK = "requirements-dev.lock"
BUILD_LOCK = "requirements-build.lock"
MARK = ".installed"
COMMAND = "wedsync-backup"
LOG = "setup.log"
SAY_SECONDS = 4.0
_FAILED, _INTERRUPTED = 1, 130


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
    # Two at once in one folder would spoil each other's work. The kernel gives the lock back with the process.
    holder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Another setup works in this folder; waiting for it.")
        fcntl.flock(holder, fcntl.LOCK_EX)
    wanted = DEV_LOCK if arguments.dev else LOCK
    mark = read_mark(folder)
    if mark is not None and mark["locks"].get(wanted) == digest(wanted):
        return 0
    if mark is None:
        require_tools()
        remake(folder)
    install(folder, wanted)
    return 0


def say(line: str) -> None:
    """A line, at once, whatever letters the terminal has."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


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


def remake(folder: Path) -> None:
    """An empty virtual environment in place of whatever is there."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        say(f"{folder.name} is half made, of another folder or of another Python; it is made anew.")
        shutil.rmtree(folder)
    say(f"The virtual environment {folder.name} is made, with Python {platform.python_version()}.")
    uv = shutil.which("uv")
    if uv is not None:
        # Where it fails, the module that every Python has does it.
        made = subprocess.run([uv, "venv", "-q", "--seed", "--python", sys.executable, str(folder)], check=False)
        if made.returncode == 0:
            return
        shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(folder)], "making it", folder.parent / f"{folder.name}.log")


def install(folder: Path, lock: str) -> None:
    """Install a lock, add the command, and mark the environment as finished."""
    mark = folder / MARK
    if mark.exists():
        mark.unlink()
    total = sum("==" in line and line[:1].isalnum() for line in (ROOT / lock).read_text().splitlines())
    say(f"{total} packages are installed from {lock}: about a minute, once.")
    begun = time.monotonic()
    # What has no wheel is built with what is pinned, too, not with what the registry has newest.
    install_one(folder, BUILD_LOCK, total=1)
    install_one(folder, lock, "--no-build-isolation", total=total)
    write_command(folder)
    with (folder / MARK).open("w") as file:
        # The lock of the tests has all that the other has.
        locks = {name: digest(name) for name in ((LOCK,) if lock == LOCK else (LOCK, DEV_LOCK))}
        version = subprocess.check_output([str(python_of(folder)), "-c", "import sys; print(sys.version_info[:2])"])
        json.dump({"folder": str(folder), "python": version.decode().strip(), "locks": locks}, file)
    say(f"The packages are installed after {time.monotonic() - begun:.0f} s.")


def install_one(folder: Path, lock: str, *options: str, total: int) -> None:
    """Install one lock: by uv where it is there and works, else by pip."""
    uv = shutil.which("uv")
    required = ["--no-deps", "--require-hashes", *options, "-r", lock]
    fast = [uv or "", "pip", "install", "--python", str(python_of(folder)), *required]
    if uv is None or run(fast, "uv", folder / LOG, total=total, may_fail=True) != 0:
        # Dependencies are all in the lock, and what is never imported need not be compiled.
        pip = [str(python_of(folder)), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
        run([*pip, "--no-input", "--no-compile", *required], "pip", folder / LOG, total=total)


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


def run(command: list[str], name: str, log: Path, *, total: int = 0, may_fail: bool = False) -> int:
    """Run an installer to its end, say how far it is, and end with its last words where it fails."""
    seen: list[str] = []
    environment = {**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    begun = told = time.monotonic()
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )

    def read() -> None:
        if process.stdout is not None:
            seen.extend(line.decode(errors="replace").rstrip() for line in process.stdout)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while True:
        try:
            process.wait(0.2)
            break
        except subprocess.TimeoutExpired:
            pass
        if time.monotonic() - told > SAY_SECONDS:
            told = time.monotonic()
            say(f"  {told - begun:3.0f} s  {_how_far(seen, total)}")
    reader.join(2.0)
    if process.returncode == 0:
        return 0
    say("\n".join(f"  {line}" for line in seen[-15:]))
    if may_fail:
        say(f"{name} ended with {process.returncode}; pip is tried.")
        return process.returncode
    log.write_text("\n".join(seen), errors="replace")
    refuse(
        f"{name} ended with {process.returncode}; all that it said is in {log}.",
        "Most often the registry cannot be reached (proxy, registry settings: pip config list) or the disk is full. "
        "Nothing half made is kept: once the cause is mended, the same command again.",
    )


def _how_far(seen: list[str], total: int) -> str:
    """The stage in words, from what the installer has said so far."""
    lines = list(seen)
    if any(line.startswith("Installing collected") for line in lines):
        return f"all {total} packages are fetched and are being unpacked"
    fetched = sum(line.startswith("Collecting ") for line in lines)
    return f"{fetched} of {total} packages are fetched" if fetched else "at work"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted; nothing half made is kept, the same command begins anew")
        sys.exit(_INTERRUPTED)
    except OSError as error:
        refuse(str(error), "Free space or grant access, then the same command again.")
