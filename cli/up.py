"""`wedsync-backup up`: start the platform on this machine and keep it running until Ctrl-C.

With `--detach` it returns once the platform is up and leaves it running; `down` stops it. A second `up` on the
same home is refused. Ends with 0 after a stop that was asked for (with `--detach`: once all is ready), with 4 where
parts had to be killed for it (`--detach`: where not all is ready), with 1 where a part does not start, with 8
where `--detach` has waited long enough and the start goes on, and with 130 or 143 where a signal came before it was up.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of, home_option
from cli.output import say

if TYPE_CHECKING:
    from deploy.stack.layout import Layout

DETACH_SECONDS = 120.0
TELL_SECONDS = 3.0
STOP_SECONDS = 2.0
SUPERVISOR_LOG = "supervisor"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_home(parser)
    parser.add_argument("--detach", action="store_true", help="return once all is ready; `down` stops it")
    parser.add_argument(
        "--begin-anew",
        action="append",
        default=[],
        choices=(
            *("data/postgres", "data/nats/jetstream"),
            *("data/s3/cloud-primary", "data/s3/cloud-secondary", "data/s3/offsite", "data/tiers/local"),
            *("keys/identity.pem", "keys/platform/MADE", "keys/platform/audit-log.key"),
            *("config/locations.json", "config/organisations.json", "config/subscribers.json"),
            "layout.json",
        ),
        help="this is gone for good, or another: go on with what lies there now, made anew where that is nothing;"
        " may be repeated (docs/operations.md, section 6)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Start, keep running, stop."""
    from chassis.settings import refuse_unknown
    from deploy.stack.services import refuse_decided

    # The processes would refuse it, too, each with a start that fails.
    refuse_unknown(os.environ)
    refuse_decided(os.environ)
    home = home_of(arguments)
    anew: list[str] = arguments.begin_anew
    _say_what_is_there(home, anew)
    return _detached(home, anew) if arguments.detach else _in_foreground(home, anew)


def _say_what_is_there(home: Path, begin_anew: list[str]) -> None:
    """Nothing that lies there is deleted: whoever thinks that it is, or that it was gone, is told."""
    from deploy.stack.begun import still_there

    for name in still_there(home, begin_anew):
        print(
            f"{home / name} is there, and the platform goes on with what lies in it: nothing of it is made anew."
            " Is it to begin with nothing: wedsync-backup down, move it aside, then the same command again.",
            file=sys.stderr,
            flush=True,
        )


def _in_foreground(home: Path, begin_anew: list[str]) -> int:
    import asyncio

    from cli.patience import patience
    from deploy.stack.platform import run_platform

    starting = ExitStack()

    def started(layout: "Layout", seconds: float) -> None:
        starting.close()
        say("\n".join(["", *_stand(layout, seconds), *_how_to(layout), "Ctrl-C stops it."]))

    with starting:
        starting.enter_context(patience("the platform starts"))
        end = asyncio.run(run_platform(home, say=say, started=started, begin_anew=begin_anew))
    killed = f"; {', '.join(end.killed)} had to be killed and recover at the next start" if end.killed else ""
    if end.ready_seconds is None and end.stopped_by is not None:
        say(f"The platform was interrupted before it was up, and has stopped{killed}.")
        return 128 + end.stopped_by
    say(f"The platform has stopped{killed}.")
    return ExitCode.DEGRADED if end.killed else ExitCode.OK


def _stand(layout: "Layout", seconds: float) -> list[str]:
    """Whether all is ready, and what is not."""
    from deploy.stack.state import read_state

    state = read_state(layout.state_file)
    if state is None:
        return [f"The platform is up after {seconds:.1f} s. Whether all of it is ready is unknown: it has no report."]
    if not (wrong := state.troubles()):
        return [f"The platform is ready after {seconds:.1f} s."]
    return [
        f"The platform is up after {seconds:.1f} s, but not all of it is ready (docs/operations.md, section 3):",
        *(f"  {name}: {reason}" for name, reason in wrong),
    ]


def _how_to(layout: "Layout") -> list[str]:
    """Where things are, and how to get in."""
    from contracts.errors import PlatformError
    from deploy.stack.own_backup.memory import read_memory

    option = home_option(layout.home)
    url = layout.gateway_url
    try:
        kit = read_memory(layout.home).kit
    except PlatformError:
        kit = None  # It is a finding.
    return [
        f"  API       {url}/api/backup",
        f"  reference {url}/schema   {url}/asyncapi",
        f"  console   {url}/console   (sign in with a token)",
        f"  token     wedsync-backup token --role operator{option}",
        # By standard input: a command line can be read by everybody on the machine.
        f"  try it    wedsync-backup token --role viewer{option} | sed 's/^/Authorization: Bearer /'"
        f" | curl --noproxy 127.0.0.1 -H @- {url}/api/backup/status",
        f"  health    wedsync-backup status{option}",
        f"  logs      {layout.logs}",
        *([f"  kit       {kit.folder}   keep it elsewhere: docs/disaster-recovery.md, part 5"] if kit else []),
    ]


def _detached(home: Path, begin_anew: list[str]) -> int:
    """Start `up` as a process of its own, wait until it is up or has ended."""
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.stack.interpreter import python_path
    from deploy.stack.layout import Layout
    from deploy.stack.logs import end_of, last_lines
    from deploy.stack.state import is_running

    layout = Layout.create(home, begin_anew=begin_anew)
    if is_running(layout.lock_file):
        raise PlatformError(errors.STACK_RUNNING, f"the platform in {home} runs already")
    log = layout.log(SUPERVISOR_LOG)
    since = end_of(log)
    accepted = [word for name in begin_anew for word in ("--begin-anew", name)]
    with log.open("ab") as output:
        child = subprocess.Popen(  # this very program
            [sys.executable, "-P", "-m", "cli", "up", "--home", str(home), *accepted],
            stdin=subprocess.DEVNULL,
            # It keeps its log itself; only what it did not foresee comes out here.
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": python_path()},
        )
    try:
        return _await(home, child)
    except KeyboardInterrupt:
        child.terminate()
        print("stopping what was started", file=sys.stderr, flush=True)
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_SECONDS)
        if child.poll() is None:
            print(f"  It goes on stopping: wedsync-backup down{home_option(home)} waits for it.", file=sys.stderr)
        raise
    except _Ended:
        if is_running(layout.lock_file):
            # What stands in the log is the other one's.
            message = f"the platform in {home} runs already, or is starting: another start was faster"
            raise PlatformError(errors.STACK_RUNNING, message) from None
        print("\n".join(last_lines(log, 20, since=since)), file=sys.stderr)
        print(f"wedsync-backup: the platform has ended while it started (log: {log})", file=sys.stderr)
        if child.returncode < 0:
            name = signal.Signals(-child.returncode).name
            print(f"  Its supervisor was ended by {name}, so what it had started may run on:", file=sys.stderr)
            print(f"  wedsync-backup down{home_option(home)} ends it.", file=sys.stderr)
        return child.returncode if child.returncode > 0 else ExitCode.FAILED


class _Ended(Exception):
    """The supervisor has ended before it was up."""


def _await(home: Path, child: "subprocess.Popen[bytes]") -> int:
    from deploy.stack.layout import Layout
    from deploy.stack.state import Condition, read_state

    layout = Layout.find(home)
    begun = time.monotonic()
    told = begun
    while (now := time.monotonic()) - begun < DETACH_SECONDS:
        state = read_state(layout.state_file)
        # A report of an earlier run is not believed, though the process number may be the same.
        is_ours = state is not None and state.supervisor.pid == child.pid and state.supervisor.is_alive()
        if state is not None and is_ours and state.ready_seconds is not None:
            found = Layout.find(home)
            print("\n".join([*_stand(found, state.ready_seconds), *_how_to(found)]))
            print(f"  stop      wedsync-backup down{home_option(home)}")
            return ExitCode.OK if state.condition is Condition.READY else ExitCode.DEGRADED
        if child.poll() is not None:
            raise _Ended
        if now - told > TELL_SECONDS:
            told = now
            waits = [] if state is None or not is_ours else [p.name for p in state.parts if not p.condition.is_up]
            print(f"still starting after {now - begun:.0f} s: {', '.join(waits) or 'the supervisor'}", flush=True)
        time.sleep(0.05)
    option = home_option(home)
    print(f"wedsync-backup: the platform is not up after {DETACH_SECONDS:.0f} s; the start goes on", file=sys.stderr)
    print(f"  Look: wedsync-backup status{option}. Give up: wedsync-backup down{option}.", file=sys.stderr)
    return ExitCode.UNAVAILABLE
