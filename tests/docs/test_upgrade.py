"""The block of section 12 puts the new version in the place of one that has stopped, and starts nothing half made."""

from pathlib import Path

import pytest

from tests.support.guide import Shell

WORDS = ["down", "git fetch --tags", "git checkout --detach v9", "make runtime", "up --detach"]


@pytest.mark.parametrize(
    ("fails", "typed"),
    [(None, 5), ("down 4", 5), ("down 1", 1), ("down 7", 1), ("fetch 1", 2), ("checkout 1", 3), ("runtime 2", 4)],
)
def test_upgrade_stops_at_the_first_command_that_fails(tmp_path: Path, fails: str | None, typed: int) -> None:
    """A platform that has not stopped keeps its version; one whose parts had to be killed has stopped."""
    shell = Shell("docs/operations.md", tmp_path / "bin", tmp_path, {"VERSION": "v9"})
    failing, code = (fails or "none 0").split()
    for path, name in (("bin/wedsync-backup", ""), ("bin/git", "git "), ("bin/make", "make ")):
        _program(tmp_path / path, f'echo "{name}$*" >> {tmp_path}/typed; case "$1" in {failing}) exit {code};; esac')
    _program(tmp_path / ".venv/bin/wedsync-backup", f'echo "$*" >> {tmp_path}/typed')
    done = shell.type(f"cd {tmp_path}\n" + shell.block("run", "upgrade"))
    assert (tmp_path / "typed").read_text().splitlines() == WORDS[:typed]
    assert (done.returncode == 0) is (typed == len(WORDS)), done.stderr


def test_upgrade_to_nothing_stops_nothing(tmp_path: Path) -> None:
    """Who has not said which version is told so while the platform still runs."""
    shell = Shell("docs/operations.md", tmp_path / "bin", tmp_path, {"VERSION": ""})
    _program(tmp_path / "bin/wedsync-backup", f"touch {tmp_path}/stopped")
    done = shell.type(shell.block("run", "upgrade"))
    assert (done.returncode == 0, (tmp_path / "stopped").exists()) == (False, False)
    assert "the tag of the new version" in done.stderr


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
