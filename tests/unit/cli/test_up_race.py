"""Two starts of one home at the same moment."""

import os
import signal
import sys
from pathlib import Path

import pytest

from cli import main
from cli.exit_codes import ExitCode

_WINNER = """#!{python}
import fcntl, os, sys, time
home = sys.argv[sys.argv.index("--home") + 1]
lock = os.open({lock!r}, os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
other = os.fork()
if other == 0:
    time.sleep(600)
open({pid!r}, "w").write(str(other))
sys.exit(9)
"""


def test_slower_of_two_starts_is_told_that_the_platform_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not that it has ended: what stands in the log is the winner's."""
    from deploy.stack.layout import Layout

    home, pid, program = tmp_path / "home", tmp_path / "pid", tmp_path / "program"
    layout = Layout.create(home, begin_anew=[])
    program.write_text(_WINNER.format(python=sys.executable, lock=str(layout.lock_file), pid=str(pid)))
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    try:
        ended = main.main(["up", "--detach", "--home", str(home)])
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)
    said = capsys.readouterr().err
    assert ended == ExitCode.REFUSED
    assert "another start was faster" in said
    assert "has ended" not in said
