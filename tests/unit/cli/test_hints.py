"""Commands that errors name are commands that can be typed."""

import re

import pytest

from cli import main as cli_main
from contracts.errors import catalogue

_COMMAND = re.compile(r"wedsync-backup ((?:(?:[a-z-]+|[A-Z]{3,})(?: |(?=[.,:;])))+)")
_VALUES = {"SERVICE": "executor", "NUMBER": "1", "LOCATION": "offsite"}
_NAMED = sorted({found for entry in catalogue().values() for found in _COMMAND.findall(entry.hint)})


@pytest.mark.parametrize("command", _NAMED)
def test_command_of_a_hint_is_understood(command: str) -> None:
    """Typed with values in place of the words in capitals, it is no usage error."""
    words = [_VALUES.get(word, word) for word in command.split()]
    assert cli_main._parser(words[0], cli_main._load(words[0])).parse_args(words).command == words[0]
