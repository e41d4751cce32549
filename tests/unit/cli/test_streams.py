"""A command whose streams nobody reads, or that are not there, does its work and says how it went by its exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[3]

PROBE = """
import os, sys, types
import cli.main as m
def run(arguments):
    print("working", file=sys.stderr)
    print("said", flush=True)
    print("said again", flush=True)
    print("working on", file=sys.stderr)
    number = os.open({done!r}, os.O_CREAT | os.O_WRONLY)
    os.write(number, b"done with %d" % number)
    return {code}
probe = types.ModuleType("cli.probe")
probe.configure = lambda parser: None
probe.run = run
sys.modules["cli.probe"] = probe
m.COMMANDS["probe"] = m.Command("cli.probe", "")
sys.exit(m.main(["probe"]))
"""


def outcome(tmp_path: Path, redirection: str, code: int) -> tuple[int, str, str]:
    """Exit code, what the command left on disk, and what was read of its standard error."""
    done = tmp_path / "done"
    script = PROBE.format(done=str(done), code=code)
    shell = f'"$0" -c "$1" {redirection}'
    ended = subprocess.run(
        ["bash", "-c", shell, sys.executable, script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return ended.returncode, done.read_text(), ended.stderr


@pytest.mark.parametrize("code", [ExitCode.OK, ExitCode.INCOMPLETE, ExitCode.DAMAGED])
@pytest.mark.parametrize("descriptors", [">&-", "2>&-", "0>&-", ">&- 2>&-", "0>&- >&- 2>&-"])
def test_closed_descriptors_change_nothing(tmp_path: Path, descriptors: str, code: ExitCode) -> None:
    """The work is done, its exit code holds, and no file that is opened gets a standard stream's number.

    Only what should have been told, and was told nobody, is no success.
    """
    returned, done, err = outcome(tmp_path, descriptors, code)
    is_untold = descriptors.replace("2>&-", "").endswith(">&- ") or ">&-" in descriptors.split()
    assert returned == (ExitCode.FAILED if code is ExitCode.OK and is_untold else code)
    assert not is_untold or "2>&-" in descriptors or "could not be written" in err
    assert done.startswith("done with ")
    assert int(done.removeprefix("done with ")) > 2


@pytest.mark.parametrize("code", [ExitCode.OK, ExitCode.INCOMPLETE, ExitCode.DAMAGED])
@pytest.mark.parametrize("number", [1, 2])
def test_reader_that_has_left_changes_nothing(tmp_path: Path, number: int, code: ExitCode) -> None:
    """Neither a result nor a warning that nobody reads keeps work from being done, or an exit code from being told."""
    reading, writing = os.pipe()
    os.close(reading)
    done = tmp_path / "done"
    script = PROBE.format(done=str(done), code=int(code))
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdout" if number == 1 else "stderr": writing}
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60, **streams)  # type: ignore[call-overload]
    os.close(writing)
    assert ended.returncode == code
    assert done.read_bytes().startswith(b"done with")


@pytest.mark.parametrize(("code", "told"), [(ExitCode.OK, ExitCode.FAILED), (ExitCode.DAMAGED, ExitCode.DAMAGED)])
def test_result_that_a_full_disk_refuses_is_an_error(tmp_path: Path, code: ExitCode, told: ExitCode) -> None:
    """Whoever redirected the result looks for it there; a worse exit code is not hidden by it."""
    returned, done, err = outcome(tmp_path, "> /dev/full", code)
    assert returned == told
    assert done
    assert "the result could not be written: No space left on device" in err
