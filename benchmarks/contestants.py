"""The programs under measurement, behind the same few calls: ours and two releases of restic.

All run as the commands that a user would type, in processes of their own, start-up included. All
get their defaults: restic its compression `auto` and its cache (beside the repository, on the same
disk), ours the levels that it chooses per content class.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.harness import Measurement, first_byte, run
from benchmarks.restic_packages import NEWEST, program
from benchmarks.retention import History

_ROOT = Path(__file__).resolve().parent.parent


class Contestant(Protocol):
    """A backup program with repositories in folders."""

    name: str

    def initialise(self, repositories: Sequence[Path]) -> None:
        """Make empty repositories that belong together. Not measured."""
        ...

    def backup(self, repositories: Sequence[Path], source: Path, *, durable: Path) -> list[Measurement]:
        """Back the folder up into all of them: one run per command that it takes."""
        ...

    def restore(self, repository: Path, target: Path, *, durable: Path) -> Measurement:
        """Restore the newest snapshot below `target`."""
        ...

    def forget_and_prune(self, repositories: Sequence[Path], tag: str, *, durable: Path) -> list[Measurement]:
        """Let all snapshots without the tag go, and free their space: one run per command that it takes."""
        ...

    def dump(self, repository: Path, source: Path, path: Path) -> Measurement:
        """One file of the newest snapshot of `source`: the time until its first byte, and all of it as output."""
        ...

    def check(self, repositories: Sequence[Path]) -> int:
        """Read every stored byte; returns how many snapshots there are. Raises where anything is damaged."""
        ...

    def restored(self, target: Path, source: Path) -> Path:
        """Where below `target` the restored copy of `source` is."""
        ...


def total(measurements: Sequence[Measurement]) -> Measurement:
    """Several commands in a row as one: times add up, memory does not."""
    return Measurement(
        sum(each.wall_seconds for each in measurements),
        sum(each.sync_seconds for each in measurements),
        sum(each.cpu_seconds for each in measurements),
        max(each.peak_bytes for each in measurements),
        measurements[-1].output,
    )


class WedSync:
    """Our command line, `repo` alone: no service runs."""

    name = "wedsync"

    def __init__(self) -> None:
        self._environment = {**os.environ, "PYTHONPATH": str(_ROOT)}

    def command(self, words: Sequence[str], repositories: Sequence[Path]) -> list[str]:
        """A `repo` command on these tiers. The key lies beside the first tier."""
        tiers = [word for each in repositories for word in ("--tier", each.as_uri())]
        key_file = repositories[0].parent / "wedsync.key"
        return [sys.executable, "-m", "cli", "repo", *words, "--json", "--key-file", str(key_file), *tiers]

    def initialise(self, repositories: Sequence[Path]) -> None:
        """One repository on all tiers."""
        subprocess.run(
            self.command(["init"], repositories), check=True, env=self._environment, stdout=subprocess.DEVNULL
        )

    def backup(self, repositories: Sequence[Path], source: Path, *, durable: Path) -> list[Measurement]:
        """One command, however many tiers."""
        command = [*self.command(["backup"], repositories), str(source)]
        return [run(command, durable=durable, environment=self._environment)]

    def restore(self, repository: Path, target: Path, *, durable: Path) -> Measurement:
        """The newest snapshot, verified as it is written."""
        command = [*self.command(["restore"], [repository]), "latest", "--target", str(target)]
        return run(command, durable=durable, environment=self._environment)

    def forget_and_prune(self, repositories: Sequence[Path], tag: str, *, durable: Path) -> list[Measurement]:
        """Two commands, however many tiers."""
        commands = [["forget", "--keep-tag", tag], ["prune"]]
        return [self.measured(words, repositories, durable=durable) for words in commands]

    def check(self, repositories: Sequence[Path]) -> int:
        """All tiers."""
        self.told(["check", "--read-data"], repositories)
        return len(self.told(["snapshots"], repositories)["snapshots"])

    def dump(self, repository: Path, source: Path, path: Path) -> Measurement:
        """Until the first byte of a file of the newest snapshot is there."""
        command = self.command(["dump", "latest", str(path.relative_to(source))], [repository])
        return first_byte(command, environment=self._environment)

    def measured(
        self, words: Sequence[str], repositories: Sequence[Path], *, durable: Path, accept: Sequence[int] = (0,)
    ) -> Measurement:
        """Any command, with the exit codes that are meant."""
        return run(self.command(words, repositories), durable=durable, environment=self._environment, accept=accept)

    def start(self, words: Sequence[str], repositories: Sequence[Path]) -> "subprocess.Popen[bytes]":
        """A command that goes on beside what is measured."""
        return subprocess.Popen(
            self.command(words, repositories),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )

    def told(self, words: Sequence[str], repositories: Sequence[Path]) -> dict[str, Any]:
        """What a command that is not measured prints with `--json`."""
        command = self.command(words, repositories)
        done = subprocess.run(command, check=True, env=self._environment, stdout=subprocess.PIPE)
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def restored(self, target: Path, source: Path) -> Path:  # noqa: ARG002 - the other contestant needs it
        """The content of the source lies at the target's root."""
        return target

    def add_history(self, repositories: Sequence[Path], history: History) -> None:
        """All versions of a history, in one process. Not measured."""
        size = ["--bytes", str(history.size), "--versions", str(history.versions)]
        words = self.command(["backup"], repositories)[3:]
        command = [sys.executable, "-m", "benchmarks.retention", str(history.folder), *size, "--", *words]
        subprocess.run(command, check=True, env=self._environment, stdout=subprocess.DEVNULL)

    def summary(self, measurement: Measurement) -> dict[str, object]:
        """What the command printed with `--json`."""
        document: dict[str, object] = json.loads(measurement.output)
        return document


class Restic:
    """One release of Debian's restic. The newest is called `restic`, an older one by its version, too."""

    def __init__(self, work: Path, version: str = NEWEST) -> None:
        self.name = "restic" if version == NEWEST else f"restic-{version}"
        self._program = str(program(work, version))

    def version(self) -> str:
        """As it says itself, in one line."""
        return subprocess.run([self._program, "version"], check=True, capture_output=True, text=True).stdout.strip()

    def _environment(self, repository: Path) -> dict[str, str]:
        return {
            **os.environ,
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_FROM_PASSWORD": "benchmark",
            "RESTIC_CACHE_DIR": str(repository.parent / "restic-cache"),
            "RESTIC_PROGRESS_FPS": "0.01",
        }

    def initialise(self, repositories: Sequence[Path]) -> None:
        """The first, then the others with its chunker parameters, as `restic copy` needs them to deduplicate."""
        first = repositories[0]
        for each in repositories:
            copied = ["--from-repo", str(first), "--copy-chunker-params"] if each != first else []
            command = [self._program, "init", "--quiet", "--repo", str(each), *copied]
            subprocess.run(command, check=True, env=self._environment(first), stdout=subprocess.DEVNULL)

    def add(self, repository: Path, source: Path, tag: str) -> None:
        """One more snapshot with a tag. Not measured."""
        command = [self._program, "backup", "--quiet", "--repo", str(repository), "--tag", tag, str(source)]
        subprocess.run(command, check=True, env=self._environment(repository))

    def backup(self, repositories: Sequence[Path], source: Path, *, durable: Path) -> list[Measurement]:
        """A backup into the first, then one `restic copy` for each of the others."""
        first, *others = repositories
        environment = self._environment(first)
        results = [
            run(
                [self._program, "backup", "--quiet", "--repo", str(first), str(source)],
                durable=durable,
                environment=environment,
            )
        ]
        for each in others:
            command = [self._program, "copy", "--quiet", "--from-repo", str(first), "--repo", str(each)]
            results.append(run(command, durable=durable, environment=environment))
        return results

    def restore(self, repository: Path, target: Path, *, durable: Path) -> Measurement:
        """The newest snapshot."""
        command = [self._program, "restore", "--quiet", "--repo", str(repository), "latest", "--target", str(target)]
        return run(command, durable=durable, environment=self._environment(repository))

    def forget_and_prune(self, repositories: Sequence[Path], tag: str, *, durable: Path) -> list[Measurement]:
        """One command for each repository."""
        words = ["forget", "--quiet", "--keep-tag", tag, "--prune"]
        return [
            run([self._program, *words, "--repo", str(each)], durable=durable, environment=self._environment(each))
            for each in repositories
        ]

    def dump(self, repository: Path, source: Path, path: Path) -> Measurement:  # noqa: ARG002 - as the other's
        """Until the first byte of a file of the newest snapshot is there."""
        command = [self._program, "dump", "--quiet", "--repo", str(repository), "latest", str(path)]
        return first_byte(command, environment=self._environment(repository))

    def check(self, repositories: Sequence[Path]) -> int:
        """The first one."""
        first = repositories[0]
        for words in (["check", "--quiet", "--read-data"], ["snapshots", "--json"]):
            command = [self._program, *words, "--repo", str(first)]
            done = subprocess.run(command, check=True, env=self._environment(first), stdout=subprocess.PIPE)
        return len(json.loads(done.stdout))

    def restored(self, target: Path, source: Path) -> Path:
        """The absolute path of the source is kept below the target."""
        return target / source.relative_to("/")
