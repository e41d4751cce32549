"""`wedsync-backup logs`: what the parts of the platform wrote, one or all of them, now and as it goes on."""

import argparse
import sys
import time
from pathlib import Path

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of
from cli.streams import is_heard

FOLLOW_SECONDS = 0.25


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_home(parser)
    parser.add_argument("parts", nargs="*", metavar="PART", help="names as `status` shows them (default: all)")
    parser.add_argument("--lines", "-n", type=int, default=20, metavar="N", help="last lines of each part (default 20)")
    parser.add_argument("--follow", "-f", action="store_true", help="go on until Ctrl-C")


def run(arguments: argparse.Namespace) -> int:
    """Print the ends of the logs; follow them where that was asked for."""
    from deploy.stack.layout import Layout
    from deploy.stack.logs import last_lines

    layout = Layout.find(home_of(arguments))
    present = {path.stem: path for path in sorted(layout.logs.glob("*.log"))}
    unknown = [part for part in arguments.parts if part not in present]
    if unknown:
        print(f"wedsync-backup: no log of {', '.join(unknown)}; there are {', '.join(present)}", file=sys.stderr)
        return ExitCode.NOT_FOUND
    chosen = {part: present[part] for part in arguments.parts or present}
    ends = {part: path.stat().st_size for part, path in chosen.items()}
    for part, path in chosen.items():
        for line in last_lines(path, arguments.lines):
            print(_labelled(part, line, chosen))
    if arguments.follow:
        _follow(chosen, ends)
    return ExitCode.OK


def _labelled(part: str, line: str, chosen: dict[str, Path]) -> str:
    return line if len(chosen) == 1 else f"{part:<19}| {line}"


def _follow(chosen: dict[str, Path], ends: dict[str, int]) -> None:
    """Print whole lines as they come. A log that became shorter was rotated: it is read from its beginning."""
    while is_heard():
        time.sleep(FOLLOW_SECONDS)
        for part, path in chosen.items():
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                continue
            if size < ends[part]:
                ends[part] = 0
            if size == ends[part]:
                continue
            with path.open("rb") as file:
                file.seek(ends[part])
                block = file.read(size - ends[part])
            whole = block[: block.rfind(b"\n") + 1]
            ends[part] += len(whole)
            for line in whole.decode(errors="replace").splitlines():
                print(_labelled(part, line, chosen))
