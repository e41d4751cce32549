"""What an option's value may be. For `type=` of argparse: what is refused here is a usage error.

An empty value is what is left of a variable that was not set: it is never taken for an option that was left out.
"""

import argparse
import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote

HEADS_UNKNOWN: Final = "heads_unknown"
"""Set among the options where what was seen of the tiers before could not be read: the command is no plain success."""
TIER_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""What people may call a tier, before the `=` of its address."""


def given(text: str) -> str:
    """Any text but none."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return text


def home_folder() -> str:
    """The user's home: `HOME`, else what the system's list of users says; empty where neither does."""
    if home := os.environ.get("HOME", ""):
        return home
    import pwd  # few need it

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def tier_address(text: str) -> str:
    """`[NAME=]URL` of a tier; a folder may be named by its whole path, whatever characters that has."""
    name, parted, path = text.rpartition("=") if not text.startswith("/") else ("", "", text)
    if not path.startswith("/") or (parted and not re.fullmatch(TIER_NAME, name)):
        return given(text)
    return f"{name}{parted}file://{quote(os.fsencode(path))}"


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def credentials_option(text: str) -> tuple[str, str]:
    """The tier's name (empty for all of them), and where the credentials are. What is wrong is never shown."""
    if text == "env" or text.startswith(("env:", "file:", "profile:")):
        return "", text
    name, equals, where = text.partition("=")
    if not equals or not name or not where:
        raise argparse.ArgumentTypeError("is [TIER=]WHERE, with env, env:PREFIX, file:PATH or profile:NAME for WHERE")
    return name, where


def organisation(text: str) -> str:
    """An organisation's id, by the gateway's own rule."""
    from contracts.identifiers import ORGANISATION, ORGANISATION_RULE

    if not ORGANISATION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an organisation's id: one {ORGANISATION_RULE}")
    return text


def subject(text: str) -> str:
    """A person's id, by the gateway's own rule."""
    from contracts.identifiers import SUBJECT, SUBJECT_RULE

    if not SUBJECT.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a subject: one {SUBJECT_RULE}")
    return text


def seconds(text: str) -> float:
    """A time to wait: 0 or more, and an end to it."""
    number = float(text)
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return number


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that asks whether the most similar of the names that there are is meant; empty where none is near."""
    import difflib

    found = difflib.get_close_matches(name, list(known), n=1)
    return f"Is {found[0]} meant? " if found else ""


class UsageInvalid(Exception):
    """Options that do not go together, where the parser cannot see it."""

    code = "usage-invalid"
    retry = "never"

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Parser(argparse.ArgumentParser):
    """Every command's, and its sub-commands': an option with one value is given once.

    `words`: what the command line has behind the command's name. None: every sub-command is of use, not that one alone.
    """

    words: Sequence[str] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name in (None, "store"):
            self.register("action", name, _Once)
        self._is_mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Of a command without sub-commands options and arguments may stand in any order: `ls latest --json PATH`."""
        if self._subparsers is not None or self._is_mixing or "--" in (args or ()):
            return super().parse_known_args(args, namespace)
        self._is_mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_mixing = False


class _Once(argparse.Action):
    """An option that is given once: of two values, nobody knows which was meant."""

    _given_to: argparse.Namespace | None = None

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Keep the value. A second one is an error of the command line."""
        if option_string is not None and self._given_to is namespace:
            parser.error(f"argument {option_string}: it is given twice")
        self._given_to = namespace
        setattr(namespace, self.dest, values)
