"""From the previous version to this one and back, with runs under way: `make upgrade PREVIOUS=<tag or commit>`.

The embedded platform of one home, by the commands of the guide's section 12, from three folders of code: the previous
version's, this one's, the previous one's again. Before each change a run is begun in each of several organisations, and
has to be *whole* in the end, whoever performed the rest of it. How long the API does not answer is measured by asking
it twice a second, from outside, from the word `down` on.

Where tables differ the way back is refused, as the guide says: that counts as well, and is told. Exit code 0: no run
failed, and the way back was gone or refused by its code; 1: anything else.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tarfile import open as open_tar
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import numpy

ROOT = Path(__file__).resolve().parents[1]
LOCK = "requirements.lock"
REFUSED = "are not those of this build"
_ENDED = frozenset({"completed", "failed", "cancelled"})
_COMMAND_SECONDS, _RUN_SECONDS, _ASK_SECONDS = 600.0, 1200.0, 0.5
_DEGRADED, _GOES_ON = 4, 8
"""What `up` ends with where somebody should look, and where a slow machine has not finished yet."""


@dataclass
class Version:
    """A folder of code, and the Python that has what its lock names."""

    name: str
    code: Path
    python: Path

    def run(self, home: Path, *words: str, allowed: tuple[int, ...] = (0,)) -> "subprocess.CompletedProcess[str]":
        """A command of this version's command line. Raises RuntimeError with its last words where it fails."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("WEDSYNC_", "PYTHON"))}
        done = subprocess.run(
            [str(self.python), "-P", "-m", "cli", *words],
            cwd=home.parent,
            # One at a time: whatever the machine, there is one at work and others that wait.
            env={**kept, "PYTHONPATH": str(self.code), "WEDSYNC_HOME": str(home), "WEDSYNC_WORKER_SLOTS": "1"},
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if done.returncode not in allowed:
            said = (done.stdout + done.stderr).strip()[-1500:]
            raise RuntimeError(f"{self.name}: {' '.join(words)} ended with {done.returncode}: {said}")
        return done


@dataclass
class Rehearsal:
    """One home, and what was begun in it."""

    home: Path
    runs: dict[str, str] = field(default_factory=dict)
    """The organisation of each run."""

    def prepare(self, version: Version, organisations: int, megabytes: int) -> dict[str, str]:
        """Make tenants, each with a folder of its own; the configuration of each."""
        made = {}
        random = numpy.random.default_rng(16)
        for number in range(organisations):
            name, folder = f"studio-{number}", self.home.parent / f"photos-{number}"
            folder.mkdir()
            for each in range(megabytes // 4):
                (folder / f"{each}.jpg").write_bytes(random.bytes(4 << 20))
            version.run(self.home, "organisation", "add", name)
            source = ["--role", "source", "--url", f"file://{folder}", "--organisation", name]
            version.run(self.home, "location", "add", f"photos-{number}", *source)
            body = {
                "name": "Photos",
                "sourceType": "directory",
                "sourceLocation": f"photos-{number}",
                "storageDestinations": {"local": {"location": "local", "required": True}},
            }
            made[name] = self._call(version, name, "POST", "configurations", json.dumps(body))
        return made

    def begin(self, version: Version, configurations: Mapping[str, str]) -> int:
        """Begin a run of each; how many of them are under way, one of them at work and others waiting for it."""
        begun = {
            self._call(version, name, "POST", "execute", json.dumps({"configurationId": each})): name
            for name, each in configurations.items()
        }
        self.runs |= begun
        under_way = [state for state in self._states(version, begun).values() if state not in _ENDED]
        if not under_way:
            raise RuntimeError("every run had ended before the change: give them more to do (--megabytes)")
        return len(under_way)

    def outcomes(self, version: Version) -> dict[str, int]:
        """How many runs ended how, once all have."""
        until = time.monotonic() + _RUN_SECONDS
        while time.monotonic() < until:
            states = self._states(version, self.runs)
            if all(state in _ENDED for state in states.values()):
                return {state: list(states.values()).count(state) for state in sorted(set(states.values()))}
            time.sleep(1)
        raise RuntimeError("runs have not ended")

    def change(self, before: Version, after: Version) -> float | None:
        """Stop one version, start the other one; the seconds without an answer. None where the start was refused."""
        begun = time.monotonic()
        before.run(self.home, "down", allowed=(0, _DEGRADED))
        started = after.run(self.home, "up", "--detach", allowed=(0, 1, _DEGRADED, _GOES_ON, 70, 78))
        if started.returncode not in (0, _DEGRADED, _GOES_ON):
            said = started.stdout + started.stderr
            if REFUSED not in said:
                raise RuntimeError(f"{after.name} did not start: {said.strip()[-1500:]}")
            after.run(self.home, "down", allowed=(0, 1, 3, 7, _DEGRADED))
            return None
        self.until_it_answers(after)
        return time.monotonic() - begun

    def until_it_answers(self, version: Version) -> None:
        """Wait for the API of a version that has been started."""
        begun = time.monotonic()
        while not self._answers():
            if time.monotonic() - begun > _COMMAND_SECONDS:
                raise RuntimeError(f"the API of {version.name} does not answer")
            time.sleep(_ASK_SECONDS)

    def _states(self, version: Version, runs: Mapping[str, str]) -> dict[str, str]:
        return {
            run: version.run(
                self.home, "call", "GET", f"executions/{run}", "--organisation", name, "--field", "state"
            ).stdout.strip()
            for run, name in runs.items()
        }

    def _call(self, version: Version, organisation: str, method: str, path: str, body: str) -> str:
        words = ("call", method, path, "--organisation", organisation, "--field", "id", "-d", body)
        return version.run(self.home, *words).stdout.strip()

    def _answers(self) -> bool:
        ports = json.loads((self.home / "layout.json").read_bytes())["ports"]
        try:
            with urlopen(f"http://127.0.0.1:{ports['gateway']}/health/live", timeout=_ASK_SECONDS):
                return True
        except HTTPError:
            return True
        except (URLError, OSError):
            return False


def version_of(reference: str, scratch: Path) -> Version:
    """The code of a commit, and an environment for it: this one's, where its lock is the same."""
    code = scratch / "previous"
    code.mkdir()
    with open_tar(fileobj=BytesIO(_git("archive", "--format=tar", reference))) as files:
        files.extractall(code, filter="data")
    python = Path(sys.executable)
    if (code / LOCK).read_bytes() != (ROOT / LOCK).read_bytes():
        subprocess.run(["make", "-C", str(code), "runtime"], check=True, timeout=_COMMAND_SECONDS, capture_output=True)
        python = code / ".venv/bin/python"
    return Version(_git("describe", "--tags", "--always", reference).decode().strip(), code, python)


def _git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True, timeout=60).stdout


def main() -> int:
    """Rehearse; the exit code."""
    parser = argparse.ArgumentParser(description="From the previous version to this one and back.")
    parser.add_argument("previous", metavar="PREVIOUS", help="a tag or a commit")
    parser.add_argument("--organisations", type=int, default=3, help="runs under way at each change (default 3)")
    parser.add_argument("--megabytes", type=int, default=1200, help="what each of them saves (default 1200)")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="wedsync-upgrade-"))
    rehearsal = Rehearsal(scratch / "home")
    this = Version("this", ROOT, Path(sys.executable))
    running: Version | None = None
    try:
        previous = version_of(arguments.previous, scratch)
        print(f"previous: {previous.name}", flush=True)
        running = previous
        previous.run(rehearsal.home, "up", "--detach", allowed=(0, _DEGRADED, _GOES_ON))
        rehearsal.until_it_answers(previous)
        configurations = rehearsal.prepare(previous, arguments.organisations, arguments.megabytes)
        under_way = rehearsal.begin(previous, configurations)
        away = rehearsal.change(previous, this)
        if away is None:
            raise RuntimeError("this version refuses the tables of the previous one")
        running = this
        print(f"to this version, {under_way} under way: {_told(rehearsal, this)}; API away {away:.1f} s", flush=True)
        for folder in scratch.glob("photos-*"):
            (folder / "0.jpg").rename(folder / "first.jpg")
            (folder / "more.bin").write_bytes(numpy.random.default_rng(17).bytes(arguments.megabytes << 20))
        under_way = rehearsal.begin(this, configurations)
        away = rehearsal.change(this, previous)
        if away is None:
            rehearsal.change(previous, this)
            print(
                f"back, {under_way} under way: refused, tables differ; on with this version: {_told(rehearsal, this)}",
                flush=True,
            )
        else:
            running = previous
            print(f"back, {under_way} under way: {_told(rehearsal, previous)}; API away {away:.1f} s", flush=True)
        outcomes = rehearsal.outcomes(running)
    except RuntimeError as error:
        print(f"upgrade: {error}", file=sys.stderr)
        return 1
    finally:
        if running is not None:
            running.run(rehearsal.home, "down", allowed=tuple(range(256)))
        shutil.rmtree(scratch, ignore_errors=True)
    failed = sum(number for state, number in outcomes.items() if state != "completed")
    print(f"runs: {sum(outcomes.values())}, of which failed: {failed}")
    return 1 if failed else 0


def _told(rehearsal: Rehearsal, version: Version) -> str:
    return ", ".join(f"{number} runs {state}" for state, number in rehearsal.outcomes(version).items())


if __name__ == "__main__":
    sys.exit(main())
