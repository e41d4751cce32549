"""The README's first backup of one's own folder works as it is written, over the command line and over the API."""

import json
import shutil
from pathlib import Path
from typing import Any

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
    """Five lines, once tenant, source and token are there; what came back is what was saved.

    A write that is refused says so and ends it, though a copy of the folder from before lies there.
    """
    shell.variables["WEDSYNC_HOME"] = str(shared_platform.home)
    folder, restored = shell.variables["FOLDER"], shell.variables["RESTORED"]
    shutil.copytree(folder, restored, symlinks=True)
    typed = _typed(shell, "first-backup-prepare", "first-backup-api")
    refused = shell.type(typed.replace('"location": "local"', '"location": "nowhere"'))
    assert (refused.returncode, "equal" in refused.stdout) == (1, False), refused
    assert '"code":"unknown-location"' in refused.stderr

    twice = shell.type(typed)
    assert (twice.returncode, "equal" in twice.stdout) == (1, False), twice
    assert "[organisation-taken]" in twice.stderr
    assert "no address" in twice.stderr

    typed = "unset TOKEN URL\n" + typed[typed.index("OURS=") :]
    done = shell.type(typed)
    assert done.returncode == 0, (done.stdout, done.stderr)
    _expect_equal(shell, done.stdout, suffix="-by-api")

    again = shell.type(typed)
    assert (again.returncode, "equal" in again.stdout) == (1, False), again
    assert '"code":"configuration-name-taken"' in again.stderr


def test_token_goes_nowhere_while_no_platform_runs(shell: Shell, tmp_path: Path) -> None:
    """Whoever listens on the port that an address without one means is not the gateway."""
    layout = Layout.create(tmp_path / "home")
    prepare_keys_folder(layout.platform_keys)
    install_identity_provider(layout)
    shell.variables["WEDSYNC_HOME"] = str(layout.home)
    curl = tmp_path / "bin" / "curl"
    curl.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    curl.chmod(0o755)
    done = shell.type("URL=http://127.0.0.1:80\n" + _typed(shell, "first-backup-prepare", "first-backup-api"))
    assert (done.returncode, "equal" in done.stdout, (tmp_path / "asked").exists()) == (1, False, False), done
    assert "no gateway runs: wedsync-backup up --detach" in done.stderr


@pytest.mark.parametrize(
    "ended",
    [
        {"state": "failed", "error": {"code": "tier-full"}},
        {"state": "completed", "degraded": True, "tiers": {"offsite": {"state": "failed", "code": "tier-full"}}},
        {"state": "initializing", "waiting": {"code": "tier-full"}},
    ],
    ids=["failed", "degraded", "waiting"],
)
def test_run_that_does_not_complete_is_no_proof(shell: Shell, tmp_path: Path, ended: dict[str, Any]) -> None:
    """A request that pends is followed to its answer, and a run that has failed ends the recipe, with its own words.

    So does one that a tier has not taken, and one that does not begin.
    """
    answers = [
        {"id": "c1", "name": "Photos"},
        {"id": "r1", "state": "pending", "resource": "/api/backup/executions/e1"},
        {"id": "r1", "state": "accepted", "resource": "/api/backup/executions/e2"},
        {"id": "e2", **ended},
    ]
    asked = tmp_path / "asked"
    for number, answer in enumerate(answers):
        (tmp_path / f"answer-{number}").write_text(json.dumps(answer))
    # In the place of curl, which is the one thing here that would reach a platform.
    curl = tmp_path / "bin" / "curl"
    curl.write_text(
        f"""#!/bin/bash
touch {asked}; number=$(wc -l < {asked})
while [ "$1" != -o ]; do shift; done
cp {tmp_path}/answer-$number "$2"
while [ "${{1#/api}}" = "$1" ]; do shift; done
echo "$1" >> {asked}
"""
    )
    curl.chmod(0o755)
    words = shell.block("run", "first-backup-prepare")
    shutil.copytree(shell.variables["FOLDER"], shell.variables["RESTORED"] + "-by-api", symlinks=True)
    recipe = words[words.index("ANSWER=") :] + shell.block("run", "first-backup-api")
    done = shell.type("TOKEN=secret URL= OURS=nowhere PATIENCE=1\n" + recipe)
    assert (done.returncode, "equal" in done.stdout, "tier-full" in done.stderr) == (1, False, True), done
    paths = ["configurations", "execute", "requests/r1", "executions/e2"]
    assert asked.read_text().splitlines() == [f"/api/backup/{path}" for path in paths]


def test_token_is_on_no_command_line(shell: Shell, tmp_path: Path) -> None:
    """Everybody on the machine sees the command lines of all."""
    curl = tmp_path / "bin" / "curl"
    curl.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/line; cat > {tmp_path}/input\n')
    curl.chmod(0o755)
    words = shell.block("run", "first-backup-prepare")
    shell.type("TOKEN=secret URL=\n" + words[words.index("ANSWER=") :] + "api status")
    assert "/api/backup/status" in (tmp_path / "line").read_text()
    assert "secret" not in (tmp_path / "line").read_text()
    assert (tmp_path / "input").read_text() == "Authorization: Bearer secret"


def test_comparison_finds_what_differs(shell: Shell, tmp_path: Path) -> None:
    """The last line is a proof: it fails where a byte is another."""
    shutil.copytree(shell.variables["FOLDER"], shell.variables["RESTORED"], symlinks=True)
    (tmp_path / "restored" / "contract.txt").write_text("I do not.\n")
    proof = shell.block("run", "first-backup-cli").splitlines()[-1]
    assert proof.replace("$RESTORED", "$RESTORED-by-api") == shell.block("run", "first-backup-api").splitlines()[-1]
    done = shell.type(proof)
    assert (done.returncode, "equal" in done.stdout) == (1, False)
