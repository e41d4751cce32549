"""The README's first backup of one's own folder works as it is written, over the command line and over the API."""

import shutil
from pathlib import Path

import pytest

from chassis.sealing import prepare_keys_folder
from deploy.stack.identity_provider import install_identity_provider
from deploy.stack.layout import Layout
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


def _expect_equal(shell: Shell, said: str, *, suffix: str = "") -> None:
    assert said.endswith("equal, every byte\n")
    assert not differences(seen(Path(shell.variables["FOLDER"])), seen(Path(shell.variables["RESTORED"] + suffix)))


def _typed(shell: Shell, *names: str, before: str = "") -> str:
    """What somebody types at a terminal, whose shell goes on after a line that fails."""
    return "\n".join([before, *(shell.block("run", name) for name in names)])


def test_first_backup_by_the_command_line(shell: Shell, tmp_path: Path) -> None:
    """Five lines: a key, a repository, a backup, a restore, and the proof."""
    done = shell.follow("first-backup-cli", instead={"file:///mnt/backup": f"file://{tmp_path}/disk"})
    assert done.returncode == 0, done.stderr
    _expect_equal(shell, done.stdout)

    # What lies there from the first time proves nothing about the second.
    script = _typed(shell, "first-backup-cli").replace("file:///mnt/backup", f"file://{tmp_path}/disk")
    again = shell.type(script)
    assert (again.returncode, "equal" in again.stdout, "[repository-exists]" in again.stderr) == (9, False, True), again


def test_first_backup_over_the_api(shell: Shell, shared_platform: Platform) -> None:
    """Five lines, once tenant and source are there; what came back is what was saved.

    A write that is refused says so and ends it, though a copy of the folder from before lies there.
    """
    shell.variables["WEDSYNC_HOME"] = str(shared_platform.home)
    folder, restored = shell.variables["FOLDER"], shell.variables["RESTORED"]
    shutil.copytree(folder, restored, symlinks=True)
    refused = shell.follow(
        "first-backup-prepare", "first-backup-api", instead={'"location": "local"': '"location": "nowhere"'}
    )
    assert (refused.returncode, "equal" in refused.stdout) == (7, False), refused
    assert "[unknown-location]" in refused.stderr
    assert "storageDestinations.local.location" in refused.stderr

    twice = shell.follow("first-backup-prepare")
    assert (twice.returncode, "[organisation-taken]" in twice.stderr) == (9, True), twice

    done = shell.follow("first-backup-api", "first-recovery-api", "first-validation-api")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.count("equal, every byte\n") == 2
    assert "whole, every byte on every tier\n" in done.stdout
    restored_by_then = "".join(done.stdout.rpartition("equal, every byte\n")[:2])
    _expect_equal(shell, restored_by_then, suffix="-by-api")
    _expect_equal(shell, restored_by_then, suffix="-target/photos")

    again = shell.follow("first-backup-api")
    assert (again.returncode, "equal" in again.stdout) == (1, False), again
    assert "[configuration-name-taken]" in again.stderr


def test_nothing_is_asked_while_no_platform_runs(shell: Shell, tmp_path: Path) -> None:
    """Whoever listens on the port that the gateway had is not the gateway, and gets no token."""
    layout = Layout.create(tmp_path / "home")
    prepare_keys_folder(layout.platform_keys)
    install_identity_provider(layout)
    shell.variables["WEDSYNC_HOME"] = str(layout.home)
    done = shell.type("set -e\nwedsync-backup call GET status")
    assert (done.returncode, done.stdout, "[stack-not-running]" in done.stderr) == (8, "", True), done


def test_comparison_finds_what_differs(shell: Shell, tmp_path: Path) -> None:
    """The last line is a proof: it fails where a byte is another."""
    shutil.copytree(shell.variables["FOLDER"], shell.variables["RESTORED"], symlinks=True)
    (tmp_path / "restored" / "contract.txt").write_text("I do not.\n")
    proof = shell.block("run", "first-backup-cli").splitlines()[-1]
    assert proof.replace("$RESTORED", "$RESTORED-by-api") == shell.block("run", "first-backup-api").splitlines()[-1]
    done = shell.type(proof)
    assert (done.returncode, "equal" in done.stdout) == (1, False)
