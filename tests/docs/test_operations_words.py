"""The guide for operators names commands, options, codes, messages and settings that there are."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from cli.main import COMMANDS, _load, _parser
from contracts import errors
from repository import errors as repository_errors
from vault import translation

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/operations.md").read_text()
PACKAGES = ("chassis", "cli", "contracts", "deploy", "gateway", "repository", "services", "sources", "vault")
FILES = [
    path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.*")) if path.suffix in {".py", ".sh"}
]
SOURCE = "\n".join(path.read_text() for path in FILES)
_SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_CODE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")


def _commands() -> list[str]:
    """Every command line of the guide, in its text and in its blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    text = re.sub(r"^```.*?^```", "", GUIDE, flags=re.MULTILINE | re.DOTALL)
    spans = [" ".join(span.split()) for span in _SPAN.findall(text)]
    found = [re.search(r"wedsync-backup \w.*?(?= && ?| \|\| |$)", text) for text in (*lines, *spans)]
    return sorted({each[0].rstrip(") ") for each in found if each is not None and "--json |" not in each[0]})


@pytest.mark.parametrize("line", _commands())
def test_command_of_the_guide_is_understood(line: str) -> None:
    """As it is written; words in capitals stand for what the operator puts there."""
    words = shlex.split(line.replace("SERVICE", "executor"))[1:]
    if words[0] not in COMMANDS:
        pytest.fail(f"there is no command {words[0]}")
    try:
        _parser(words[0], _load(words[0])).parse_args(words)
    except SystemExit:
        # Named, not to be typed: `wedsync-backup repo catch-up`.
        assert _has_subcommand(words), line


def _has_subcommand(words: list[str]) -> bool:
    parser = _parser(words[0], _load(words[0]))
    for word in words:
        actions = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        if word.startswith("-") or not actions or word not in actions[0].choices:
            return False
        parser = actions[0].choices[word]
    return True


def _rows(first: str, last: str) -> list[str]:
    """The first cells of the tables between two headings."""
    part = GUIDE[GUIDE.index(first) : GUIDE.index(last)]
    cells = [line.split(" | ")[0].removeprefix("| ") for line in part.splitlines() if line.startswith("| ")]
    return [cell for cell in cells if "`" in cell]


def _phrases() -> list[str]:
    """What the tables of the sections 1, 3 to 5 and 11 quote, and section 12, in pieces as the program writes them."""
    cells = [
        row for first, last in (("1", "2"), ("3", "6"), ("11", "12")) for row in _rows(f"## {first}. ", f"## {last}. ")
    ]
    upgrade = GUIDE[GUIDE.index("Back to the older version:") : GUIDE.index("## 13. ")]
    spans = [span for cell in (*cells, upgrade) for span in _SPAN.findall(cell)]
    pieces = [piece.strip(" .:,") for span in spans for piece in re.split(r"…|\[|\]| N | M ", span)]
    return sorted({piece for piece in pieces if len(piece) > 3})


@pytest.mark.parametrize("phrase", _phrases())
def test_message_of_the_guide_is_one_that_the_platform_writes(phrase: str) -> None:
    """What somebody searches the guide for at night is what stands on the screen."""
    if phrase in OF_OTHER_PROGRAMS:
        return
    assert _is_written(WITH_VALUES.get(phrase, phrase)), phrase


_WRITTEN = re.sub(r"\"\s*\n\s*f?\"", "", SOURCE)


def _is_written(phrase: str) -> bool:
    """Whether the program has these words; up to half of them may be values there."""
    if phrase in _WRITTEN:
        return True
    words = phrase.split()
    pattern = r"\s+".join(rf"(?:{re.escape(word)}|[^\s\"{{]*\{{[^}}]*\}}[^\s\"{{]*)" for word in words)
    return any(found[0].count("{") <= len(words) / 2 for found in re.finditer(pattern, _WRITTEN))


OF_OTHER_PROGRAMS = frozenset(
    {
        "No space left on device",
        'lock file "postmaster.pid" already exists',
        "no space left",
        "could not locate a valid checkpoint record",
        "write error",
    }
)
WITH_VALUES = {
    "interrupted; .venv is half made and is not used": "{folder.name} is half made and is not used",
    "Python 3.11 or later is needed": "or later is needed",
    "cannot be used: Permission denied": "cannot be used: {error.strerror or error}",
    "cannot be used: it does not answer": "cannot be used: {error.strerror}",
    "completionDetails.code": "class CompletionDetails",
    "gateway ended with exit code 78": "ended with {_exit_in_words(code)}",
    "pip ended with": "{name} ended with",
    "has keys that cannot be read": "that cannot be read: {named(found)}",
    "has lists that cannot be read": "that cannot be read: {named(found)}",
    "the account nobody can run Postgres's programs in none of these places": "{who} can run Postgres's programs in",
}
"""What the guide shows with a value in it, as the program has it."""


def test_codes_of_the_guide_are_in_the_catalogue() -> None:
    """Of the tables whose first column is a code."""
    of_repository = "".join(path.read_text() for path in Path(repository_errors.__file__).parent.glob("*.py"))
    codes = set(errors.catalogue()) | set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', of_repository))
    named = {span for cell in _rows("## 4. ", "## 6. ") for span in _SPAN.findall(cell) if _CODE.fullmatch(span)}
    assert named
    assert named <= codes


def test_settings_of_the_guide_are_settings() -> None:
    """Each variable is in docs/settings.md, or read by the stack or the command line itself."""
    settings = (ROOT / "docs/settings.md").read_text()
    names = set(re.findall(r"\bWEDSYNC_[A-Z_]+\b", GUIDE))
    assert {name for name in names if f"`{name}`" not in settings and not _is_read(name)} == set()


def _is_read(name: str) -> bool:
    """By the stack, the command line, or `deploy.elsewhere`."""
    return f'"{name}"' in SOURCE or f"    {name.removeprefix('WEDSYNC_').lower()}: " in SOURCE


def test_files_that_the_guide_names_are_there() -> None:
    """Of this project; those of a home are made by it."""
    named = set(re.findall(r"`((?:docs|deploy|chassis)/[\w./-]+)`", GUIDE))
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_code_of_a_tier_has_a_row() -> None:
    """Whatever a run says of its tiers at night is in the table of section 4."""
    rows = {span for cell in _rows("## 4. ", "## 5. ") for span in _SPAN.findall(cell)}
    told = {code.code for code in translation._BY_CODE.values()} | {errors.REQUIRED_TIER_FAILED.code}
    assert told - rows - {errors.KEYS_UNREACHABLE.code} == set()
