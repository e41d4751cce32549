"""A build of the next version: this one's code with what a next version may add, to be run as processes of its own.

Within the versions of events: a field more (`backup-preparing`), a member more of an enum (`ExecutionType`). Beside
them: an event of a version that this build does not know (`backup-uploading.v2`), and read models of another version.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.postgres_server import free_port
from tests.support.stack import ROOT, Platform

MEMBER = "rehearsal"
FIELD = "zone"
EVENT = "executor.backup-uploading.v2"

_CHANGES = {
    "contracts/executor_events.py": (
        ('    DRILL = "drill"\n', f'    DRILL = "drill"\n    REHEARSAL = "{MEMBER}"\n'),
        ("    worker: str\n", f"    worker: str\n    {FIELD}: str | None = None\n"),
        (
            '@pinned("executor.backup-verifying.v1")',
            f'@pinned("{EVENT}")\n'
            "class BackupUploadingNext(Event, frozen=True, kw_only=True):\n"
            '    """As the version before, and how fast."""\n\n'
            "    execution_id: str\n    fence: int\n    bytes_per_second: int\n\n\n"
            '@pinned("executor.backup-verifying.v1")',
        ),
        (
            "    BackupUploading: ExecutionState.BACKING_UP,\n",
            "    BackupUploading: ExecutionState.BACKING_UP,\n    BackupUploadingNext: ExecutionState.BACKING_UP,\n",
        ),
    ),
    "services/executor/domain.py": (
        ("    BackupUploading,\n", "    BackupUploading,\n    BackupUploadingNext,\n"),
        ("fence=fence, worker=worker)", f'fence=fence, worker=worker, {FIELD}="b")'),
        (
            "BackupUploading(execution_id=self.id, fence=fence)",
            "BackupUploadingNext(execution_id=self.id, fence=fence, bytes_per_second=1)",
        ),
    ),
    "services/executor/application.py": (("ExecutionType.MANUAL", "ExecutionType.REHEARSAL"),),
}


def make_next_build(folder: Path) -> Path:
    """The folder of the next build's packages; whatever has not changed in it is this build's."""
    for package in ("contracts", "services", "gateway"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in _CHANGES.items():
        text = (folder / name).read_text()
        for before, after in changes:
            assert text.count(before) == 1, (name, before)
            text = text.replace(before, after)
        (folder / name).write_text(text)
    projection = folder / "gateway/runs/projection.py"
    lines = projection.read_text().splitlines(keepends=True)
    versions = [number for number, line in enumerate(lines) if line.startswith("    VERSION = ")]
    assert len(versions) == 1
    lines[versions[0]] = f"    VERSION = {int(lines[versions[0]].rpartition(' ')[2]) + 1}\n"
    projection.write_text("".join(lines))
    return folder


@contextmanager
def beside(platform: Platform, part: str, module: str, build: Path) -> Iterator[tuple[int, int]]:
    """A process of the next build beside a platform's part, with its settings; its ports for health and for HTTP."""
    pid = platform.pid(part)
    given = dict(line.split("=", 1) for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in line)
    health, http = free_port(), free_port()
    ports = {"WEDSYNC_HEALTH_PORT": str(health)} | ({"WEDSYNC_HTTP_PORT": str(http)} if part == "gateway" else {})
    with (platform.home.parent / f"next-{part}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=build,
            env={**os.environ, **given, **ports, "PYTHONPATH": f"{build}{os.pathsep}{ROOT}"},
            stdout=log,
            stderr=log,
        )
    try:
        yield health, http
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
