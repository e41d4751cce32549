"""The README's first backup of one's own folder works as it is written, over the command line and over the API."""

import shutil
from pathlib import Path

import pytest

from tests.support.file_trees import differences, seen
from tests.support.guide import Shell
from tests.support.stack import Platform

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Somebody with a folder of photos, some of whose names are difficult."""
    album = tmp_path / "Photos of Zoë & Søren" / "day one"
    album.mkdir(parents=True)
    (album / "IMG_1.JPG").write_bytes(bytes(range(256)) * 400)
    (album.parent / "contract.txt").write_text("I do.\n" * 1000)
    (album.parent / "latest").symlink_to("day one")
    variables = {"FOLDER": str(album.parent), "RESTORED": str(tmp_path / "restored"), "HOME": str(tmp_path)}
    return Shell("README.md", tmp_path / "bin", tmp_path, variables)


def _expect_equal(shell: Shell, said: str) -> None:
    assert said.endswith("equal, every byte\n")
    assert not differences(seen(Path(shell.variables["FOLDER"])), seen(Path(shell.variables["RESTORED"])))


def test_first_backup_by_the_command_line(shell: Shell, tmp_path: Path) -> None:
    """Five lines: a key, a repository, a backup, a restore, and the proof."""
    done = shell.follow("first-backup-cli", instead={"file:///mnt/backup": f"file://{tmp_path}/disk"})
    assert done.returncode == 0, done.stderr
    _expect_equal(shell, done.stdout)


def test_first_backup_over_the_api(shell: Shell, shared_platform: Platform) -> None:
    """Five lines, once tenant, source and token are there; what came back is what was saved."""
    shell.variables["WEDSYNC_HOME"] = str(shared_platform.home)
    done = shell.follow("first-backup-prepare", "first-backup-api")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert '"state":"completed"' in done.stdout
    _expect_equal(shell, done.stdout)


def test_comparison_finds_what_differs(shell: Shell, tmp_path: Path) -> None:
    """The last line is a proof: it fails where a byte is another."""
    shutil.copytree(shell.variables["FOLDER"], shell.variables["RESTORED"], symlinks=True)
    (tmp_path / "restored" / "contract.txt").write_text("I do not.\n")
    proof = shell.block("run", "first-backup-cli").splitlines()[-1]
    assert proof in shell.block("run", "first-backup-api")
    done = shell.type(proof)
    assert (done.returncode, "equal" in done.stdout) == (1, False)
