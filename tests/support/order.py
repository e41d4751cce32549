"""In which order the tests run, and which of them in one process.

The longest begin, so that at the end no process waits for a long one of another's. Files that share the one platform
run in one process: each platform costs a start, and a twelfth of a core for as long as the run lasts.
"""

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

_TESTS = Path(__file__).resolve().parents[1]
_LONG = ("system", "faults", "docs")
_OF_ONE_PLATFORM = {
    "tests/docs/test_adding_a_tenant.py",
    "tests/docs/test_disaster_recovery.py",
    "tests/docs/test_readme_first_backup.py",
    "tests/docs/test_tokens_are_on_no_command_line.py",
    "tests/system/test_demo.py",
    "tests/system/test_stack.py",
}


class FilesInOrder(LoadFileScheduling):
    """Files in the order of the collection, not by how many tests they have: the longest have one or two."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "the platform" if file in _OF_ONE_PLATFORM else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long folders come first; in them, and in the others, the order is as it was."""
    items.sort(key=lambda item: item.path.relative_to(_TESTS).parts[0] not in _LONG)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FilesInOrder | None:
    """For `--dist loadfile`; other ways of distribution are xdist's own."""
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return FilesInOrder(config, log)
