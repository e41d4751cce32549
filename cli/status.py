"""`wedsync-backup status`: every part of the platform, whether it is well, and why not.

Ends with 0 where all parts are ready, 4 where one is not or only partly, 8 where no platform runs.
"""

import argparse
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of, home_option

if TYPE_CHECKING:
    from deploy.stack.state import PartState, StackState


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="print it for a machine")


def run(arguments: argparse.Namespace) -> int:
    """Read the supervisor's report, look whether its processes live, print."""
    import msgspec

    from chassis.clock import SystemClock
    from contracts.errors import PlatformError
    from deploy.stack.layout import Layout
    from deploy.stack.state import Condition, running_state

    home = home_of(arguments)
    try:
        layout = Layout.find(home)
        state = running_state(layout.lock_file, layout.state_file)
    except PlatformError as error:
        if error.code.code != "stack-not-running":
            raise
        if arguments.json:
            print(json.dumps({"home": str(home), "condition": "not-running", "parts": []}))
        else:
            print(f"No platform runs in {home}. Start it with: wedsync-backup up{home_option(home)}", file=sys.stderr)
        return ExitCode.UNAVAILABLE
    for part in state.parts:
        if part.condition.is_up and (part.process is None or not part.process.is_alive()):
            part.condition, part.reason = Condition.NOT_READY, "its process is gone"
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(state), indent=2))
    else:
        print("\n".join(_table(state, SystemClock().now())))
    well = state.condition is Condition.READY and all(part.condition is Condition.READY for part in state.parts)
    return ExitCode.OK if well else ExitCode.DEGRADED


def _table(state: "StackState", now: datetime) -> list[str]:
    lines = [f"{state.home}: {state.condition}, process {state.supervisor.pid}, up for {_ago(state.started, now)}", ""]
    lines.append(f"{'part':<19}{'condition':<12}{'pid':>8}  {'for':>7}  {'restarts':>8}  ports")
    lines += [_row(part, now) for part in state.parts]
    wrong = [part for part in state.parts if part.reason]
    if wrong:
        lines += ["", *(f"{part.name}: {part.reason} (log: {part.log})" for part in wrong)]
    return lines


def _row(part: "PartState", now: datetime) -> str:
    pid = "-" if part.process is None else str(part.process.pid)
    ports = " ".join(f"{name}={port}" for name, port in part.ports.items())
    return f"{part.name:<19}{part.condition:<12}{pid:>8}  {_ago(part.since, now):>7}  {part.restarts:>8}  {ports}"


def _ago(then: datetime | None, now: datetime) -> str:
    """How long ago, in the largest unit that fits."""
    if then is None:
        return "-"
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
