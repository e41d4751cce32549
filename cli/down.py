"""`wedsync-backup down`: stop the platform of a home, gracefully, and wait until it is gone.

It stops the process that the supervisor's own report names, by number and start, and no other. Ends with 0 where the
platform has stopped in order or nothing ran, with 4 where it has stopped and parts were killed for it, with 1
where processes are left, and with 7 where the folder is no home of a platform: nothing is known of the one that was
meant.
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of
from cli.options import seconds

if TYPE_CHECKING:
    from deploy.stack.process_identity import ProcessIdentity

DEFAULT_SECONDS = 60.0
KILL_SECONDS = 10.0
HURRIED_SECONDS = 2.0
"""How long `--kill` waits where an earlier `down` has waited its time."""
TELL_SECONDS = 3.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_home(parser)
    parser.add_argument(
        "--timeout", type=seconds, default=DEFAULT_SECONDS, metavar="SECONDS", help="how long to wait (default 60)"
    )
    parser.add_argument(
        "--kill", action="store_true", help="kill what has not stopped by then; an earlier `down` counts"
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask the supervisor to stop, wait for it."""
    from contracts.errors import PlatformError
    from deploy.stack.layout import Layout
    from deploy.stack.state import Condition, read_state, running_state, stop_asked

    layout = Layout.find(home_of(arguments))
    try:
        state = running_state(layout.lock_file, layout.state_file)
    except PlatformError as error:
        if error.code.code != "stack-not-running":
            raise
        print(f"No platform runs in {layout.home}.")
        return ExitCode.OK
    begun = time.monotonic()
    processes = [*state.leftovers, *(part.process for part in state.parts if part.process is not None)]
    asked_seconds = stop_asked(layout.stop_file, state.supervisor)
    # Who kills has waited already, where somebody has asked before; this word has the supervisor kill, too.
    state.supervisor.send(signal.SIGINT if arguments.kill and asked_seconds else signal.SIGTERM)
    waits = max(HURRIED_SECONDS, arguments.timeout - asked_seconds) if arguments.kill else arguments.timeout
    left = _wait(state.supervisor, processes, min(waits, arguments.timeout))
    if left and arguments.kill:
        for process in left:
            process.send(signal.SIGKILL)
        if not (left := _wait(state.supervisor, processes, KILL_SECONDS)):
            print("The platform was killed; Postgres recovers by itself at the next start.")
            return ExitCode.DEGRADED
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        print(f"wedsync-backup: processes {pids} have not ended after {arguments.timeout:.0f} s", file=sys.stderr)
        print("  Wait longer with --timeout, or end them with --kill.", file=sys.stderr)
        return ExitCode.FAILED
    seconds = time.monotonic() - begun
    end = read_state(layout.state_file)
    if end is None or end.supervisor != state.supervisor or end.condition is not Condition.STOPPED:
        print(
            f"The platform has ended after {seconds:.1f} s, but not in order: its supervisor has not reported the stop"
            f" (log: {layout.log('supervisor')}).",
            file=sys.stderr,
        )
        return ExitCode.DEGRADED
    if end.killed:
        print(f"The platform has stopped after {seconds:.1f} s; {', '.join(end.killed)} had to be killed.")
        return ExitCode.DEGRADED
    print(f"The platform has stopped after {seconds:.1f} s.")
    return ExitCode.OK


def _wait(
    supervisor: "ProcessIdentity", processes: "Sequence[ProcessIdentity]", seconds: float
) -> "list[ProcessIdentity]":
    """Wait until all have ended, with a word every now and then; those that have not."""
    deadline = time.monotonic() + seconds
    told = time.monotonic()
    while left := [process for process in (supervisor, *processes) if process.is_alive()]:
        now = time.monotonic()
        if now > deadline:
            break
        if now - told > TELL_SECONDS:
            told = now
            print(f"still waiting for {len(left)} processes: {', '.join(str(each.pid) for each in left)}", flush=True)
        time.sleep(0.05)
    return left
