"""`wedsync-backup refill SERVICE`: publish a service's record again into a stream that was lost or replaced.

A relay never fills an empty or foreign stream by surprise, since that may be the sign of a wrong server or of
a record that was restored to an earlier day. This command says that it is meant: it creates missing streams
and consumers, permits the refill, and waits until the relay has published everything.
"""

import argparse
import asyncio
import time
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of

if TYPE_CHECKING:
    from deploy.stack.layout import Layout

ALL = "all"
SERVICES = ("gateway", "config", "executor")
POLL_SECONDS = 0.2


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_home(parser)
    parser.add_argument("service", choices=(*SERVICES, ALL), help="whose stream")
    parser.add_argument(
        "--new-incarnation",
        action="store_true",
        help="begin a new log: only for a record that was restored to an earlier time than the stream",
    )
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="how long to wait (default 60)")


def run(arguments: argparse.Namespace) -> int:
    """Permit the refill, wait for it."""
    from deploy.stack.layout import Layout
    from deploy.stack.state import running_state

    layout = Layout.find(home_of(arguments))
    running_state(layout.lock_file, layout.state_file)
    services = SERVICES if arguments.service == ALL else (arguments.service,)
    return asyncio.run(_refill(layout, services, arguments.new_incarnation, arguments.timeout))


async def _refill(layout: "Layout", services: tuple[str, ...], new_incarnation: bool, seconds: float) -> int:
    from chassis.outbox import request_refill
    from chassis.topology import apply
    from deploy.stack.nats import readers, topology_connection
    from deploy.stack.postgres import admin_dsn
    from deploy.stack.secrets import read_secrets

    async with topology_connection(layout) as client:
        for change in await apply(client.jetstream(), readers=readers(layout)):
            print(f"{change.action} {change.what}")
    dsn = admin_dsn(layout, read_secrets(layout))
    for service in services:
        await request_refill(dsn, service, new_incarnation=new_incarnation)
        print(f"{service}: permitted to publish its record again")
    done = True
    for service in services:
        reason = await _reason_not_ready(layout, service, seconds)
        print(f"{service}: {'ready' if reason is None else f'not ready yet: {reason}'}")
        done = done and reason is None
    return ExitCode.OK if done else ExitCode.DEGRADED


async def _reason_not_ready(layout: "Layout", service: str, seconds: float) -> str | None:
    """Why a service is not ready after so many seconds; None as soon as it is."""
    from deploy.stack.probes import Grade, service_ready

    probe = service_ready(layout.port(f"{service}.health"))
    deadline = time.monotonic() + seconds
    while True:
        trouble = await probe()
        if trouble is None or trouble.grade is Grade.DEGRADED:
            return None
        if time.monotonic() > deadline:
            return trouble.reason
        await asyncio.sleep(POLL_SECONDS)
