"""Rules of the house that no linter knows."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.architecture.packages import PACKAGES, ROOT

LINES_MAX = 400
FROZEN_EXPRESSIONS = {"contracts/configuration.py"}  # in the schemas of events, and refused elsewhere


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=30
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def _modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_module_is_not_longer_than_a_person_reads_at_once() -> None:
    """A module of more than 400 lines wants splitting."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in _modules()
        if (lines := len(path.read_text().splitlines())) > LINES_MAX
    }
    assert not long


def test_every_module_states_its_promise() -> None:
    """The first thing in a module is what it promises."""
    silent = [
        str(path.relative_to(ROOT))
        for path in _modules()
        if path.read_text().strip() and not _begins_with_docstring(path)
    ]
    assert not silent


def _begins_with_docstring(path: Path) -> bool:
    return path.read_text().lstrip().startswith('"""')


def test_expression_that_ends_a_text_ends_it_before_no_line_feed() -> None:
    r"""`$` is also before a line feed at the end; `\Z` and `fullmatch` are the end (or a length beside it)."""
    guilty = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and str(path.relative_to(ROOT)) not in FROZEN_EXPRESSIONS
        for text in _expressions(node)
        if re.search(r"(?<!\\)\$(?:\)*)$", text) is not None
    ]
    assert not guilty


def _expressions(call: ast.Call) -> list[str]:
    """The regular expressions that a call is given, but for those that are meant for lines."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    is_by_line = any(isinstance(each, ast.Attribute) and each.attr == "MULTILINE" for each in call.args)
    keywords = {each.arg: each.value for each in call.keywords}
    given = [keywords["pattern"]] if "pattern" in keywords and "max_length" not in keywords else []
    if function in {"compile", "search", "match", "sub", "findall", "finditer", "split"} and not is_by_line:
        given += call.args[:1]
    return [
        each.value if isinstance(each.value, str) else each.value.decode("latin-1")
        for each in given
        if isinstance(each, ast.Constant) and isinstance(each.value, str | bytes)
    ]


def test_waiting_with_an_end_loses_no_cancellation() -> None:
    """Python 3.11's `wait_for` loses one that comes together with its result: `asyncio.timeout` does not."""
    guilty = [path for path in _modules() if "asyncio.wait_for(" in path.read_text()]
    assert not [str(path.relative_to(ROOT)) for path in guilty]


def test_every_decision_says_what_keeps_it_true() -> None:
    """An ADR without a check is an opinion."""
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert decisions
    assert not [path.name for path in decisions if "**Checked by" not in path.read_text()]
    numbers = [path.name[:4] for path in decisions]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize(
    ("lock", "least"), [("requirements.lock", 40), ("requirements-dev.lock", 80), ("requirements-build.lock", 1)]
)
def test_lock_pins_every_package_with_hashes_and_names_no_registry(lock: str, least: int) -> None:
    """What is installed is what was reviewed, from whichever registry the machine uses."""
    text = (ROOT / lock).read_text()
    pins = re.findall(r"^([a-z0-9._-]+)==\S+", text, flags=re.MULTILINE)
    assert len(pins) >= least
    assert "://" not in text
    for block in re.split(r"\n(?=[a-z0-9])", text.strip()):
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_repository_names_no_registry_and_no_path_of_a_machine() -> None:
    """The project speaks of itself alone."""
    # Spelled apart, so that this file does not name what it looks for.
    hosts = "|".join(("python" + "hosted", "npm" + r"js\.org", "py" + r"pi\.org", "deb" + r"\.debian"))
    paths = "|".join(("/wo" + "rk/", "/ro" + r"ot/\.", r"\.py" + "env"))
    forbidden = re.compile(rf"({hosts}|{paths})")
    guilty = []
    for path in _tracked():
        if path.suffix in {".png", ".svg", ".pack", ".bin"}:
            continue
        text = path.read_text(errors="replace")
        if forbidden.search(text):
            guilty.append(str(path.relative_to(ROOT)))
    assert not guilty


def test_npm_locks_record_no_download_addresses() -> None:
    """A lock file pins with hashes; where to download from is the machine's business."""
    locks = [path for path in _tracked() if path.name == "package-lock.json"]
    assert not [str(path) for path in locks if '"resolved"' in path.read_text()]


def _in_backticks(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def test_readme_of_the_repository_names_its_modules_and_no_others() -> None:
    """Its table is where a reader begins: each folder has a row, and each module is in its folder's."""
    folder = ROOT / "repository"
    table = (folder / "README.md").read_text().partition("| folder | modules |")[2].partition("##")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    named = {name: _in_backticks(modules) for first, modules in rows for name in _in_backticks(first)}
    assert set(named) == _names_in(folder)
    for name, modules in named.items():
        if name.endswith("/"):
            assert modules == _names_in(folder / name), name


def _names_in(folder: Path) -> set[str]:
    """Modules by their names, packages with a slash behind it."""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    return modules | {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
