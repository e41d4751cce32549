"""`wedsync-backup tiers`: which organisation's repository was begun at which location, and beginning one anew.

A tier that was in use and is empty or gone is not filled by surprise, since that may be a disk that is not mounted.
`begin-anew` says that it is gone for good: what was begun at the location is forgotten, and the next run of each
organisation fills it from the other tiers. (A store of the embedded stack is first made again by `up --begin-anew`.)

A tier that shows an older state than it had takes nothing either. `accept-history` says that the older one counts: how
far the log was seen is forgotten, and the next run goes on from what is there.
"""

import argparse
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of
from cli.options import given, organisation
from cli.output import columns, say, say_json

if TYPE_CHECKING:
    from deploy.stack.layout import Layout

_LIST = """
    SELECT location, organisation, coalesce(nullif(repository_id, ''), 'unknown'), begun_at
    FROM executor.begun_repositories
    ORDER BY location, begun_at, organisation
"""
_FORGET = """
    DELETE FROM executor.begun_repositories
    WHERE location = %(location)s AND organisation = coalesce(%(organisation)s, organisation)
    RETURNING organisation
"""
ACCEPT = """
    UPDATE executor.begun_repositories SET tier_id = NULL, head_number = NULL, head_digest = NULL
    WHERE location = %(location)s AND organisation = coalesce(%(organisation)s, organisation)
    RETURNING organisation
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what was begun where", description="What was begun where.")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    anew = actions.add_parser(
        "begin-anew",
        help="a location's data is gone for good: let the next runs fill it again",
        description="A location's data is gone for good: let the next runs fill it again from the other tiers.",
    )
    accept = actions.add_parser(
        "accept-history",
        help="a location's data was put back to an older state on purpose: let the next runs go on from it",
        description="A location's data was put back to an older state on purpose: let the next runs go on from it. "
        "What was committed there since is lost. Are there other tiers, `repo repair --accept-history` comes first.",
    )
    for each in (anew, accept):
        each.add_argument(
            "location", metavar="LOCATION", type=given, help="its name in the registry, as `tiers list` shows it"
        )
        each.add_argument("--organisation", metavar="ID", type=organisation, help="only this organisation's repository")
    anew.add_argument("--anyway", action="store_true", help="also where the location shows what was begun there")
    for each in (listing, anew, accept):
        add_home(each)


def run(arguments: argparse.Namespace) -> int:
    """List, begin anew, or accept an older state."""
    from deploy.stack.layout import Layout
    from deploy.stack.state import running_state

    layout = Layout.find(home_of(arguments))
    running_state(layout.lock_file, layout.state_file)
    if arguments.action == "list":
        return _list(layout, for_machines=arguments.json)
    if arguments.action == "accept-history":
        return _accept_history(layout, arguments.location, arguments.organisation)
    return _begin_anew(layout, arguments.location, arguments.organisation, is_anyway=arguments.anyway)


def _list(layout: "Layout", *, for_machines: bool) -> int:
    found = _query(layout, _LIST, {})
    if for_machines:
        names = ("location", "organisation", "repository", "begun")
        say_json({"repositories": [dict(zip(names, map(str, row), strict=True)) for row in found]})
        return ExitCode.OK
    rows = [("LOCATION", "ORGANISATION", "REPOSITORY", "BEGUN (UTC)")]
    rows += [
        (str(location), str(owner), str(identity), f"{begun:%Y-%m-%d %H:%M}")
        for location, owner, identity, begun in found
    ]
    for line in columns(rows, right=()):
        say(line)
    return ExitCode.OK


def _begin_anew(layout: "Layout", location: str, organisation: str | None, *, is_anyway: bool) -> int:
    begun = [(str(at), str(owner)) for at, owner, *_ in _query(layout, _LIST, {})]
    owners = [owner for at, owner in begun if at == location and organisation in (None, owner)]
    if not is_anyway:
        _refuse_there(layout, location, owners)
    elsewhere = {owner for at, owner in begun if at != location}
    forgotten = forget(layout, location, organisation)
    for owner in forgotten:
        if owner in elsewhere:
            say(f"{location}: the repository of {owner} is begun anew by its next run, from the other tiers")
        else:
            say(
                f"{location}: {owner} has no other tier: its next run begins with nothing, as nobody has what was there"
            )
    if not forgotten:
        say(f"{location}: nothing was begun there; nothing is to be done")
        return ExitCode.NOT_FOUND
    return ExitCode.OK


def _refuse_there(layout: "Layout", location: str, owners: list[str]) -> None:
    """Raise LOCATION_IN_USE where a tier shows what was begun there: without its memory it has no guard either."""
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.locations.check import still_there
    from deploy.stack.locations import registered

    found = next((each for each in registered(layout) if each.name == location), None)
    there = still_there(found, layout.platform_keys, owners) if found is not None and owners else []
    if there:
        raise PlatformError(
            errors.LOCATION_IN_USE,
            f"{location} is not gone: it answers, and has the repository of {', '.join(there[:5])}",
            hint="Nothing was forgotten. Is it damaged: docs/operations.md, section 6. To fill it from nothing, "
            "move what lies there aside first. Are they others' repositories, and to count from now on: --anyway.",
        )


def _accept_history(layout: "Layout", location: str, organisation: str | None) -> int:
    accepted = _query(layout, ACCEPT, {"location": location, "organisation": organisation})
    for (owner,) in accepted:
        say(f"{location}: the next run of {owner} goes on from what the tier shows then")
    if not accepted:
        say(f"{location}: nothing was begun there; nothing is to be done")
        return ExitCode.NOT_FOUND
    return ExitCode.OK


def forget(layout: "Layout", location: str, organisation: str | None) -> list[str]:
    """Forget that repositories were begun at a location (None: everybody's); whose they were."""
    rows = _query(layout, _FORGET, {"location": location, "organisation": organisation})
    return [str(row[0]) for row in rows]


def _query(layout: "Layout", query: str, parameters: dict[str, str | None]) -> list[tuple[object, ...]]:
    import psycopg

    from chassis.postgres.database import translated
    from deploy.stack.postgres import admin_dsn
    from deploy.stack.secrets import read_secrets

    dsn = admin_dsn(layout, read_secrets(layout))
    with translated(), psycopg.connect(dsn, connect_timeout=10) as connection:
        return connection.execute(query.encode(), parameters).fetchall()
