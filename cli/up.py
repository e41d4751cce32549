"""`wedsync-backup up`: start the platform on this machine and keep it running until Ctrl-C.

With `--detach` it returns once the platform is ready and leaves it running; `down` stops it. A second
`up` on the same home is refused. Ends with 0 after a stop that was asked for, with 1 where a part does not start.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of, home_option

if TYPE_CHECKING:
    from deploy.stack.layout import Layout

DETACH_SECONDS = 120.0
SUPERVISOR_LOG = "supervisor"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_home(parser)
    parser.add_argument("--detach", action="store_true", help="return once all is ready; `down` stops it")
    parser.add_argument(
        "--begin-anew",
        action="append",
        default=[],
        choices=("data/postgres", "data/nats/jetstream", "keys/identity.pem"),
        help="this is gone for good: make it anew, empty; may be repeated (docs/operations.md, section 6)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Start, keep running, stop."""
    home = home_of(arguments)
    anew: list[str] = arguments.begin_anew
    return _detached(home, anew) if arguments.detach else _in_foreground(home, anew)


def _in_foreground(home: Path, begin_anew: list[str]) -> int:
    import asyncio

    from deploy.stack.platform import run_platform

    def started(layout: "Layout", seconds: float) -> None:
        _tell("\n".join(["", *_stand(layout, seconds), *_how_to(layout), "Ctrl-C stops it."]))

    asyncio.run(run_platform(home, say=_tell, started=started, begin_anew=begin_anew))
    _tell("The platform has stopped.")
    return ExitCode.OK


def _tell(line: str) -> None:
    """Print, also when the terminal is gone: the parts must be stopped in order all the same."""
    try:
        print(line, flush=True)
    except OSError:
        # What is still in the buffer would fail again when the interpreter ends.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # stays open until the end


def _stand(layout: "Layout", seconds: float) -> list[str]:
    """Whether all is ready, and what is not."""
    from deploy.stack.state import read_state

    state = read_state(layout.state_file)
    wrong = [] if state is None else [part for part in state.parts if part.reason is not None]
    if not wrong:
        return [f"The platform is ready after {seconds:.1f} s."]
    return [
        f"The platform is up after {seconds:.1f} s, but not all of it is ready (docs/operations.md, section 3):",
        *(f"  {part.name}: {part.reason}" for part in wrong),
    ]


def _how_to(layout: "Layout") -> list[str]:
    """Where things are, and how to get in."""
    option = home_option(layout.home)
    url = layout.gateway_url
    return [
        f"  API       {url}/api/backup",
        f"  reference {url}/schema   {url}/asyncapi",
        f"  token     wedsync-backup token --role operator{option}",
        f'  try it    curl -H "Authorization: Bearer $(wedsync-backup token --role viewer{option})" '
        f"{url}/api/backup/status",
        f"  health    wedsync-backup status{option}",
        f"  logs      {layout.logs}",
    ]


def _detached(home: Path, begin_anew: list[str]) -> int:
    """Start `up` as a process of its own, wait until it is ready or has ended."""
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.stack.interpreter import python_path
    from deploy.stack.layout import Layout
    from deploy.stack.logs import last_lines
    from deploy.stack.state import is_running, read_state

    layout = Layout.create(home, begin_anew=begin_anew)
    if is_running(layout.lock_file):
        raise PlatformError(errors.STACK_RUNNING, f"the platform in {home} runs already")
    log = layout.log(SUPERVISOR_LOG)
    with log.open("ab") as output:
        child = subprocess.Popen(  # this very program
            [sys.executable, "-m", "cli", "up", "--home", str(home)],
            stdin=subprocess.DEVNULL,
            # It keeps its log itself; only what it did not foresee comes out here.
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": python_path()},
        )
    deadline = time.monotonic() + DETACH_SECONDS
    while time.monotonic() < deadline:
        state = read_state(layout.state_file)
        if state is not None and state.supervisor.pid == child.pid and state.ready_seconds is not None:
            found = Layout.find(home)
            print("\n".join([*_stand(found, state.ready_seconds), *_how_to(found)]))
            print(f"  stop      wedsync-backup down{home_option(home)}")
            return ExitCode.OK
        if child.poll() is not None:
            print("\n".join(last_lines(log, 20)), file=sys.stderr)
            return child.returncode or ExitCode.FAILED
        time.sleep(0.05)
    child.terminate()
    child.wait()
    raise PlatformError(errors.STACK_FAILED, f"the platform is not ready after {DETACH_SECONDS:.0f} s", log=str(log))
