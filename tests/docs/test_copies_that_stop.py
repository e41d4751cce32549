"""The blocks of section 13 make no copy of a record that something may still write to."""

import os
from pathlib import Path

import pytest

from tests.support.guide import Shell


@pytest.mark.parametrize(
    ("ended", "process", "is_copied"),
    [(0, None, True), (4, None, True), (1, None, False), (8, None, False), (0, os.getpid(), False)],
    ids=["stopped", "stopped-not-in-order", "not-stopped", "refused", "postgres-lives"],
)
def test_record_is_copied_only_while_it_stands(
    tmp_path: Path, ended: int, process: int | None, is_copied: bool
) -> None:
    """After `down` with 0 or 4, and only where the process that Postgres has left its number of is gone."""
    shell = Shell("docs/operations.md", tmp_path / "bin", tmp_path, {"WEDSYNC_HOME": str(tmp_path / "a home")})
    record = tmp_path / "a home/data/postgres"
    record.mkdir(parents=True)
    if process is not None:
        (record / "postmaster.pid").write_text(f"{process}\n{record}\n")
    program = tmp_path / "bin/wedsync-backup"
    program.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/typed\n[ "$1" != down ] || exit {ended}\n')
    program.chmod(0o755)
    script = shell.block("run", "copy-record").replace("/srv/copies-of-the-record", str(tmp_path / "copies"))
    done = shell.type(script)
    assert ((tmp_path / "copies").exists(), done.returncode == 0) == (is_copied, is_copied), done.stderr
    assert (tmp_path / "typed").read_text().split() == (["down", "up"] if is_copied else ["down"])
