"""Of two values of one option nobody knows which was meant: neither is taken in silence."""

import argparse

import pytest

from cli.exit_codes import ExitCode
from cli.main import main
from tests.support.command_line import leaves

_VALUES = {"--at": "latest", "--to-time": "2026-05-01T12:00:00Z", "--to-lsn": "0/3000148"}


def _single_valued() -> list[tuple[tuple[str, ...], str, str]]:
    return [
        (words, name, str(next(iter(action.choices))) if action.choices else _VALUES.get(name, "1"))
        for words, parser in leaves()
        for action in parser._actions
        # What counts, switches or collects takes as many as it is given.
        if action.option_strings
        and (name := action.option_strings[-1])
        and action.nargs != 0
        and not isinstance(action, argparse._AppendAction | argparse._HelpAction)
    ]


def test_options_are_found() -> None:
    """The test below would say nothing of an empty list."""
    found = {(" ".join(words), option) for words, option, _ in _single_valued()}
    assert {("repo restore", "--target"), ("down", "--timeout"), ("location add", "--url")} <= found


@pytest.mark.parametrize(
    ("words", "option", "value"), _single_valued(), ids=lambda each: each if isinstance(each, str) else " ".join(each)
)
def test_option_that_is_given_twice_is_a_usage_error(
    words: tuple[str, ...], option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command, every option with one value; a value that is also a default is no exception."""
    with pytest.raises(SystemExit) as refusal:
        main([*words, option, value, option, value])
    assert refusal.value.code == ExitCode.USAGE
    assert f"argument {option}: it is given twice" in capsys.readouterr().err
