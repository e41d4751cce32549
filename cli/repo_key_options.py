"""The options of `repo` that are about keys: where the key comes from, and what is done to it."""

import argparse

from cli.options import given

PASSPHRASE_VARIABLE = "WEDSYNC_PASSPHRASE"  # noqa: S105  # its name
NEW_PASSPHRASE_VARIABLE = "WEDSYNC_NEW_PASSPHRASE"  # noqa: S105  # its name


def add_key_options(parser: argparse.ArgumentParser) -> None:
    """One of three ways to the key has to be named."""
    ways = parser.add_mutually_exclusive_group(required=True)
    ways.add_argument("--key-file", metavar="FILE", help="the repository's key; `init` makes it", type=given)
    ways.add_argument(
        "--passphrase",
        action="store_true",
        help=f"a passphrase: of {PASSPHRASE_VARIABLE}, else it is asked for on the terminal",
    )
    ways.add_argument(
        "--key-command",
        metavar="COMMAND",
        help="run it (without a shell): it prints a passphrase, or what a key file holds",
        type=given,
    )


def configure_keys(parsers: dict[str, argparse.ArgumentParser]) -> None:
    """The options of each `repo key`."""
    added = parsers["key add"].add_mutually_exclusive_group(required=True)
    _add_new_keys(added)
    rotate = parsers["key rotate"]
    which = rotate.add_mutually_exclusive_group(required=True)
    _add_new_keys(which)
    which.add_argument("--data", action="store_true", help="the data's key; the key file stays as it is")
    rotate.add_argument(
        "--domain", default="default", metavar="NAME", type=given, help="with --data: of this key domain"
    )
    parsers["key remove"].add_argument("kek", metavar="KEK", help="its id, as `repo key list` shows it", type=given)


def _add_new_keys(ways: argparse._MutuallyExclusiveGroup) -> None:
    ways.add_argument("--new-key-file", metavar="FILE", type=given, help="it is made where it is absent")
    ways.add_argument(
        "--new-passphrase",
        action="store_true",
        help=f"a passphrase: of {NEW_PASSPHRASE_VARIABLE}, else it is asked for on the terminal, twice",
    )
