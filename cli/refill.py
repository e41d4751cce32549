"""`wedsync-backup refill SERVICE`: publish a service's record again into a stream that was lost or replaced.

A relay never fills an empty or foreign stream by surprise, since that may be the sign of a wrong server or of
a record that was restored to an earlier day. This command says that it is meant: it creates missing streams
and consumers, permits the refill, tells the gateway which log is the record, and waits until the relay has
published everything and the gateway shows it.
Ends with 0 only then; with 4 where it was permitted, and is not done within the time.
"""

import argparse
import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of
from cli.options import seconds
from contracts.subjects import SERVICES

if TYPE_CHECKING:
    from chassis.outbox.tables import RefillPermission
    from deploy.stack.layout import Layout

ALL = "all"
POLL_SECONDS = 0.2
TELL_SECONDS = 3.0
LOOK_SECONDS = 1.0
"""The gateway looks twice as often for what was said to be the record; what it showed before may be of another one."""
READ_MODELS = "gateway"
BEHIND_METRIC = "wedsync_projector_behind_seconds"


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
    from chassis.bus.topology import apply
    from chassis.outbox.relay import request_refill
    from deploy.stack.nats import readers, topology_connection
    from deploy.stack.postgres import admin_dsn
    from deploy.stack.secrets import read_secrets
    from gateway.projections.record import announce_record

    async with topology_connection(layout) as client:
        for change in await apply(client.jetstream(), readers=readers(layout)):
            print(f"{change.action} {change.what}")
    dsn = admin_dsn(layout, read_secrets(layout))
    permissions: dict[str, RefillPermission] = {}
    for service in services:
        given = permissions[service] = await request_refill(dsn, service, new_incarnation=new_incarnation)
        await announce_record(dsn, READ_MODELS, service, log=given.incarnation, position=given.last)
        print(f"{service}: permitted to publish its record again", flush=True)
    permitted_at = time.monotonic() + LOOK_SECONDS
    done = True
    for service, permission in permissions.items():
        reason = await _wait(partial(_reason_not_filled, layout, dsn, service, permission), service, seconds)
        print(f"{service}: {'ready' if reason is None else f'not ready yet: {reason}'}", flush=True)
        done = done and reason is None
    reason = await _wait(partial(_reason_not_shown, layout, permitted_at), "read models", seconds)
    print(f"read models: {'caught up' if reason is None else reason}")
    return ExitCode.OK if done and reason is None else ExitCode.DEGRADED


async def _wait(ask: Callable[[], Awaitable[str | None]], name: str, seconds: float) -> str | None:
    """Why something is not so after so many seconds, None as soon as it is; with a word every now and then."""
    deadline = time.monotonic() + seconds
    told = time.monotonic()
    while (reason := await ask()) is not None and time.monotonic() < deadline:
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            print(f"{name}: still waiting: {reason}", flush=True)
        await asyncio.sleep(POLL_SECONDS)
    return reason


async def _reason_not_filled(layout: "Layout", dsn: str, service: str, permission: "RefillPermission") -> str | None:
    """Why a stream does not hold its whole record yet, or why its service is not ready; None when both are so."""
    from chassis.outbox.relay import refilled
    from deploy.stack.probes import Grade, service_ready

    filled = await refilled(dsn, service, permission)
    if filled is not None and filled < permission.last:
        return f"still filling: {filled} of {permission.last}"
    trouble = await service_ready(layout.port(f"{service}.health"))()
    if trouble is not None and trouble.grade is not Grade.DEGRADED:
        return trouble.reason
    return "its relay has not used the permission yet" if filled is None else None


async def _reason_not_shown(layout: "Layout", since: float) -> str | None:
    """Why the gateway may not show what was published since then (`time.monotonic`); None once it does."""
    from deploy.stack.probes import http_get

    try:
        await http_get(layout.port("gateway.health"), "/health/ready")  # refreshes the figure
        _, body = await http_get(layout.port("gateway.health"), "/metrics")
    except (OSError, TimeoutError, ValueError) as error:
        return f"the gateway does not answer: {error or type(error).__name__}"
    found = re.search(rf"^{BEHIND_METRIC} (\S+)$", body.decode(errors="replace"), re.MULTILINE)
    if found is None:
        return f"unknown: the gateway does not tell {BEHIND_METRIC}"
    behind = float(found[1])
    if behind > time.monotonic() - since:
        return f"last caught up {behind:.0f} s ago, before the refill"
    return None
