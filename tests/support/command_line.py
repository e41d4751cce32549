"""Every command of `wedsync-backup`, as its own parser knows them: a new one is in such tests by itself."""

import argparse
from collections.abc import Iterator

from cli.main import COMMANDS, _load, _parser

OF_A_PROFILE = {"key_file", "tiers"}
"""What the parser lets pass, since a variable or a profile may name it: `complete` asks for it."""

Leaf = tuple[tuple[str, ...], argparse.ArgumentParser]


def leaves() -> list[Leaf]:
    """The words that name each command, and the parser of its options."""
    found: list[Leaf] = []
    for name in COMMANDS:
        top = _parser(name, _load(name))
        found += [leaf for leaf in _below((), top) if leaf[0][0] == name]
    return found


def _below(words: tuple[str, ...], parser: argparse.ArgumentParser) -> Iterator[Leaf]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from _below((*words, name), sub)
            return
    yield words, parser


def needed_words(parser: argparse.ArgumentParser, values: dict[str, str]) -> list[str]:
    """What a command cannot do without. `values`: by the name of an option or an operand; else any that is taken."""
    words: list[str] = []
    asked = OF_A_PROFILE if any(action.dest == "profile" for action in parser._actions) else set()
    for group in parser._mutually_exclusive_groups:
        first = group._group_actions[0]
        if group.required or first.dest in asked:
            words += [first.option_strings[-1], values.get(first.dest, "1")]
    grouped = {id(action) for group in parser._mutually_exclusive_groups for action in group._group_actions}
    for action in parser._actions:
        is_needed = action.required or (action.dest in asked and id(action) not in grouped)
        if not is_needed and not (not action.option_strings and action.nargs in (None, "+")):
            continue
        choices = list(action.choices) if action.choices else []
        value = values.get(action.dest) or (str(choices[0]) if choices else "1")
        words += [action.option_strings[-1], value] if action.option_strings else [value]
    return words
