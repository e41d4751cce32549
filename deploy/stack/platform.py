"""The embedded platform as a whole: put together from its parts, run until told to stop.

This is the composition root of the stack; `wedsync-backup up` and the tests run `run_platform`.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from chassis.clock import SystemClock
from chassis.sealing import Sealer, is_prepared_keys_folder, prepare_keys_folder
from contracts import errors
from contracts.errors import PlatformError
from deploy.postgres.schemas import ROLES
from deploy.stack import nats, postgres, s3, services
from deploy.stack.account import Account, database_account
from deploy.stack.begun import KEYS_MADE
from deploy.stack.files import takes_nothing
from deploy.stack.identity_provider import install_identity_provider
from deploy.stack.install import install_steps
from deploy.stack.layout import Layout
from deploy.stack.locations import write_registry
from deploy.stack.logs import rotate
from deploy.stack.own_backup.keeping import SelfBackup
from deploy.stack.part import Part, Step
from deploy.stack.places import Places
from deploy.stack.ports import GRPC_OFFSET, Reserved, choose_ports, is_free
from deploy.stack.process_identity import ProcessIdentity
from deploy.stack.programs import PostgresPrograms
from deploy.stack.s3_regions import REGIONS
from deploy.stack.secrets import Secrets, open_secrets
from deploy.stack.state import Condition, HomeLock, StackState, read_state, write_state
from deploy.stack.supervisor import Supervisor
from deploy.stack.whole import require_readable

SUPERVISOR = "supervisor"
"""The name of the supervisor's own log."""
START_ATTEMPTS = 3
KILL_SECONDS = 10.0
LEFTOVER_SECONDS = 20.0
"""How long parts of a supervisor that was killed may take to end by themselves."""


async def run_platform(
    home: Path,
    *,
    say: Callable[[str], None],
    started: Callable[[Layout, float], None] | None = None,
    stop: asyncio.Event | None = None,
    begin_anew: Collection[str] = (),
) -> StackState:
    """Start the platform of a home, call `started` with the seconds it took, run until a signal or `stop`; its end.

    `begin_anew`: data that is gone and may be made again (`deploy.stack.begun`). SIGINT, SIGTERM and SIGHUP stop
    gracefully; a second one kills. Raises HOME_UNUSABLE, KEYS_UNUSABLE, STACK_RUNNING, STACK_FAILED, and OSError where
    the home's disk is full.
    """
    _require_linux()
    layout = Layout.create(home, begin_anew=begin_anew)
    lock = HomeLock(layout.lock_file)
    if not lock.acquire():
        raise _running_already(layout)
    say = _noting(layout, say)
    signals = _Signals(stop or asyncio.Event(), say)
    try:
        if KEYS_MADE in begin_anew and is_prepared_keys_folder(layout.platform_keys):
            Sealer(layout.platform_keys).note_found()
        require_readable(layout)
        with (
            signals,
            PostgresPrograms(database_account(os.environ), owner=layout.remembered.instance) as programs,
            Reserved() as reserved,
        ):
            return await _run_locked(layout, signals, say, started, programs, reserved)
    finally:
        lock.release()


async def _run_locked(
    layout: Layout,
    signals: "_Signals",
    say: Callable[[str], None],
    started: Callable[[Layout, float], None] | None,
    programs: PostgresPrograms,
    reserved: Reserved,
) -> StackState:
    """With the home's lock held. A port that a stranger takes between its choice and its use costs another attempt."""

    def up(seconds: float) -> None:
        layout.note_begun()
        own_backup.begin()
        if started is not None:
            started(layout, seconds)

    begun = time.monotonic()
    own_backup = SelfBackup(layout, say)
    for attempt in range(START_ATTEMPTS):
        state = _new_state(layout)
        try:
            await _end_leftovers(layout, state, signals.stop, say)
            secrets = prepare(layout, take=reserved.take)
            own_backup.first_kit()
            places = Places(layout)
            await places.open()
            if signals.stop.is_set():
                state.condition, state.stopped_by = Condition.STOPPED, signals.first
                write_state(layout.state_file, state)
                return state
        except OSError as error:
            if takes_nothing(error):
                raise
            raise PlatformError(
                errors.HOME_UNUSABLE, f"{layout.home} cannot be written to: {error}", home=str(layout.home)
            ) from error
        supervisor = Supervisor(
            units(layout, secrets, database_account(os.environ), programs),
            state=state,
            report=lambda now: write_state(layout.state_file, now),
            say=say,
            look=places.look,
            # Whoever waits has waited for the parts of the last run and for other attempts, too.
            begun=begun,
        )
        signals.kill = supervisor.kill
        try:
            try:
                await supervisor.run(signals.stop, started=up)
            finally:
                await own_backup.end()
                s3.remove_sockets(layout)
        except PlatformError:
            taken = [name for name, port in _listened_on(layout) if not is_free(port)]
            if not taken or signals.stop.is_set() or attempt + 1 == START_ATTEMPTS:
                raise
            say(f"somebody else took the port of {', '.join(taken)} meanwhile: starting again with other ports")
        else:
            state.stopped_by = signals.first
            return state
    raise AssertionError("the last attempt returns or raises")


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


def _listened_on(layout: Layout) -> list[tuple[str, int]]:
    """Every port that parts listen on, with the name of the one that was chosen for it."""
    ports = layout.remembered.ports
    return [*ports.items(), *((name, ports[name] + GRPC_OFFSET) for name in s3.paired_port_names())]


def prepare(layout: Layout, *, take: Callable[[int], bool] = is_free) -> Secrets:
    """Ports, secrets, keys and configuration: everything that must be on disk before the first part starts.

    `take`: whether a port may be used, and is kept for this platform.
    """
    wanted = [postgres.NAME, *nats.PORT_NAMES, *services.port_names(), *s3.port_names()]

    def is_usable(port: int) -> bool:
        return not s3.is_blocked(port) and take(port)

    chosen = choose_ports(wanted, layout.remembered.ports, paired=s3.paired_port_names(), is_free=is_usable)
    if chosen != layout.remembered.ports:
        layout.remembered.ports = chosen
        layout.remember()
    secrets = open_secrets(layout, roles=list(ROLES.values()), regions=s3.credential_names())
    prepare_keys_folder(layout.platform_keys)
    install_identity_provider(layout)
    write_registry(layout, secrets)
    services.write_targets(layout)
    layout.note_begun()
    return secrets


def units(layout: Layout, secrets: Secrets, account: Account | None, programs: PostgresPrograms) -> list[Part | Step]:
    """Every part and step, in the order in which they are shown."""
    return [
        *postgres.postgres_units(layout, secrets, account, programs),
        nats.nats_part(layout),
        *(s3.s3_part(layout, secrets, region) for region in REGIONS),
        *install_steps(layout, secrets),
        *(services.service_part(layout, secrets, service) for service in services.PROCESSES),
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


async def _end_leftovers(layout: Layout, state: StackState, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """A supervisor that was killed leaves parts that are about to end: wait for them, then end them.

    Two servers on one data folder would ruin it. The new report replaces the old one at once, so that nobody takes
    that for the platform that starts, and keeps the processes that are waited for.
    """
    old = read_state(layout.state_file)
    if old is not None:
        state.leftovers = [*old.leftovers, *(part.process for part in old.parts if part.process is not None)]
    state.leftovers = [process for process in state.leftovers if process.is_alive()]
    write_state(layout.state_file, state)
    if state.leftovers:
        say(f"waiting for {len(state.leftovers)} parts of the last run to end: {_pids(state.leftovers)}")
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while state.leftovers and not stop.is_set():
        if time.monotonic() > deadline + KILL_SECONDS:
            raise PlatformError(
                errors.HOME_UNUSABLE,
                f"processes of the last run on {layout.home} do not end when killed: {_pids(state.leftovers)}",
                hint="They wait for their disk: look at dmesg. Two servers on one folder would ruin it.",
            )
        if time.monotonic() > deadline:
            for process in state.leftovers:
                process.send(signal.SIGKILL)
        await asyncio.sleep(0.1)
        state.leftovers = [process for process in state.leftovers if process.is_alive()]


def _pids(processes: Sequence[ProcessIdentity]) -> str:
    return ", ".join(str(process.pid) for process in processes)


class _Signals:
    """SIGINT, SIGTERM and SIGHUP while the platform runs: the first stops gracefully, a SIGINT after it kills.

    Another SIGTERM is somebody else's `down`, who waits as well.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, stop: asyncio.Event, say: Callable[[str], None]) -> None:
        self.stop = stop
        self.kill: Callable[[], None] = lambda: None
        self.first: int | None = None
        self._say = say

    def __enter__(self) -> None:
        for number in self.NUMBERS:
            # `nohup` has the hang-up of a terminal ignored, so that it ends nothing.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._received, number)

    def __exit__(self, *_: object) -> None:
        for number in self.NUMBERS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _received(self, number: int) -> None:
        self.first = self.first or number
        if self.stop.is_set():
            if number != signal.SIGINT:
                return
            self._say("killing all parts")
            self.kill()
            return
        self._say("stopping; once more to kill")
        self.stop.set()


def _require_linux() -> None:
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise PlatformError(
            errors.STACK_FAILED,
            "the embedded stack needs Linux 5.3 or later",
            hint="Run Postgres, NATS and S3 elsewhere, and point the services at them (docs/settings.md).",
        )
