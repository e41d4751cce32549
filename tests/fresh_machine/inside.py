"""What is done inside one fresh machine's namespaces: empty it, run the commands, look for what they left."""

import argparse
import json
import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fresh_machine.__main__ import USER
from tests.fresh_machine.kinds import KINDS, Kind

EMPTIED = ("/var/cache", "/tmp", "/dev/shm", "/home", "/root")
COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "ld", "as", "rustc", "cargo")
DEAD_PROXY = "http://127.0.0.1:9"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
ASKED_SILENCE_SECONDS = 5.0
SILENCE_FAULT_SECONDS = 60.0
"""A program that speaks every three seconds is late by so much on no machine: nobody spoke."""
EQUAL = b"Equal, every byte and every attribute"


class Machine:
    """One kind of machine, from inside."""

    def __init__(self, kind: Kind, clone: Path, cache: Path) -> None:
        self._kind, self._clone = kind, clone
        # What the commands leave behind must not decide about anything, so the caller's environment is not theirs.
        passed = ("PIP_", "SSL_", "REQUESTS_CA", "CURL_CA", "NODE_EXTRA_CA")
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(passed) or name.upper() in (*PROXIES, "NO_PROXY")
        }
        programs = f"{_interpreter() / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._environment = {**kept, "PATH": programs, "CI": "true"}
        self._environment |= {"PIP_NO_CACHE_DIR": "1"} if kind.no_cache else {"PIP_CACHE_DIR": str(cache)}
        if not kind.no_home:
            self._environment["HOME"] = "/home/stranger" if kind.ordinary_user else "/root"

    def make_empty(self) -> None:
        """Nothing of an earlier run, of a user or of a compiler is seen any more."""
        interpreter, settings = _interpreter(), Path.home() / ".config/pip/pip.conf"
        own = settings.read_bytes() if settings.exists() else None
        # On the clone's disk, as on a real machine: file systems in memory lack attributes and direct access.
        disk = self._clone.parent / "emptied"
        held = disk / "interpreter"
        # It is there where the machine is started anew; what its disk holds stays, as on a real one.
        held.mkdir(parents=True, exist_ok=True)
        disk.chmod(0o711)
        _mount("--bind", str(interpreter), str(held))
        for number, place in enumerate(EMPTIED):
            if place == "/dev/shm":
                _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", place)
                continue
            below = disk / str(number)
            below.mkdir(exist_ok=True)
            below.chmod(0o1777 if place == "/tmp" else 0o755)
            _mount("--bind", str(below), place)
        if any(interpreter.is_relative_to(place) for place in EMPTIED):
            # The Python that `make` takes lies in somebody's home; nothing else of it is there.
            interpreter.mkdir(parents=True, exist_ok=True)
            for parent in interpreter.parents:
                if parent not in (Path("/"), Path("/var")):
                    parent.chmod(parent.stat().st_mode | 0o055)
            _mount("--bind", str(held), str(interpreter))
        if self._kind.bad_places:
            _mount("-o", "remount,bind,noexec", "/tmp")
            _mount("-o", "remount,bind,ro", "/var/cache")
        if own is not None:
            # Where packages come from is this machine's affair.
            config = Path("/dev/shm/pip.conf")
            config.write_bytes(own)
            config.chmod(0o644)
            self._environment["PIP_CONFIG_FILE"] = str(config)
        for name in COMPILERS:
            found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
            if found is not None:
                _mount("--bind", "/dev/null", os.path.realpath(found))
        if self._kind.ordinary_user:
            Path("/home/stranger").mkdir()
            os.chown("/home/stranger", USER, USER)
        if self._kind.ordinary_user and not self._kind.nameless:
            names = disk / "passwd"
            names.write_text(f"{Path('/etc/passwd').read_text()}stranger:x:{USER}:{USER}::/home/stranger:/bin/sh\n")
            names.chmod(0o644)
            _mount("--bind", str(names), "/etc/passwd")
        self._before = self._left()

    def use(self, *, tests_follow: bool) -> None:
        """The README's commands, and what belongs to the kind. Where the tests follow: all that they need as well."""
        kind = self._kind
        dead = {name: DEAD_PROXY for each in PROXIES for name in (each, each.lower())} if kind.dead_proxy else {}
        if kind.dead_proxy or kind.second_platform:
            self._run("make", "runtime")
        if kind.ordinary_user and kind.nameless and not self._lends_a_name():
            said = self._run("make", "demo", more=dead, accepted=(2,))
            if b"has no name on this machine" not in said:
                raise SystemExit("the demo does not say that its user has no name")
            return
        other = ("--home", f"{self._clone.parent}/another platform")
        command = f"{self._clone}/.venv/bin/wedsync-backup"
        if kind.second_platform:
            # Up, and perhaps not well yet: whether it is, is asked when the demo is over.
            self._run(command, "up", "--detach", *other, more=dead, accepted=(0, 4))
        said = self._run("make", "demo", more=dead)
        if EQUAL not in said:
            raise SystemExit("the demo does not say that all is equal")
        if kind.second_platform:
            self._run(command, "status", *other, more=dead)
            self._run(command, "down", *other, more=dead)
        if left := sorted(self._left() - self._before):
            raise SystemExit(f"left outside the clone: {left}")
        if tests_follow:
            self._run("make", "setup")
            # Each process of the suite would compile every module for itself, all at the same time.
            collect = ("--collect-only", "-qq", "-o", "addopts=", "-m", "not slow")
            self._run(".venv/bin/python", "-m", "pytest", *collect, "tests")

    def test(self) -> None:
        """All tests, with coverage."""
        self._run("make", "coverage")

    def _run(self, *command: str, more: Mapping[str, str] | None = None, accepted: Sequence[int] = (0,)) -> bytes:
        """Run a command to its end and pass on what it says. Ends with its words where it fails."""
        words = self._as_user(*command)
        reading, writing = pty.openpty() if self._kind.terminal else os.pipe()
        begun = heard = time.monotonic()
        longest, before, said = 0.0, b"", b""
        process = subprocess.Popen(
            words,
            cwd=self._clone,
            env={**self._environment, **(more or {})},
            umask=self._kind.umask,
            stdin=writing if self._kind.terminal else subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
        os.close(writing)
        while block := _read(reading):
            now = time.monotonic()
            if now - heard > longest:
                longest, before = now - heard, said[-80:].strip().rpartition(b"\n")[2]
            heard = now
            said += block
            os.write(sys.stdout.fileno(), block)
        os.close(reading)
        code = process.wait()
        seconds, name = time.monotonic() - begun, " ".join(os.path.basename(word) for word in command[:2])
        judged = "" if longest <= ASKED_SILENCE_SECONDS else f" (asked: {ASKED_SILENCE_SECONDS:.0f} s)"
        after = f", after {before.decode(errors='replace')!r}" if before else ", before the first word"
        print(f"\n== {name}: {code} after {seconds:.1f} s, longest silence {longest:.1f} s{judged}{after}", flush=True)
        if code not in accepted:
            raise SystemExit(f"{name} ended with {code}")
        if longest > SILENCE_FAULT_SECONDS and command[-1] == "demo":
            raise SystemExit(f"{name} was silent for {longest:.0f} s")
        return said

    def _as_user(self, *command: str) -> list[str]:
        """A command as the kind's user."""
        if not self._kind.ordinary_user:
            return list(command)
        return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]

    def _lends_a_name(self) -> bool:
        """Whether this system lets a user make a namespace in which he has another's name."""
        trial = self._as_user("unshare", "--user", "--map-user=65534", "--", "true")
        return subprocess.run(trial, capture_output=True, check=False).returncode == 0

    def _left(self) -> set[str]:
        """What lies in the places that were emptied, and of this platform in those that other processes use as well."""
        found = {entry.path for place in ("/var/cache", "/tmp", "/dev/shm") for entry in os.scandir(place)}
        remembered = self._clone / ".wedsync" / "layout.json"
        if remembered.exists():
            instance = json.loads(remembered.read_bytes())["instance"]
            found |= {str(path) for place in ("/var/tmp", "/run") for path in Path(place).glob(f"*{instance}*")}
        return found


def _interpreter() -> Path:
    """The folder of the Python that runs this, not of a virtual environment's."""
    return Path(os.path.realpath(sys.base_prefix))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _read(descriptor: int) -> bytes:
    """The next block; empty at the end, which a terminal tells by an error."""
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""


def main() -> None:
    """One kind, in the namespaces that the caller has made."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("clone", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--tests-follow", action="store_true")
    parser.add_argument("--tests", action="store_true")
    arguments = parser.parse_args()
    kind = next(kind for kind in KINDS if kind.name == arguments.kind)
    machine = Machine(kind, arguments.clone, arguments.cache)
    machine.make_empty()
    if arguments.tests:
        machine.test()
    else:
        machine.use(tests_follow=arguments.tests_follow)


if __name__ == "__main__":
    main()
