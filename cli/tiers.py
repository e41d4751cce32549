"""`wedsync-backup tiers`: which organisation's repository was begun at which location, and beginning one anew.

A tier that was in use and is empty or gone is not filled by surprise, since that may be a disk that is not mounted.
`begin-anew` says that it is gone for good: what was begun at the location is forgotten, and the next run of each
organisation fills it from the other tiers. (A store of the embedded stack is first made again by `up --begin-anew`.)
Who has no other tier begins with nothing then; so does an organisation that is named, where its record was lost too.

A tier that shows an older state than it had takes nothing either. `accept-history` says that the older one counts: how
far the log was seen is forgotten, and the next run goes on from what is there. A tier that has what was last seen has
nothing to accept: without that memory an older copy that is put there later would be told by nobody.
"""

import argparse
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of, home_option
from cli.options import given, nearest, organisation
from cli.organisation import require_known
from cli.output import columns, say, say_json

if TYPE_CHECKING:
    from deploy.stack.layout import Layout

FORGET = """
    WITH gone AS (
        DELETE FROM executor.begun_repositories
        WHERE location = %(location)s AND organisation = coalesce(%(organisation)s, organisation)
        RETURNING organisation
    ), unfinished AS (
        DELETE FROM executor.intended_repositories
        WHERE location = %(location)s AND organisation = coalesce(%(organisation)s, organisation)
        RETURNING organisation
    ), forgotten AS (
        SELECT organisation FROM gone UNION SELECT organisation FROM unfinished UNION SELECT %(named)s::text
        WHERE %(named)s::text IS NOT NULL
    ), anew AS (
        INSERT INTO executor.new_beginnings (organisation)
        SELECT organisation FROM forgotten WHERE NOT EXISTS (
            SELECT FROM executor.begun_repositories other
            WHERE other.organisation = forgotten.organisation AND other.location <> %(location)s
        ) ON CONFLICT DO NOTHING
    )
    SELECT organisation FROM forgotten ORDER BY 1
"""
SEEN = """
    SELECT organisation, head_number, encode(head_digest, 'hex') FROM executor.begun_repositories
    WHERE location = %(location)s AND organisation = coalesce(%(organisation)s, organisation)
        AND head_number IS NOT NULL
    ORDER BY 1
"""
ACCEPT = """
    UPDATE executor.begun_repositories SET tier_id = NULL, head_number = NULL, head_digest = NULL, trouble = NULL
    WHERE location = %(location)s AND organisation = coalesce(%(organisation)s, organisation)
    RETURNING organisation
"""
REMEMBERED = """
    SELECT location, organisation FROM executor.begun_repositories
    UNION SELECT location, organisation FROM executor.intended_repositories
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
    anew.add_argument(
        "--anyway",
        action="store_true",
        help="also where the location shows some of it: all that is gone, or the one that --organisation names",
    )
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
    _require_known(layout, arguments.location, arguments.organisation)
    if arguments.action == "accept-history":
        return _accept_history(layout, arguments.location, arguments.organisation)
    return _begin_anew(layout, arguments.location, arguments.organisation, is_anyway=arguments.anyway)


def _require_known(layout: "Layout", location: str, organisation: str | None) -> None:
    """Raise UNKNOWN_LOCATION, UNKNOWN_ORGANISATION of what there is nothing of: of a slip nobody believes it was done.

    A location that is registered no more is known as long as something that was begun there is remembered.
    """
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.stack.locations import faulty_entries, registered
    from vault.key_files import name_of

    remembered = [(str(at), str(owner)) for at, owner in _query(layout, REMEMBERED, {})]
    names = {each.name for each in registered(layout)} | {at for at, _ in remembered}
    names.update(each.name for each in faulty_entries(layout) if each.name)
    if location not in names:
        hint = (
            f"{nearest(location, names)}wedsync-backup location list{home_option(layout.home)} shows those there are."
        )
        message = f"there is no location {location}: nothing was done"
        raise PlatformError(errors.UNKNOWN_LOCATION, message, field="location", hint=hint)
    if organisation is not None:
        owners = {owner for _, owner in remembered}
        if (layout.platform_keys / name_of(organisation)).is_file():
            owners.add(organisation)
        require_known(layout, organisation, also=owners)


def _list(layout: "Layout", *, for_machines: bool) -> int:
    from deploy.locations.kept import LOOKED_FOR, Look, Shown, look
    from deploy.locations.usage import begun
    from deploy.stack.locations import registered

    found = begun(layout)
    looks: dict[str, Look] = {}
    for place in registered(layout):
        here = [each for at, _, each in found if at == place.name][:LOOKED_FOR]
        looks[place.name] = look(place, layout.platform_keys, here)
    shown = [
        looks[at].shown.get(each.organisation, Shown.UNKNOWN) if at in looks else Shown.UNKNOWN for at, _, each in found
    ]
    rows = [
        (at, each.organisation, each.repository_id or "unknown", since, state.value)
        for (at, since, each), state in zip(found, shown, strict=True)
    ]
    # One that nobody was asked about, beyond so many or registered no more, is unknown as well, and no trouble.
    silent = {at: _why(each.error) for at, each in looks.items() if each.error is not None}
    if for_machines:
        names = ("location", "organisation", "repository", "begun", "shows")
        repositories = [dict(zip(names, map(str, row), strict=True)) for row in rows]
        say_json({"repositories": repositories, "unknown": silent})
    else:
        for at, why in silent.items():
            say(f"{at}: what it shows is unknown: {why}")
        head = ("LOCATION", "ORGANISATION", "REPOSITORY", "BEGUN (UTC)", "SHOWS")
        for line in columns([head, *((*row[:3], f"{row[3]:%Y-%m-%d %H:%M}", row[4]) for row in rows)], right=()):
            say(line)
    return ExitCode.OK if not silent and set(shown) <= {Shown.THERE, Shown.UNKNOWN} else ExitCode.DEGRADED


def _why(error: Exception) -> str:
    """Why a place could not be looked at."""
    return str(getattr(error, "message", None) or getattr(error, "strerror", None) or type(error).__name__)


def _begin_anew(layout: "Layout", location: str, organisation: str | None, *, is_anyway: bool) -> int:
    from deploy.locations.kept import Begun, Shown, look, named, to_begin_anew
    from deploy.locations.usage import begun
    from deploy.stack.locations import registered
    from vault.key_files import name_of

    remembered = [(at, each.organisation) for at, _, each in begun(layout)]
    owners = [owner for at, owner in remembered if at == location and organisation in (None, owner)]
    elsewhere = _elsewhere(layout, location, remembered)
    # The record may be lost: who has a key had backups, and begins with nothing if that is said of it by name.
    is_forgotten = organisation is not None and organisation not in {owner for _, owner in remembered}
    lost = organisation if is_forgotten and (layout.platform_keys / name_of(str(organisation))).is_file() else None
    meant: list[str] | None = None
    is_seen = True
    for place in registered(layout):
        here = owners if place.name == location else []
        if lost is not None and "tier" in place.roles and place.is_open_to(lost):
            here = [lost]
        if not here or (organisation is not None and is_anyway):
            continue
        found = look(place, layout.platform_keys, [Begun(owner) for owner in here])
        if found.error is not None:
            is_seen = False
            say(f"{location}: whether it is gone could not be seen: {_why(found.error)}")
        if found.of(Shown.THERE):
            option = home_option(layout.home)
            meant = to_begin_anew(place.name, found, organisation, is_anyway=is_anyway, option=option)
            say(f"{location}: that of {named(found.of(Shown.THERE))} is there, and stays remembered")
    forgotten = (
        forget(layout, location, organisation, named=lost)
        if meant is None
        else [each for owner in meant for each in forget(layout, location, owner)]
    )
    for owner in forgotten:
        if owner not in elsewhere:
            say(
                f"{location}: {owner} has no other tier: its next run begins with nothing, as nobody has what was there"
            )
        elif elsewhere[owner][0]:
            there = ", ".join(elsewhere[owner][0])
            say(f"{location}: the repository of {owner} is begun anew by its next run, from the other tiers ({there})")
        else:
            away = ", ".join(elsewhere[owner][1])
            say(
                f"{location}: the repository of {owner} is begun anew from its other tiers, and none of them shows it "
                f"now ({away}): bring one back; are they gone as well, begin-anew for each of them"
            )
    if not forgotten:
        say(f"{location}: nothing was begun there; nothing is to be done")
        return ExitCode.NOT_FOUND
    is_well = is_seen and all(owner not in elsewhere or elsewhere[owner][0] for owner in forgotten)
    return ExitCode.OK if is_well else ExitCode.DEGRADED


def _elsewhere(layout: "Layout", location: str, begun: list[tuple[str, str]]) -> dict[str, tuple[list[str], list[str]]]:
    """By owner of what was begun at a location: which other ones show its repository now, and which do not."""
    from deploy.locations.kept import Begun, Shown, look
    from deploy.stack.locations import registered

    places = {each.name: each for each in registered(layout)}
    owners = {owner for at, owner in begun if at == location}
    found: dict[str, tuple[list[str], list[str]]] = {}
    for other in sorted({at for at, owner in begun if at != location and owner in owners}):
        here = [owner for at, owner in begun if at == other and owner in owners]
        there: list[str] = []
        if other in places:
            there = look(places[other], layout.platform_keys, [Begun(owner) for owner in here]).of(Shown.THERE)
        for owner in here:
            found.setdefault(owner, ([], []))[owner not in there].append(other)
    return found


def _accept_history(layout: "Layout", location: str, organisation: str | None) -> int:
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.locations.history import older, require_unwitnessed
    from deploy.locations.usage import begun
    from deploy.stack.locations import registered

    seen = _query(layout, SEEN, {"location": location, "organisation": organisation})
    if not seen:
        say(f"{location}: no log was seen there; nothing is to be done")
        return ExitCode.NOT_FOUND
    place = next((each for each in registered(layout) if each.name == location), None)
    if place is None:
        raise PlatformError(errors.UNKNOWN_LOCATION, f"no location is registered as {location}", field="location")
    heads = [(str(owner), int(str(number)), bytes.fromhex(str(digest))) for owner, number, digest in seen]
    owners = older(place, layout.platform_keys, heads)
    remembered = {(at, each.organisation) for at, _, each in begun(layout)}
    others = {
        owner: [each for each in registered(layout) if each.name != location and (each.name, owner) in remembered]
        for owner in owners
    }
    unknown = {
        owner: why
        for owner in owners
        if (why := require_unwitnessed(place, others[owner], layout.platform_keys, owner))
    }
    for owner in owners:
        _query(layout, ACCEPT, {"location": location, "organisation": owner})
        say(f"{location}: the next run of {owner} goes on from what the tier shows then")
        if owner in unknown:
            say(
                f"{location}: whether other tiers of {owner} have seen the newer state is unknown ({unknown[owner]}):"
                " if its next run is tier-rolled-back again, see docs/operations.md, section 6, a tier went back"
            )
    return ExitCode.DEGRADED if unknown else ExitCode.OK


def forget(layout: "Layout", location: str, organisation: str | None, *, named: str | None = None) -> list[str]:
    """Forget that repositories were begun at a location (None: everybody's); whose they were.

    `named`: of whom nothing is remembered at all, and who begins with nothing.
    """
    rows = _query(layout, FORGET, {"location": location, "organisation": organisation, "named": named})
    return [str(row[0]) for row in rows]


def _query(layout: "Layout", query: str, parameters: dict[str, str | None]) -> list[tuple[object, ...]]:
    import psycopg

    from chassis.postgres.database import translated
    from deploy.stack.postgres import admin_dsn
    from deploy.stack.secrets import read_secrets

    dsn = admin_dsn(layout, read_secrets(layout))
    with translated(), psycopg.connect(dsn, connect_timeout=4) as connection:
        return connection.execute(query.encode(), parameters).fetchall()
