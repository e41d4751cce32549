"""Commands that errors name are commands that can be typed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import main as cli_main

ROOT = Path(__file__).resolve().parents[3]
SAYING = ("chassis", "cli", "contracts", "deploy", "gateway", "services", "vault")
"""Who tells operators what to do."""

_WORD = r"(?:(?:--)?[a-z][a-z-]*(?:[./][a-z-]+)*|[A-Z]{2,})"
_COMMAND = re.compile(rf"wedsync-backup ({_WORD}(?: {_WORD})*)(?=[.,:;)]|$)")
_VALUE = re.compile(r"[A-Z]{2,}")
_OF = {"refill": "executor", "up": "data/postgres"}
"""What is typed for a value where it is not any word."""


def _texts(tree: ast.Module) -> Iterator[str]:
    """The texts of a module but for its docstrings; what is put into one stands as VALUE."""
    docstrings = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [each.value if isinstance(each, ast.Constant) else "VALUE" for each in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def _named() -> list[str]:
    sources = (path.read_text() for folder in SAYING for path in (ROOT / folder).rglob("*.py"))
    # Every process of the suite asks when it collects: modules that name no command need no look at their texts.
    texts = [text for source in sources if "wedsync-backup" in source for text in _texts(ast.parse(source))]
    found = {command for text in texts for command in _COMMAND.findall(text)}
    return sorted(command for command in found if not _VALUE.match(command))


@pytest.mark.parametrize("command", _named())
def test_command_of_a_hint_is_understood(command: str) -> None:
    """Typed with values in place of the words in capitals, it is no usage error."""
    value = _OF.get(command.partition(" ")[0], "1")
    words = [value if _VALUE.fullmatch(word) else word for word in command.split()]
    assert cli_main._parser(words[0], cli_main._load(words[0])).parse_args(words).command == words[0]
