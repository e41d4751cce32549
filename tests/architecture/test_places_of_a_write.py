"""ARCHITECTURE.md tells where the lines of a write are: it is true of the one that it shows, and of every other."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.writes.declaration import Write, declared

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = {"<owner>": "executor", "<group>": "executions", "<subject>": "executions"}
_SPAN = re.compile(r"`([^`]+)`")


def _recipe() -> str:
    return (ROOT / "ARCHITECTURE.md").read_text().partition("\n## How to add a write\n")[2].partition("\n## ")[0]


def _rows() -> Iterator[tuple[str, str, str]]:
    for line in _recipe().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and len(cells) == 3 and "---" not in line:
            yield cells[0], cells[1], cells[2]


def _paths(text: str) -> list[str]:
    """What of a text's code is a path, as it is for the example."""
    for name, value in EXAMPLE.items():
        text = text.replace(name, value)
    return [span for span in _SPAN.findall(text) if re.fullmatch(r"[a-z_]+/[\w/.]*|[A-Z]+\.md", span)]


def _text_of(path: str) -> str:
    place = ROOT / path
    return "\n".join(each.read_text() for each in place.rglob("*.py")) if place.is_dir() else place.read_text()


def _source_of(cls: type[Any]) -> Path:
    return Path(inspect.getfile(cls)).relative_to(ROOT)


def test_every_place_of_the_recipe_is_there() -> None:
    """Files and folders that it names, with the example's owner and group."""
    named = _paths(_recipe())
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_what_the_recipe_shows_lies_where_it_says() -> None:
    """The last column is found in the files of its row."""
    seen = 0
    for place, more, shown in _rows():
        paths = _paths(shown) or _paths(place) or _paths(more)
        for name in [span for span in _SPAN.findall(shown) if "/" not in span[1:]] if paths else []:
            seen += 1
            assert any(name in _text_of(path) or (ROOT / path / name).is_file() for path in paths), (name, paths)
    assert seen > 12


REQUESTS = {
    Path("contracts/gateway_events.py"),
    Path("contracts/storage_requests.py"),
    Path("contracts/compliance_requests.py"),
}
OF_A_SUBJECT = {
    "clean-up-retention": Path("contracts/cleanup_events.py"),
    "optimize-storage": Path("contracts/optimization_events.py"),
    "repair-storage": Path("contracts/repair_events.py"),
    "erase-data-subject": Path("contracts/erasure_events.py"),
    "place-hold": Path("contracts/hold_events.py"),
    "release-hold": Path("contracts/hold_events.py"),
    "grant-approval": Path("contracts/approval_events.py"),
    "deny-approval": Path("contracts/approval_events.py"),
    **dict.fromkeys(
        (
            "execute-disaster-recovery-plan",
            "test-disaster-recovery-plan",
            "approve-disaster-recovery-step",
            "pause-disaster-recovery-execution",
            "resume-disaster-recovery-execution",
            "abort-disaster-recovery-execution",
        ),
        Path("contracts/dr_execution_events.py"),
    ),
    "validate-recovery-point": Path("contracts/validation_events.py"),
    "cancel-validation": Path("contracts/validation_events.py"),
}
"""Whose answers are of a subject that has a module of its own, since its owner has several."""


@pytest.mark.parametrize("name", declared())
def test_declared_write_has_its_lines_where_the_recipe_says(name: str) -> None:
    """Request, facts, codes, table of use cases, declaration, documents and a test of its own."""
    write: Write[Any] = declared()[name]
    owner = write.ACCEPTED.NAME.partition(".")[0]
    assert _source_of(write.REQUEST) in REQUESTS
    (answers,) = {_source_of(answer) for answer in (write.ACCEPTED, write.REFUSED)}
    assert answers in {Path(f"contracts/{owner}_events.py"), OF_A_SUBJECT.get(name)}
    assert {taker.partition("--")[0] for taker in write.REQUEST.TAKEN_BY} == {owner}
    together = [(ROOT / f"services/{owner}/{each}.py") for each in ("bootstrap", "cleaning", "validations")]
    parts = "".join(each.read_text() for each in together if each.exists())
    assert re.search(rf"\b{write.REQUEST.__name__}: ", parts)
    assert re.fullmatch(r"gateway/groups/\w+/writes\.py", str(_source_of(type(write))))

    called = write.PATH.replace(f"{{{write.OF.about}:str}}", "<id>")
    assert re.search(rf"\$API{re.escape(called)}(?=\s)", (ROOT / "docs/api.md").read_text())
    tests = _text_of(f"tests/component/{owner}") + _text_of("tests/support")
    assert re.search(rf"\b{write.REQUEST.__name__}\b", tests)
