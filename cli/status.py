"""`wedsync-backup status`: every part of the platform, whether it is well, and why not, and how old that is.

Ends with 0 where all parts are ready, 4 where one is not or only partly, 8 where no platform runs, 7 where the folder
is no home of one. A report that has not been written for a while proves nothing: then it is 4 as well, whatever it
says.
"""

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of, home_option

if TYPE_CHECKING:
    from deploy.stack.layout import Layout
    from deploy.stack.state import PartState, StackState

OLD_SECONDS = 30.0
"""The supervisor writes its report every five seconds."""
UNWRITTEN_SECONDS = 10.0
"""Where the disk of the home is full it cannot, and nobody waits to say so."""


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
    from deploy.stack.own_backup.findings import lines_of
    from deploy.stack.state import Condition, running_state

    home = home_of(arguments)
    layout = Layout.find(home)
    try:
        state = running_state(layout.lock_file, layout.state_file)
    except PlatformError as error:
        if error.code.code != "stack-not-running":
            raise
        if arguments.json:
            print(json.dumps({"home": str(home), "condition": "not-running", "parts": []}))
        else:
            print(f"No platform runs in {home}. Start it with: wedsync-backup up{home_option(home)}", file=sys.stderr)
        return ExitCode.UNAVAILABLE
    now = SystemClock().now()
    _check(state, now)
    if arguments.json:
        print(json.dumps({**msgspec.to_builtins(state), "ageSeconds": _age(state, now)}, indent=2))
    else:
        print("\n".join(_table(state, now, lines_of(layout, now))))
    return ExitCode.OK if state.condition is Condition.READY else ExitCode.DEGRADED


def troubles_now(layout: "Layout") -> str:
    """What this command would say is not well, in one line; empty where all is well. Waits for no report."""
    from chassis.disk import SECONDS, Disk, DiskSilent

    try:
        return Disk(layout.home).answer(lambda: _troubles(layout))
    except DiskSilent:
        return f"the platform: the disk of {layout.home} has not answered for {SECONDS:.0f} s"


def _troubles(layout: "Layout") -> str:
    from chassis.clock import SystemClock
    from deploy.stack.state import Condition, is_running, read_state

    if not is_running(layout.lock_file):
        return f"the platform: none runs in {layout.home}"
    state = read_state(layout.state_file)
    if state is None or not state.supervisor.is_alive():
        return "the platform: it has no report that can be read, so what its parts are like is unknown"
    _check(state, SystemClock().now())
    if state.condition is not Condition.READY and not state.troubles():
        return f"the platform: is {state.condition}"
    return "; ".join(f"{name}: {reason}" for name, reason in state.troubles())


def _check(state: "StackState", now: datetime) -> None:
    """Compare the report with what can be seen from here: its age, the processes, and the disk."""
    from deploy.stack.places import HOME, disk_of
    from deploy.stack.state import Condition, PlaceState

    for part in state.parts:
        if part.condition.is_up and (part.process is None or not part.process.is_alive()):
            part.condition, part.reason = Condition.NOT_READY, "its process is gone"
    # Looked at now: on a full disk the report is not written any more.
    home = disk_of(HOME, Path(state.home))
    state.places = [home, *(place for place in state.places if place.name != HOME)]
    age = _age(state, now)
    if age is not None and age > (OLD_SECONDS if home.reason is None else UNWRITTEN_SECONDS):
        reason = (
            f"the report below is {age:.0f} s old: the supervisor, process {state.supervisor.pid}, does not run"
            " (stopped? starved?) or cannot write it. What the parts are like now is unknown"
        )
        state.places.append(PlaceState(name="report", path=state.home, reason=reason))
    if state.condition is Condition.READY and state.troubles():
        state.condition = Condition.DEGRADED


def _age(state: "StackState", now: datetime) -> float | None:
    """How old the report is, in seconds; None where it does not say."""
    return None if state.written is None else max(0.0, (now - state.written).total_seconds())


def _table(state: "StackState", now: datetime, own_backup: list[str]) -> list[str]:
    lines = [
        f"{state.home}: {state.condition}, process {state.supervisor.pid}, up for {_ago(state.started, now)},"
        f" seen {_ago(state.written, now)} ago",
        "",
    ]
    lines.append(f"{'part':<19}{'condition':<12}{'pid':>8}  {'for':>7}  {'restarts':>8}  ports")
    lines += [_row(part, now) for part in state.parts]
    for place in state.places:
        if place.free_bytes is not None and place.total_bytes is not None:
            size = f"{place.free_bytes / 2**30:.1f} of {place.total_bytes / 2**30:.1f} GiB free"
            lines.append(f"{place.name:<19}{'failed' if place.reason else 'ready':<12}{size}  {place.path}")
    lines += own_backup
    wrong = [f"{place.name}: {place.reason}" for place in state.places if place.reason]
    wrong += [f"{part.name}: {part.reason} (log: {part.log})" for part in state.parts if part.reason]
    return [*lines, "", *wrong] if wrong else lines


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
