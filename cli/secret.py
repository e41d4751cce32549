"""`wedsync-backup secret`: what notification channels of an organisation are signed with, or sent by.

A channel names a secret; what is in it only operators write, and nobody reads over the API. Each attempt to send reads
it anew, so that a change needs no restart.
"""

import argparse
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of
from cli.options import given
from cli.organisation import require_known
from cli.output import say, say_json

if TYPE_CHECKING:
    from deploy.stack.layout import Layout

_FROM = (
    "where it is read from: new (a key for webhooks is made, the default), file:PATH, env:NAME, - (standard input), ask"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, summary in (
        ("add", "add a secret; a key that is made is printed once"),
        ("list", "which there are, by their names"),
        ("rotate", "make another key for webhooks; the one before signs as well until the next time"),
        ("remove", "remove a secret: what channels that name it are to send waits"),
    ):
        action = actions.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if name != "list":
            action.add_argument("name", metavar="NAME", type=given, help="what channels call it")
        if name == "add":
            action.add_argument("--from", dest="origin", metavar="WHERE", type=given, default="new", help=_FROM)
            action.add_argument("--replace", action="store_true", help="also where there is one of this name")
        action.add_argument(
            "--organisation", metavar="ID", type=given, help="whose it is (default: the home's own organisation)"
        )
        action.add_argument("--json", action="store_true", help="one JSON document")
        add_home(action)


def run(arguments: argparse.Namespace) -> int:
    """Add, list, rotate, remove."""
    from deploy.stack.layout import Layout

    layout = Layout.find(home_of(arguments))
    organisation = arguments.organisation or layout.remembered.organisation
    require_known(layout, organisation)
    if arguments.action != "list":
        from deploy.locations.named_secrets import require_name

        layout.require_changeable()
        require_name(arguments.name)
    actions = {"add": _add, "list": _list, "rotate": _rotate, "remove": _remove}
    return actions[arguments.action](layout, organisation, arguments)


def _add(layout: "Layout", organisation: str, arguments: argparse.Namespace) -> int:
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.locations import named_secrets

    if arguments.name in named_secrets.names(layout, organisation) and not arguments.replace:
        raise PlatformError(
            errors.SECRET_TAKEN,
            f"{organisation} has a secret {arguments.name}",
            field="name",
            hint="Choose another name, or add --replace: channels that name it use the new one from then on.",
        )
    text = named_secrets.read(arguments.origin)
    named_secrets.keep(layout, organisation, arguments.name, text)
    return _told(organisation, arguments, text if arguments.origin == named_secrets.NEW else None, "is kept")


def _rotate(layout: "Layout", organisation: str, arguments: argparse.Namespace) -> int:
    from deploy.locations import named_secrets

    return _told(organisation, arguments, named_secrets.rotated(layout, organisation, arguments.name), "has a new key")


def _remove(layout: "Layout", organisation: str, arguments: argparse.Namespace) -> int:
    from deploy.locations import named_secrets

    named_secrets.discard(layout, organisation, arguments.name)
    return _told(organisation, arguments, None, "is removed")


def _list(layout: "Layout", organisation: str, arguments: argparse.Namespace) -> int:
    from deploy.locations import named_secrets

    found = named_secrets.names(layout, organisation)
    if arguments.json:
        say_json({"secrets": found})
        return ExitCode.OK
    for name in found:
        say(name)
    return ExitCode.OK


def _told(organisation: str, arguments: argparse.Namespace, key: str | None, what: str) -> int:
    if arguments.json:
        say_json({"secret": {"name": arguments.name, "organisation": organisation, "key": key}})
        return ExitCode.OK
    say(f"The secret {arguments.name} of {organisation} {what}.")
    if key is not None:
        say(f"The receiver judges signatures by it; it is not shown again: {key}")
    return ExitCode.OK
