"""The option `--home` of the commands that speak to the platform on this machine."""

import argparse
import os
from pathlib import Path

from cli.options import given

DEFAULT_HOME = ".wedsync"
HOME_SETTING = "WEDSYNC_HOME"


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
