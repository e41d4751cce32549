"""Where `repo` finds its key and tiers when the command line does not name them: the environment, then a profile.

Each is taken as a whole from the first that has it: tiers of two places are never put together.
"""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

from cli.options import UsageInvalid, credentials_option, given, home_folder, tier_address

KEY_FILE_VARIABLE = "WEDSYNC_KEY_FILE"
TIERS_VARIABLE = "WEDSYNC_TIERS"
PROFILES_VARIABLE = "WEDSYNC_PROFILES"

# A path may have spaces in it, so that only one before an address parts two of them.
_BETWEEN = re.compile(r"\s+(?=(?:[A-Za-z0-9][A-Za-z0-9._-]*=)?(?:file|s3)://)")
_COMMA = re.compile(r",\s*(?:$|(?:[A-Za-z0-9][A-Za-z0-9._-]*=)?(?:file|s3)://)")
_KEYS = {"key-file", "tiers", "credentials"}


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Add `--profile`. What the environment or a profile names need not be on the command line."""
    parser.add_argument(
        "--profile",
        metavar="NAME",
        type=given,
        help="key file, tiers and credentials from this section of wedsync-backup/profiles.toml",
    )
    # `complete` refuses what nobody names, and says all the places where it could be.
    _relax(parser, "key_file")
    _relax(parser, "tiers")


def _relax(parser: argparse.ArgumentParser, dest: str) -> None:
    for action in parser._actions:  # noqa: SLF001 - there is no other way to change what a parser requires
        if action.dest == dest:
            action.required = False
    for group in parser._mutually_exclusive_groups:  # noqa: SLF001 - as above
        if any(action.dest == dest for action in group._group_actions):  # noqa: SLF001 - as above
            group.required = False


def complete(arguments: argparse.Namespace) -> None:
    """Put in what the command line left out. Raises `UsageInvalid`."""
    options = vars(arguments)
    profile = _profile(options["profile"]) if options.get("profile") else {}
    has_key = options.get("key_file") or options.get("passphrase") or options.get("key_command")
    if "key_file" in options and not has_key:
        arguments.key_file = os.environ.get(KEY_FILE_VARIABLE) or profile.get("key-file")
        if not arguments.key_file:
            raise UsageInvalid(
                f"no key is named, {_nowhere(options.get('profile'))}",
                f"Give --key-file PATH, set {KEY_FILE_VARIABLE}, or name a profile that has `key-file`; "
                "or a passphrase by --passphrase.",
            )
    if "tiers" in options and not options["tiers"]:
        own = [tier_address(each) if each else each for each in profile.get("tiers", ())]
        arguments.tiers = tiers_of(os.environ.get(TIERS_VARIABLE, "")) or own
        if not arguments.tiers:
            raise UsageInvalid(
                f"no tier is named, {_nowhere(options.get('profile'))}",
                f"Give --tier [NAME=]URL, set {TIERS_VARIABLE}, or name a profile that has `tiers`.",
            )
        if not options.get("credentials") and arguments.tiers == own:
            arguments.credentials = [_credentials(text) for text in profile.get("credentials", ())]
    for number, address in enumerate(options.get("tiers") or (), 1):
        if _COMMA.search(address):
            raise UsageInvalid(
                f"address {number} of the tiers has a comma at its end",
                f"White space parts the addresses in {TIERS_VARIABLE}, and each --tier is one: "
                "a=file:///x b=file:///y. A comma that is meant, in the name of a folder, is written %2C.",
            )


def _nowhere(profile: str | None) -> str:
    return "neither on the command line nor in the environment" + ("" if profile is None else f" nor in {profile}")


def tiers_of(text: str) -> list[str]:
    """The addresses in a variable, parted by white space."""
    return [each for each in _BETWEEN.split(text.strip()) if each]


def profiles_path() -> str:
    """The file with the profiles: `WEDSYNC_PROFILES`, or in the user's folder for settings."""
    home = home_folder()
    settings = os.environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    return os.environ.get(PROFILES_VARIABLE) or f"{settings}/wedsync-backup/profiles.toml"


def _profile(name: str) -> dict[str, Sequence[str]]:
    import tomllib

    from repository.regular_file import open_regular

    path = profiles_path()
    try:
        with open_regular(path) as file:
            profiles = tomllib.load(file)
    except FileNotFoundError:
        raise UsageInvalid(f"there are no profiles: {path} is not there", "Make it, or name key and tiers.") from None
    except OSError as error:
        hint = "It is a file in TOML that this user may read."
        raise UsageInvalid(f"the profiles in {path} cannot be read: {error.strerror}", hint) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageInvalid(f"the profiles in {path} cannot be read: {error}", "It is a file in TOML.") from None
    found = profiles.get(name)
    if not isinstance(found, dict):
        known = ", ".join(sorted(each for each, value in profiles.items() if isinstance(value, dict))) or "none"
        raise UsageInvalid(f"no profile is called {name}", f"In {path} there are: {known}.")
    for key, value in found.items():
        is_right = isinstance(value, str) if key == "key-file" else _are_texts(value)
        if key not in _KEYS or not is_right or not value:
            raise UsageInvalid(
                f"profile {name}: {key} is not understood",
                'A profile has key-file = "PATH", tiers = ["URL", …] and perhaps credentials = ["WHERE", …].',
            )
    if "key-file" in found:
        found["key-file"] = os.path.join(
            os.path.dirname(os.path.abspath(path)), str(Path(found["key-file"]).expanduser())
        )
    return found


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each for each in value)


def _credentials(text: str) -> tuple[str, str]:
    try:
        return credentials_option(text)
    except argparse.ArgumentTypeError as error:
        raise UsageInvalid(f"credentials of the profile: {error}", "Write them as --credentials takes them.") from None
