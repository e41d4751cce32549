"""`wedsync-backup topology`: the declared streams and consumers, and whether the server has them as declared.

`show` lists what is declared, `compare` what differs (ends with 10 where something does), `apply` creates what
is missing and updates what differs. Nothing here deletes or purges.
"""

import argparse
import asyncio
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of

if TYPE_CHECKING:
    from deploy.stack.layout import Layout


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, summary in (
        ("show", "list the declared streams and consumers"),
        ("compare", "list what the server has otherwise"),
        ("apply", "make the server equal to the declaration"),
    ):
        add_home(actions.add_parser(name, help=summary, description=summary))


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for."""
    if arguments.action == "show":
        return _show()
    from deploy.stack.layout import Layout

    layout = Layout.find(home_of(arguments))
    return asyncio.run(_compare(layout) if arguments.action == "compare" else _apply(layout))


def _show() -> int:
    from contracts.streams import CONSUMERS, STREAMS

    for stream in STREAMS:
        kind = "for good" if stream.durable else "latest only"
        print(f"stream   {stream.name:<22}{kind:<12}{', '.join(stream.subjects)}")
    for consumer in CONSUMERS:
        print(f"consumer {consumer.durable_name:<36}{consumer.stream:<18}{', '.join(consumer.subjects)}")
    return ExitCode.OK


async def _compare(layout: "Layout") -> int:
    from chassis.bus.topology import compare
    from deploy.stack.nats import operator_connection

    async with operator_connection(layout) as client:
        differences = await compare(client.jetstream())
    for difference in differences:
        actual = "is missing" if difference.actual is None else f"is {difference.actual}"
        print(f"{difference.subject}: {difference.setting} {actual}, declared is {difference.declared}")
    if not differences:
        print("The server has everything as declared.")
    return ExitCode.DIFFERENT if differences else ExitCode.OK


async def _apply(layout: "Layout") -> int:
    from deploy.stack.nats import apply_topology, operator_connection

    async with operator_connection(layout) as client:
        changes = await apply_topology(layout, client)
    for change in changes:
        print(change)
    if not changes:
        print("Nothing was to be changed.")
    return ExitCode.OK
