"""Which tests the measuring of coverage leaves out: it adds half and more to the processor time of what it looks at.

Python 3.11 traces everything that a process runs, the packages of others as well, and every process that is started
takes a sixth of a second to begin with. Whole platforms run the same lines again and again: the one that files share
(`tests.support.order`) is measured, and so are those of the stack's own tests. All tests run either way, and the floors
hold for what is measured: leaving out can only lower it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_TESTS = Path(__file__).resolve().parents[1]
UNMEASURED = (
    "docs/test_copies_that_stop.py",
    "docs/test_operations.py",
    "docs/test_upgrade.py",
    "faults/platform",
    "system/test_alerts.py",
    "system/test_recovery.py",
    "system/test_retention.py",
)
"""Files and folders, from the folder of the tests."""
_PASSED_ON = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
"""By these a process that is started measures itself."""


def is_measured(path: Path) -> bool:
    """Whether the tests of a file are measured."""
    return not any(_TESTS / name in (path, *path.parents) for name in UNMEASURED)


@contextmanager
def unmeasured() -> Iterator[None]:
    """Nothing in this block is measured, nor any process that it starts. As usual where nothing is anyway."""
    measuring = _measuring()
    if measuring is None:
        yield
        return
    kept = {name: os.environ.pop(name) for name in _PASSED_ON if name in os.environ}
    measuring.stop()
    try:
        yield
    finally:
        measuring.start()
        os.environ.update(kept)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test with all its fixtures, measured or not."""
    if is_measured(item.path):
        return (yield)
    with unmeasured():
        return (yield)


def _measuring() -> Any:
    """What measures this process; None where nothing does. It is not imported where nobody measures."""
    coverage = sys.modules.get("coverage")
    return None if coverage is None else coverage.Coverage.current()
