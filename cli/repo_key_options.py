"""The options of `repo` that are about keys: where the key comes from, and what is done to it."""

import argparse

from cli.options import given, positive

PASSPHRASE_VARIABLE = "WEDSYNC_PASSPHRASE"  # noqa: S105  # its name
NEW_PASSPHRASE_VARIABLE = "WEDSYNC_NEW_PASSPHRASE"  # noqa: S105  # its name
KIT_PASSPHRASE_VARIABLE = "WEDSYNC_KIT_PASSPHRASE"  # noqa: S105  # its name


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
    which.add_argument("--root", action="store_true", help="the key that signs, and the data's key with it")
    rotate.add_argument(
        "--domain", default="default", metavar="NAME", type=given, help="with --data: of this key domain"
    )
    parsers["key remove"].add_argument("kek", metavar="KEK", help="its id, as `repo key list` shows it", type=given)

    parsers["key domain"].add_argument("name", metavar="NAME", help="what it is called", type=given)
    erase = parsers["erase"]
    erase.add_argument("domain", metavar="DOMAIN", help="its name, or the id of one of its destroyed keys", type=given)
    erase.add_argument(
        "--confirm", metavar="WORD", help="do it: the word that the command gives without this", type=given
    )
    erase.add_argument("--receipt", metavar="FILE", help="where the signed receipt goes (mode 0600)", type=given)
    receipt = parsers["verify-receipt"]
    receipt.add_argument("file", metavar="FILE", help="the receipt", type=given)
    receipt.add_argument(
        "--public-key", metavar="HEX", required=True, help="the repository's, as `repo key list` shows it", type=given
    )
    _configure_kit(parsers)


def _configure_kit(parsers: dict[str, argparse.ArgumentParser]) -> None:
    export = parsers["kit export"]
    export.add_argument("--shares", metavar="N", type=positive, default=5, help="how many there are (default 5)")
    export.add_argument("--threshold", metavar="K", type=positive, default=3, help="how many are needed (default 3)")
    for name in ("kit export", "kit restore"):
        what = "the folder of the shares: it is made" if name == "kit export" else "the key file: it is made"
        parsers[name].add_argument("--out", metavar="PATH", required=True, help=what, type=given)
    for name in ("kit check", "kit restore"):
        parsers[name].add_argument("files", metavar="SHARE", nargs="+", help="files with a share each", type=given)
    for name in ("kit export", "kit check", "kit restore"):
        parsers[name].add_argument(
            "--kit-passphrase",
            action="store_true",
            help=f"the shares are of use with a passphrase only: of {KIT_PASSPHRASE_VARIABLE}, else asked for",
        )


def _add_new_keys(ways: argparse._MutuallyExclusiveGroup) -> None:
    ways.add_argument("--new-key-file", metavar="FILE", type=given, help="it is made where it is absent")
    ways.add_argument(
        "--new-passphrase",
        action="store_true",
        help=f"a passphrase: of {NEW_PASSPHRASE_VARIABLE}, else it is asked for on the terminal, twice",
    )
