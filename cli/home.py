"""The option `--home` of the commands that speak to the platform on this machine, and whether a folder is a home's."""

import argparse
import os
from pathlib import Path

from cli.options import given

DEFAULT_HOME = ".wedsync"
HOME_SETTING = "WEDSYNC_HOME"
_OWN = ("keys", "data", "config", "logs", "run")
"""What of a home is the platform's alone. The demo restores below the home, too, and beside these."""


def add_home(parser: argparse.ArgumentParser) -> None:
    """Add `--home`."""
    parser.add_argument(
        "--home",
        metavar="DIR",
        default=None,
        type=given,
        help=f"the platform's folder (default: ${HOME_SETTING}, else ./{DEFAULT_HOME})",
    )


def home_of(arguments: argparse.Namespace) -> Path:
    """The home that a command line means."""
    return Path(arguments.home or os.environ.get(HOME_SETTING) or DEFAULT_HOME).absolute()


def home_option(home: Path) -> str:
    """How a further command has to name this home; empty where it would find it by itself."""
    import shlex

    default = Path(os.environ.get(HOME_SETTING) or DEFAULT_HOME).absolute()
    return "" if home == default else f" --home {shlex.quote(str(home))}"


def home_that_owns(folder: str) -> Path | None:
    """The home whose own folder this is, or would lie in: by the setting, or as a home is recognised on the way up.

    What is not there yet is judged by what is above it; symlinks are followed, bind mounts of the home that the setting
    names are seen through.
    """
    named = os.environ.get(HOME_SETTING)
    own: dict[tuple[int, int], Path] = {}
    for name in _OWN if named else ():
        if (identity := _identity(Path(named or "", name))) is not None:
            own[identity] = Path(named or "").absolute()
    at = Path(os.path.realpath(folder))
    for above in (at, *at.parents):
        if (identity := _identity(above)) in own and identity is not None:
            return own[identity]
        below = at.relative_to(above).parts
        if (not below or below[0] in _OWN) and _is_home(above):
            return above
    return None


def _is_home(folder: Path) -> bool:
    return all(_identity(folder / name) is not None for name in ("layout.json", "keys", "config"))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
