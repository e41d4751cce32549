"""The embedded platform as a whole: put together from its parts, run until told to stop.

This is the composition root of the stack; `wedsync-backup up` and the tests run `run_platform`.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from chassis.clock import SystemClock
from chassis.sealing import prepare_keys_folder
from contracts import errors
from contracts.errors import PlatformError
from deploy.postgres.schemas import ROLES
from deploy.stack import nats, postgres, s3, services
from deploy.stack.account import Account, database_account
from deploy.stack.identity_provider import install_identity_provider
from deploy.stack.install import install_steps
from deploy.stack.layout import Layout
from deploy.stack.locations import write_registry
from deploy.stack.logs import rotate
from deploy.stack.part import Part, Step
from deploy.stack.ports import choose_ports
from deploy.stack.process_identity import ProcessIdentity
from deploy.stack.programs import PostgresPrograms
from deploy.stack.secrets import Secrets, open_secrets
from deploy.stack.state import Condition, HomeLock, StackState, read_state, write_state
from deploy.stack.supervisor import Supervisor

SUPERVISOR = "supervisor"
"""The name of the supervisor's own log."""
LEFTOVER_SECONDS = 20.0
"""How long parts of a supervisor that was killed may take to end by themselves."""


async def run_platform(
    home: Path,
    *,
    say: Callable[[str], None],
    started: Callable[[Layout, float], None] | None = None,
    stop: asyncio.Event | None = None,
    begin_anew: Collection[str] = (),
) -> None:
    """Start the platform of a home, call `started` with the seconds it took, run until a signal or `stop`.

    `begin_anew`: data that is gone and may be made again (`deploy.stack.begun`). SIGINT, SIGTERM and SIGHUP stop
    gracefully; a second one kills. Raises HOME_UNUSABLE, KEYS_UNUSABLE, STACK_RUNNING, STACK_FAILED.
    """
    _require_linux()
    layout = Layout.create(home, begin_anew=begin_anew)
    lock = HomeLock(layout.lock_file)
    if not lock.acquire():
        raise _running_already(layout)
    say = _noting(layout, say)
    try:
        await _end_leftovers(layout, say)
        try:
            secrets = prepare(layout)
        except OSError as error:
            raise PlatformError(
                errors.HOME_UNUSABLE, f"{layout.home} cannot be written to: {error.strerror or error}"
            ) from error
        state = _new_state(layout)
        stop = stop or asyncio.Event()

        def up(seconds: float) -> None:
            layout.note_begun()
            if started is not None:
                started(layout, seconds)

        account = database_account(os.environ)
        with PostgresPrograms(account, owner=layout.remembered.instance) as programs:
            supervisor = Supervisor(
                units(layout, secrets, account, programs),
                state=state,
                report=lambda now: write_state(layout.state_file, now),
                say=say,
            )
            _stop_on_signals(stop, supervisor, say)
            await supervisor.run(stop, started=up)
    finally:
        lock.release()


def _noting(layout: Layout, say: Callable[[str], None]) -> Callable[[str], None]:
    """`say`, which also keeps a log of what happened to the parts."""
    path, clock = layout.log(SUPERVISOR), SystemClock()

    def note(line: str) -> None:
        with contextlib.suppress(OSError):
            rotate(path)
            with path.open("a") as log:
                log.write(f"{clock.now():%Y-%m-%dT%H:%M:%S.%fZ} {line}\n")
        say(line)

    return note


def prepare(layout: Layout) -> Secrets:
    """Ports, secrets, keys and configuration: everything that must be on disk before the first part starts."""
    wanted = [postgres.NAME, nats.NAME, *services.port_names(), *s3.port_names()]
    chosen = choose_ports(wanted, layout.remembered.ports, paired=s3.paired_port_names())
    if chosen != layout.remembered.ports:
        layout.remembered.ports = chosen
        layout.remember()
    secrets = open_secrets(layout, roles=list(ROLES.values()), regions=s3.credential_names())
    prepare_keys_folder(layout.platform_keys)
    install_identity_provider(layout)
    write_registry(layout, secrets)
    layout.note_begun()
    return secrets


def units(layout: Layout, secrets: Secrets, account: Account | None, programs: PostgresPrograms) -> list[Part | Step]:
    """Every part and step, in the order in which they are shown."""
    regions = [unit for region in s3.REGIONS for unit in s3.s3_units(layout, secrets, region)]
    return [
        *postgres.postgres_units(layout, secrets, account, programs),
        nats.nats_part(layout),
        *regions,
        *install_steps(layout, secrets),
        *(services.service_part(layout, secrets, service) for service in services.SERVICES),
    ]


def _new_state(layout: Layout) -> StackState:
    own = ProcessIdentity.of(os.getpid())
    if own is None:
        raise PlatformError(errors.STACK_FAILED, "/proc does not show this process")
    return StackState(home=str(layout.home), supervisor=own, condition=Condition.STARTING, started=SystemClock().now())


def _running_already(layout: Layout) -> PlatformError:
    state = read_state(layout.state_file)
    who = f" with process id {state.supervisor.pid}" if state is not None and state.supervisor.is_alive() else ""
    return PlatformError(errors.STACK_RUNNING, f"the platform in {layout.home} runs already{who}")


async def _end_leftovers(layout: Layout, say: Callable[[str], None]) -> None:
    """A supervisor that was killed leaves parts that are about to end: wait for them, then end them.

    Two servers on one data folder would ruin it.
    """
    state = read_state(layout.state_file)
    if state is None:
        return
    processes = [part.process for part in state.parts if part.process is not None]
    deadline = time.monotonic() + LEFTOVER_SECONDS
    told = False
    while alive := [process for process in processes if process.is_alive()]:
        if not told:
            say(f"waiting for {len(alive)} parts of the last run to end")
            told = True
        if time.monotonic() > deadline:
            for process in alive:
                process.send(signal.SIGKILL)
        await asyncio.sleep(0.1)


def _stop_on_signals(stop: asyncio.Event, supervisor: Supervisor, say: Callable[[str], None]) -> None:
    def on_signal() -> None:
        if stop.is_set():
            say("killing all parts")
            supervisor.kill()
            return
        say("stopping; once more to kill")
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)


def _require_linux() -> None:
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise PlatformError(
            errors.STACK_FAILED,
            "the embedded stack needs Linux 5.3 or later",
            hint="Run Postgres, NATS and S3 elsewhere, and point the services at them (docs/settings.md).",
        )
