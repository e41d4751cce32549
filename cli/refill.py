"""`wedsync-backup refill SERVICE`: publish a service's record again into a stream that was lost or replaced.

A relay never fills an empty or foreign stream by surprise, since that may be the sign of a wrong server or of
a record that was restored to an earlier day. This command says that it is meant: it creates missing streams
and consumers, permits the refill, tells gateway and audit log which log is the record, and waits until the relay has
published everything and the gateway shows it.
What does not answer for a while (NATS that makes large streams, Postgres that starts anew) is named and waited for,
within the time. Ends with 0 only then; with 4 where it was permitted, and is not done within the time, or waits for
what another service has to publish again: that is told at once, since no time helps. So is a stream that only a new
incarnation of the record can continue: then nothing is permitted, and it ends with 1.
"""

import argparse
import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of
from cli.options import seconds
from contracts.subjects import SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chassis.outbox.continuity import StreamView
    from chassis.outbox.tables import RefillPermission
    from deploy.stack.layout import Layout
    from deploy.stack.probes import Trouble

T = TypeVar("T")

ALL = "all"
POLL_SECONDS = 0.2
TELL_SECONDS = 3.0
LOOK_SECONDS = 1.0
"""The gateway looks twice as often for what was said to be the record; what it showed before may be of another one."""
OTHERS_SECONDS = 3.0
"""So long what another service owes must be told: a report may be of a moment before the streams were made."""
BEHIND_METRIC = "wedsync_projector_behind_seconds"


class _Owed(NamedTuple):
    """What is not so yet, and whose record it waits for besides those that are published again."""

    reason: str
    others: frozenset[str] = frozenset()


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_home(parser)
    parser.add_argument("service", choices=(*SERVICES, ALL), help="whose stream")
    parser.add_argument(
        "--new-incarnation",
        action="store_true",
        help="begin a new log: only for a record that was restored to an earlier time than the stream",
    )
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="SECONDS", help="how long to wait (default 60)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Permit the refill, wait for it."""
    from deploy.stack.layout import Layout
    from deploy.stack.state import running_state

    layout = Layout.find(home_of(arguments))
    running_state(layout.lock_file, layout.state_file)
    services = SERVICES if arguments.service == ALL else (arguments.service,)
    return asyncio.run(_refill(layout, services, arguments.new_incarnation, arguments.timeout))


async def _refill(layout: "Layout", services: tuple[str, ...], new_incarnation: bool, seconds: float) -> int:
    from chassis.outbox.relay import request_refill
    from deploy.record_again import announce, require_possible
    from deploy.stack.postgres import admin_dsn
    from deploy.stack.secrets import read_secrets

    views = await _answered(partial(_streams_made, layout, services), "the streams", seconds)
    dsn = admin_dsn(layout, read_secrets(layout))
    if not new_incarnation:
        possible = partial(require_possible, dsn, views, layout.platform_keys, _anew)
        await _answered(possible, "the record", seconds)
    permissions: dict[str, RefillPermission] = {}
    for service in services:
        given = permissions[service] = await request_refill(dsn, service, new_incarnation=new_incarnation)
        told = partial(announce, dsn, service, given, new_incarnation=new_incarnation)
        await _answered(told, "the read models and the audit log", seconds)
        print(f"{service}: permitted to publish its record again", flush=True)
    asked = frozenset((*services, ALL) if set(services) == set(SERVICES) else services)
    permitted_at = time.monotonic() + LOOK_SECONDS
    done = True
    for service, permission in permissions.items():
        owed = await _wait(partial(_owed_by, layout, dsn, service, permission, asked), service, seconds)
        print(f"{service}: {'ready' if owed is None else f'not ready yet: {owed.reason}'}", flush=True)
        _point_to_others(owed)
        done = done and owed is None
    owed = await _wait(partial(_owed_by_read_models, layout, permitted_at, asked), "read models", seconds)
    print(f"read models: {'caught up' if owed is None else owed.reason}")
    _point_to_others(owed)
    return ExitCode.OK if done and owed is None else ExitCode.DEGRADED


def _anew(service: str) -> str:
    return f"wedsync-backup refill {service} --new-incarnation"


async def _streams_made(layout: "Layout", services: tuple[str, ...]) -> "Mapping[str, StreamView]":
    """What the streams hold, once all are there. Raises UNAVAILABLE; what was made by then stays."""
    from chassis.outbox.chained import stream_view
    from contracts.streams import stream_of
    from deploy.stack.nats import apply_topology, operator_connection

    async with operator_connection(layout) as client:
        for change in await apply_topology(layout, client):
            print(change, flush=True)
        return {service: await stream_view(client.jetstream(), stream_of(service)) for service in services}


async def _answered(ask: Callable[[], Awaitable[T]], name: str, seconds: float) -> T:
    """The answer, asked for again as long as nobody answers at all; with a word of what is waited for.

    Raises UNAVAILABLE after so many seconds. For what may be asked twice.
    """
    from contracts import errors
    from contracts.errors import PlatformError

    until = time.monotonic() + seconds
    told = -TELL_SECONDS
    while True:
        try:
            return await ask()
        except PlatformError as error:
            now = time.monotonic()
            if error.code is not errors.UNAVAILABLE or now > until:
                raise
            if now - told > TELL_SECONDS:
                told = now
                print(f"{name}: still waiting: {error.message}", flush=True)
        await asyncio.sleep(POLL_SECONDS)


def _point_to_others(owed: _Owed | None) -> None:
    """Say which command brings what is waited for."""
    for service in sorted(owed.others if owed is not None else ()):
        print(f"that is not of what was asked for: wedsync-backup refill {service}", flush=True)


async def _wait(ask: Callable[[], Awaitable[_Owed | None]], name: str, seconds: float) -> _Owed | None:
    """What is owed after so many seconds, None as soon as nothing is; with a word every now and then.

    Sooner where it is another service's: its record is not published again by this command.
    """
    began = told = alone_at = time.monotonic()
    while (owed := await ask()) is not None and time.monotonic() < began + seconds:
        now = time.monotonic()
        if not owed.others:
            alone_at = now
        elif now - alone_at > OTHERS_SECONDS:
            return owed
        if now - told > TELL_SECONDS:
            told = now
            print(f"{name}: still waiting: {owed.reason}", flush=True)
        await asyncio.sleep(POLL_SECONDS)
    return owed


async def _owed_by(
    layout: "Layout", dsn: str, service: str, permission: "RefillPermission", asked: frozenset[str]
) -> _Owed | None:
    """Why a stream does not hold its whole record yet, or why its service is not ready; None when both are so."""
    from chassis.outbox.relay import refilled
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.stack.probes import Grade, service_ready

    try:
        filled = await refilled(dsn, service, permission)
    except PlatformError as error:
        if error.code is not errors.UNAVAILABLE:
            raise
        return _Owed(f"how far it is cannot be known: {error.message}")
    if filled is not None and filled < permission.last:
        return _Owed(f"still filling: {filled} of {permission.last}")
    trouble = await service_ready(layout.port(f"{service}.health"))()
    if trouble is not None and trouble.grade is not Grade.DEGRADED:
        return _Owed(trouble.reason, _of_others(trouble, asked) if filled is not None else frozenset())
    return _Owed("its relay has not used the permission yet") if filled is None else None


def _of_others(trouble: "Trouble | None", asked: frozenset[str]) -> frozenset[str]:
    """Whose records a trouble is about that this command does not publish again."""
    return frozenset() if trouble is None else trouble.services - asked


async def _owed_by_read_models(layout: "Layout", since: float, asked: frozenset[str]) -> _Owed | None:
    """Why the gateway may not show what was published since then (`time.monotonic`); None once it does."""
    from deploy.stack.probes import http_get, trouble_of_report

    try:
        status, report = await http_get(layout.port("gateway.health"), "/health/ready")  # refreshes the figure
        _, body = await http_get(layout.port("gateway.health"), "/metrics")
    except (OSError, TimeoutError, ValueError) as error:
        return _Owed(f"the gateway does not answer: {error or type(error).__name__}")
    found = re.search(rf"^{BEHIND_METRIC} (\S+)$", body.decode(errors="replace"), re.MULTILINE)
    if found is None:
        return _Owed(f"unknown: the gateway does not tell {BEHIND_METRIC}")
    behind = float(found[1])
    if behind > time.monotonic() - since:
        trouble = trouble_of_report(status, report)
        why = f": {trouble.reason}" if trouble is not None else ""
        return _Owed(f"last caught up {behind:.0f} s ago, before the refill{why}", _of_others(trouble, asked))
    return None
