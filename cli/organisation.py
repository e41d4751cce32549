"""`wedsync-backup organisation`: add a tenant with what it needs, and say how its people get in.

An organisation is the boundary of everything: its ids, its keys and its repositories are its own. People belong to it
by the claim `app_metadata.organisation_id` of their token.
"""

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of, home_option
from cli.options import given, nearest
from cli.output import columns, say, say_json

if TYPE_CHECKING:
    from deploy.registered import Organisation
    from deploy.stack.layout import Layout


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "make what an organisation needs, and say how its people get in"
    add = actions.add_parser("add", help=summary, description=summary, allow_abbrev=False)
    add.add_argument("name", metavar="NAME|ID", type=given, help="what people call it, or its id")
    add.add_argument(
        "--id", metavar="ID", type=given, help="its id (default: NAME where it can be one, else a new one)"
    )
    listing = actions.add_parser("list", help="which there are", description="Which there are.", allow_abbrev=False)
    for each in (add, listing):
        each.add_argument("--json", action="store_true", help="one JSON document")
        add_home(each)


def run(arguments: argparse.Namespace) -> int:
    """Add, or list."""
    from deploy.stack.layout import Layout

    layout = Layout.find(home_of(arguments))
    if arguments.action == "list":
        return _list(layout, for_machines=arguments.json)
    layout.require_changeable()
    return _add(layout, arguments)


def require_known(layout: "Layout", identity: str, *, also: Iterable[str] = ()) -> None:
    """Raise UNKNOWN_ORGANISATION of one that nobody has added and that nothing is here of; HOME_UNUSABLE.

    `also`: those of whom something is here that the home's lists do not tell.
    """
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.locations.organisations import known

    there = {layout.remembered.organisation, layout.remembered.demo_organisation, *also}
    if identity in there:
        return
    there.update(each.id for each in known(layout))
    if identity in there:
        return
    option = home_option(layout.home)
    raise PlatformError(
        errors.UNKNOWN_ORGANISATION,
        f"no organisation {identity} was added here",
        field="organisation",
        hint=f"{nearest(identity, there)}Those that there are: wedsync-backup organisation list{option}. Is it a new "
        f"one, add it first: wedsync-backup organisation add {identity}{option}",
    )


def warn_of_strangers(layout: "Layout", identities: Iterable[str]) -> None:
    """Say on standard error which organisations nobody has added here: an identity provider may know more of them."""
    from contracts.errors import PlatformError
    from deploy.locations.organisations import known

    try:
        there = {each.id for each in known(layout)}
    except (PlatformError, OSError):
        return  # Who cannot be asked now is told where the list itself is needed.
    for each in identities:
        if each not in there and each != "*":
            print(
                f"warning: no organisation {each} was added here; is it spelt as it is meant? "
                f"wedsync-backup organisation list{home_option(layout.home)}",
                file=sys.stderr,
            )


def _add(layout: "Layout", arguments: argparse.Namespace) -> int:
    from deploy.locations.organisations import add

    organisation = add(layout, arguments.name, arguments.id)
    document = _document(layout, organisation)
    if arguments.json:
        say_json({"organisation": document})
        return ExitCode.OK
    keys, option = layout.platform_keys, home_option(layout.home)
    say(f"{organisation.name} is an organisation: {organisation.id}")
    say(f"  keys       from its first request on, {keys / 'organisations' / organisation.id}")
    say(f"             and, from its first backup on, {keys / 'repositories' / organisation.id}.key: copy both")
    say(f"  secrets    {layout.credentials / organisation.id}")
    say(f"  locations  {', '.join(document['locations']) or 'none'}")
    say(
        f"  a source   wedsync-backup location add NAME --role source --url file:///PATH"
        f" --organisation {organisation.id}{option}"
    )
    say(f"  a token    wedsync-backup token --role owner --organisation {organisation.id}{option}")
    say(f'             (of your identity provider: app_metadata.organisation_id is "{organisation.id}")')
    return ExitCode.OK


def _list(layout: "Layout", *, for_machines: bool) -> int:
    from deploy.locations.organisations import known

    found = [_document(layout, each) for each in known(layout)]
    if for_machines:
        say_json({"organisations": found})
        return ExitCode.OK
    rows = [("ID", "NAME", "FOR", "ADDED (UTC)", "KEYS", "LOCATIONS")]
    rows += [
        (
            each["id"],
            each["name"] or "-",
            _OF_THE_HOME.get(each["use"], "-"),
            (each["added"] or "-")[:16].replace("T", " "),
            _keys(each),
            ",".join(each["locations"]),
        )
        for each in found
    ]
    for line in columns(rows):
        say(line)
    return ExitCode.OK


_OF_THE_HOME = {"home": "this home", "demo": "the demo"}
"""The organisations that nobody has added, and whose they are: by their ids alone nobody would tell them apart."""


def _use(layout: "Layout", identity: str) -> str | None:
    remembered = layout.remembered
    return {remembered.organisation: "home", remembered.demo_organisation: "demo"}.get(identity)


def _keys(document: dict[str, Any]) -> str:
    """Both kinds of an organisation's keys: made with its first request, and with its first backup."""
    if document["repositoryKeyLost"]:
        return "repository's lost"
    if not document["hasKeys"]:
        return "repository alone" if document["hasRepositoryKey"] else "no"
    return "yes" if document["hasRepositoryKey"] else "no backup yet"


def _document(layout: "Layout", organisation: "Organisation") -> dict[str, Any]:
    from deploy.stack.locations import registered
    from vault.key_files import name_of, was_made

    has_key = (layout.platform_keys / name_of(organisation.id)).is_file()
    return {
        "id": organisation.id,
        "name": organisation.name,
        "use": _use(layout, organisation.id),
        "added": None if organisation.added is None else organisation.added.isoformat(),
        "hasKeys": (layout.platform_keys / "organisations" / organisation.id / "organisation").is_dir(),
        "hasRepositoryKey": has_key,
        "repositoryKeyLost": not has_key and was_made(layout.platform_keys, organisation.id),
        "locations": sorted(each.name for each in registered(layout) if each.is_open_to(organisation.id)),
    }
