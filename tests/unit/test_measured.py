"""What the measuring of coverage leaves out (`tests.support.measured`)."""

import os
import subprocess
import sys
from pathlib import Path

from coverage import CoverageData

from tests.support.measured import UNMEASURED, is_measured
from tests.support.order import _OF_ONE_PLATFORM

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
SUBJECT = """
def left_out():
    return 3

def measured():
    return 6
"""
SCRIPT = """
import os, subprocess, sys, threading
from tests.support.measured import unmeasured
import subject

in_a_process = lambda name: subprocess.run([sys.executable, "-c", f"import subject; subject.{name}()"], check=True)
with unmeasured():
    subject.left_out()
    in_a_process("left_out")
    thread = threading.Thread(target=subject.left_out)
    thread.start()
    thread.join()
try:
    with unmeasured():
        subject.left_out()
        raise KeyError
except KeyError:
    pass
"""


def _lines(folder: Path, after: str) -> set[int]:
    (folder / "subject.py").write_text(SUBJECT)
    (folder / "script.py").write_text(SCRIPT + after)
    (folder / "rc").write_text("[run]\nsource_pkgs = subject\nbranch = true\nparallel = true\npatch = subprocess\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    words = [sys.executable, "-m", "coverage", "run", "--rcfile", str(folder / "rc"), str(folder / "script.py")]
    places = {"PYTHONPATH": f"{folder}:{ROOT}", "COVERAGE_FILE": str(folder / ".coverage")}
    subprocess.run(words, env={**environment, **places}, cwd=folder, check=True)
    found: set[int] = set()
    for path in folder.glob(".coverage.*"):
        data = CoverageData(str(path))
        data.read()
        found |= {line for name in data.measured_files() for line in data.lines(name) or ()}
    return found


def test_what_is_left_out_is_not_measured_and_what_follows_is(tmp_path: Path) -> None:
    """In this process, in its threads and in those that it starts; also after an error."""
    assert not {3, 6} & _lines(tmp_path, "")


def test_what_follows_is_measured_again(tmp_path: Path) -> None:
    """Here, and in a process that is started."""
    assert {3, 6} & _lines(tmp_path, "subject.measured()") == {6}
    assert {3, 6} & _lines(tmp_path, "in_a_process('measured')") == {6}


def test_what_is_named_is_there_and_the_shared_platform_is_measured() -> None:
    """A file of another name would be measured in silence."""
    assert all((TESTS / name).exists() for name in UNMEASURED)
    assert all(is_measured(ROOT / name) for name in _OF_ONE_PLATFORM)
    assert is_measured(TESTS / "faults/repository/test_crash.py")
    assert not is_measured(TESTS / "faults/platform/test_lost_stream.py")
    assert not is_measured(TESTS / "system/test_alerts.py")
    assert is_measured(TESTS / "unit/test_measured.py")
