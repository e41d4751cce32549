"""All parsers of the command line, for what is made from them: shell completion, and the reference in the documents."""

import argparse
from collections.abc import Iterator


def all_parsers() -> dict[str, argparse.ArgumentParser]:
    """By command (`repo key list`; empty: the program itself), groups before what is in them."""
    from cli.main import COMMANDS, command_parser

    found = {"": command_parser(None)}
    for name in COMMANDS:
        parser = dict(below(command_parser(name)))[name]
        found[name] = parser
        found.update(_all_below(name, parser))
    return found


def below(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Its sub-commands, by their names."""
    for action in _actions(parser):
        if _is_of_commands(action) and isinstance(action.choices, dict):
            yield from action.choices.items()


def _all_below(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for word, each in below(parser):
        yield f"{name} {word}", each
        yield from _all_below(f"{name} {word}", each)


def options_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Its options, without `--help`."""
    return [each for each in _actions(parser) if each.option_strings and each.dest != "help"]


def positionals_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What it takes beside options, sub-commands apart."""
    return [each for each in _actions(parser) if not each.option_strings and not _is_of_commands(each)]


def _is_of_commands(action: argparse.Action) -> bool:
    return isinstance(action, argparse._SubParsersAction)  # noqa: SLF001 - it has no other name


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 - there is no other way to ask a parser what it takes
