"""`wedsync-backup down`: stop the platform of a home, gracefully, and wait until it is gone.

It stops the process that the supervisor's own report names, by number and start, and no other. Ends with 0
also where nothing runs.
"""

import argparse
import signal
import sys
import time

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of

DEFAULT_SECONDS = 60.0
KILL_SECONDS = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_home(parser)
    parser.add_argument(
        "--timeout", type=float, default=DEFAULT_SECONDS, metavar="SECONDS", help="how long to wait (default 60)"
    )
    parser.add_argument("--kill", action="store_true", help="kill what has not stopped by then")


def run(arguments: argparse.Namespace) -> int:
    """Ask the supervisor to stop, wait for it."""
    from contracts.errors import PlatformError
    from deploy.stack.layout import Layout
    from deploy.stack.state import running_state

    try:
        layout = Layout.find(home_of(arguments))
        state = running_state(layout.lock_file, layout.state_file)
    except PlatformError as error:
        if error.code.code != "stack-not-running":
            raise
        print("No platform runs in this home.")
        return ExitCode.OK
    begun = time.monotonic()
    processes = [state.supervisor, *(part.process for part in state.parts if part.process is not None)]
    state.supervisor.send(signal.SIGTERM)

    def gone_within(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while any(process.is_alive() for process in processes):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    if gone_within(arguments.timeout):
        print(f"The platform has stopped after {time.monotonic() - begun:.1f} s.")
        return ExitCode.OK
    if arguments.kill:
        for process in processes:
            process.send(signal.SIGKILL)
        if gone_within(KILL_SECONDS):
            print("The platform was killed; Postgres recovers by itself at the next start.")
            return ExitCode.OK
    left = [process.pid for process in processes if process.is_alive()]
    print(f"wedsync-backup: processes {left} have not ended after {arguments.timeout:.0f} s", file=sys.stderr)
    print("  Wait longer with --timeout, or end them with --kill.", file=sys.stderr)
    return ExitCode.FAILED
