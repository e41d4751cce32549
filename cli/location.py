"""`wedsync-backup location`: the places that organisations may back up, and back up to.

What can never work is refused when it is added; what works today and may not tomorrow, `test` finds out, with a finding
per check. `remove` forgets a name: what lies at the place is never touched. The running services take up each change at
their next look, without a restart. Secrets come from the environment, a file, standard input or a prompt.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode, exit_code_of
from cli.home import add_home, home_of, home_option
from cli.options import given, nearest
from cli.organisation import require_known, warn_of_strangers
from cli.output import as_documents, columns, say, say_json

if TYPE_CHECKING:
    from chassis.location import Faulty, Location
    from deploy.locations.credentials import Secret
    from deploy.locations.finding import Finding
    from deploy.locations.usage import Usage
    from deploy.stack.layout import Layout

_CREDENTIALS = "where they are read from: env, env:PREFIX, file:PATH, profile:NAME (S3), - (standard input) or ask"
_UNTESTED = "do not look whether the bucket or the database answers now"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = _action(actions, "add", "register a place", named=True)
    add.add_argument("--role", choices=("source", "tier", "target"), required=True, help="what it is used as")
    add.add_argument(
        "--url",
        required=True,
        type=given,
        help="file:///PATH, s3://BUCKET/PREFIX?endpoint=URL&region=NAME or postgres://USER@HOST:PORT/DATABASE",
    )
    add.add_argument("--credentials", metavar="WHERE", type=given, help=_CREDENTIALS)
    add.add_argument("--lock", action="store_true", help="the bucket keeps object locks")
    add.add_argument("--untested", action="store_true", help=_UNTESTED)
    add.add_argument(
        "--beside-other-files", action="store_true", help="register a tier though other files lie at its place"
    )
    _add_organisation(add, "who may use it, `*` for all; may be repeated (default: the home's own)", repeated=True)
    for name, summary in (
        ("list", "what is registered"),
        ("test", "look at a place now: a finding for each check"),
        ("remove", "forget a place; what lies there is never touched"),
    ):
        action = _action(actions, name, summary, named=name != "list")
        _add_organisation(action, "only what this organisation may use")
        if name == "remove":
            action.add_argument("--anyway", action="store_true", help="also where a configuration uses it, or may")
    rotate = _action(actions, "rotate", "give a place other credentials, once they have been tried", named=True)
    rotate.add_argument("--credentials", metavar="WHERE", type=given, required=True, help=_CREDENTIALS)
    rotate.add_argument("--untested", action="store_true", help=_UNTESTED)
    _add_organisation(rotate, "only where this organisation may use it")


def _action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, *, named: bool
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    if named:
        action.add_argument("name", metavar="NAME", type=given, help="what configurations call it")
    action.add_argument("--json", action="store_true", help="one JSON document")
    add_home(action)
    return action


def _add_organisation(action: argparse.ArgumentParser, text: str, *, repeated: bool = False) -> None:
    action.add_argument(
        "--organisation",
        metavar="ID",
        type=given,
        help=text,
        action="append" if repeated else "store",
        default=[] if repeated else None,
    )


def run(arguments: argparse.Namespace) -> int:
    """Add, list, test, remove, rotate."""
    from deploy.stack.layout import Layout

    layout = Layout.find(home_of(arguments))
    actions = {"add": _add, "list": _list, "test": _test, "remove": _remove, "rotate": _rotate}
    if arguments.action not in ("list", "test"):
        layout.require_changeable()
    return actions[arguments.action](layout, arguments)


def _add(layout: "Layout", arguments: argparse.Namespace) -> int:
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.locations import credentials
    from deploy.locations.entry import entry
    from deploy.locations.kept import kept
    from deploy.locations.places import refuse_hiding, refuse_name, refuse_place, with_mount
    from deploy.stack.locations import changed, faulty_entries, registered

    reference = arguments.credentials or (credentials.ASK if arguments.url.startswith("s3:") else None)
    location = entry(
        name=arguments.name,
        role=arguments.role,
        url=arguments.url,
        organisations=arguments.organisation or [layout.remembered.organisation],
        lock=arguments.lock,
        credentials=reference is not None,
    )
    warn_of_strangers(layout, location.organisations)
    if any(each.name == location.name for each in faulty_entries(layout)):
        message = f"{location.name} is the name of a faulty entry in {layout.locations_file}"
        raise PlatformError(errors.LOCATION_IN_USE, message, field="name", hint="Take it away first: location remove.")
    others = registered(layout)
    refuse_name(location, others)
    refuse_place(location, others, layout.home)
    refuse_hiding(location, others)
    location = with_mount(location)
    secret = None if reference is None else credentials.read_secret(reference, location.kind)
    found = _tried(location, secret, others, layout, is_untested=arguments.untested)
    if not arguments.beside_other_files:
        _refuse_among_others(location, found)
    with changed(layout) as change:
        # Somebody may have added another one meanwhile.
        others = registered(layout)
        refuse_name(location, others)
        refuse_place(location, others, layout.home)
        refuse_hiding(location, others)
        if secret is not None:
            credentials.keep(layout, location, secret)
        change(lambda before: [*before, location])
    usage = _usage(layout, location)
    waiting = usage and [identity for identity, owner in usage.configurations if location.is_open_to(owner)]
    if usage is not None and usage.repositories and "tier" in location.roles:
        found.append(kept(location, layout.platform_keys, usage.repositories))
    if arguments.json:
        say_json({"location": _document(location), "findings": as_documents(found), "configurations": waiting})
        return ExitCode.OK
    say(f"{location.name} is registered as a {arguments.role}: {location.url}")
    if location.mount is not None:
        say(f"  its disk is the one that is mounted at {location.mount}: while it is not, nothing is restored there.")
    say(f"  for {', '.join(location.organisations)}; the running services see it at their next look.")
    for finding in found:
        if finding.outcome != "ok":
            say(f"  {finding.outcome}: {finding.detail}. {finding.hint or ''}".rstrip())
    if waiting:
        say(f"  warning: {len(waiting)} configurations name it already, and mean this place from now on:")
        say(f"  {', '.join(waiting[:5])}{' and more' if len(waiting) > 5 else ''}")
    return ExitCode.OK


def _usage(layout: "Layout", location: "Location") -> "Usage | None":
    """Who uses a location, or an earlier one of its name; None where that cannot be known, since nothing runs."""
    from contracts.errors import PlatformError
    from deploy.locations.usage import usage_of
    from deploy.stack.state import running_state

    try:
        running_state(layout.lock_file, layout.state_file)
        return usage_of(layout, location.name)
    except PlatformError:
        return None


def _tried(
    location: "Location", secret: "Secret | None", others: "Sequence[Location]", layout: "Layout", *, is_untested: bool
) -> "list[Finding]":
    """What was found at a place that is going to be used. Raises what it fails by."""
    from contracts.errors import INTERNAL, PlatformError, catalogue
    from deploy.locations.check import beside_tiers, findings
    from deploy.locations.finding import Outcome
    from deploy.locations.places import tiers_inside

    if is_untested and location.kind != "directory":
        inside = tiers_inside(location, others)
        return [beside_tiers(inside)] if inside else []
    found = list(findings(location, secret, others, layout.home))
    for finding in found:
        if finding.outcome is Outcome.FAILED:
            field = {"credentials": "credentials", "lockable": "lock"}.get(finding.check, "url")
            code = catalogue().get(finding.code or "", INTERNAL)
            raise PlatformError(code, f"{location.name}: {finding.detail}", field=field, hint=finding.hint)
    return found


def _refuse_among_others(location: "Location", found: "Sequence[Finding]") -> None:
    """Raise PLACE_IN_USE where a new tier would lie among other people's files and nobody has said that it is meant."""
    from contracts import errors
    from contracts.errors import PlatformError

    for finding in found:
        if finding.code == errors.PLACE_IN_USE.code:
            hint = "Choose an empty place; or, if it is meant to lie among them, say so: --beside-other-files."
            raise PlatformError(errors.PLACE_IN_USE, f"{location.name}: {finding.detail}", field="url", hint=hint)


def _list(layout: "Layout", arguments: argparse.Namespace) -> int:
    from deploy.stack.locations import faulty_entries, registered

    who = arguments.organisation
    if who is not None:
        require_known(layout, who, also=(each for place in registered(layout) for each in place.organisations))
    faulty = [each for each in faulty_entries(layout) if who is None or each.may_be_open_to(who)]
    found = sorted(
        (each for each in registered(layout) if who is None or each.is_open_to(who)), key=lambda each: each.name
    )
    if arguments.json:
        say_json({"locations": [_document(each) for each in found], "faulty": [each.fault for each in faulty]})
        return ExitCode.DEGRADED if faulty else ExitCode.OK
    rows = [("NAME", "ROLE", "KIND", "LOCK", "ORGANISATIONS", "URL")]
    rows += [
        (
            each.name,
            ",".join(each.roles),
            each.kind,
            "yes" if each.lock else "no",
            ",".join(each.organisations),
            each.url,
        )
        for each in found
    ]
    for line in columns(rows):
        say(line)
    for each in faulty:
        say(f"  not in use: {each.fault}. Correct it in {layout.locations_file}, or location remove {each.name}.")
    return ExitCode.DEGRADED if faulty else ExitCode.OK


def _test(layout: "Layout", arguments: argparse.Namespace) -> int:
    from contracts import errors
    from contracts.errors import PlatformError, catalogue
    from deploy.locations import credentials
    from deploy.locations.check import findings
    from deploy.locations.finding import Finding, Outcome
    from deploy.locations.kept import kept
    from deploy.stack.locations import registered

    location = _found(layout, arguments)
    found: list[Finding] = []
    try:
        secret = credentials.kept(layout, location)
    except PlatformError as error:
        found.append(Finding("credentials", Outcome.FAILED, error.message, error.code.code, error.hint))
    else:
        found += findings(location, secret, registered(layout), layout.home)
        # Of a bucket that is not there is to be known, too, whether it was in use: a new one is not the old one then.
        wrong = {each.code for each in found if each.outcome is Outcome.FAILED}
        if "tier" in location.roles and wrong <= {errors.LOCATION_UNUSABLE.code}:
            usage = _usage(layout, location)
            found.append(kept(location, layout.platform_keys, None if usage is None else usage.repositories))
    if arguments.json:
        say_json({"location": location.name, "findings": as_documents(found)})
    else:
        for line in columns([(each.check, each.outcome.value, each.detail) for each in found]):
            say(line)
        for each in found:
            if each.hint and each.outcome is not Outcome.OK:
                say(f"  {each.check}: {each.hint}" + (f" [{each.code}]" if each.code else ""))
    failed = next((each for each in found if each.outcome is Outcome.FAILED), None)
    if failed is not None:
        return exit_code_of(PlatformError(catalogue()[failed.code or "internal"], failed.detail))
    return ExitCode.DEGRADED if any(each.outcome is Outcome.WARNING for each in found) else ExitCode.OK


def _remove(layout: "Layout", arguments: argparse.Namespace) -> int:
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.locations import credentials
    from deploy.stack.locations import OWN, changed, remove_faulty

    if (named := _faulty(layout, arguments)) is not None and named.name not in OWN:
        doubts, _ = _users(layout, named.name, named.may_be_open_to, is_anyway=arguments.anyway)
        remove_faulty(layout, named.name)
        if arguments.json:
            say_json({"removed": named.name, "doubts": doubts, "repositories": None})
        else:
            say(f"The faulty entry of {named.name} is taken away. Its credentials and what lies there stay.")
            for doubt in doubts:
                say(f"  warning: {doubt}")
        return ExitCode.DEGRADED if doubts else ExitCode.OK
    location = _found(layout, arguments)
    if location.name in OWN:
        message = f"{location.name} is the embedded stack's own, and written anew at each start"
        raise PlatformError(errors.LOCATION_IN_USE, message, field="name", hint="Leave it out of configurations.")
    doubts, repositories = _users(layout, location.name, location.is_open_to, is_anyway=arguments.anyway)
    with changed(layout) as change:
        change(lambda before: [each for each in before if each.name != location.name])
        had_secret = credentials.discard(layout, location)
    if arguments.json:
        say_json({"removed": location.name, "doubts": doubts, "repositories": repositories})
    else:
        say(f"{location.name} is no location any more. Nothing of what lies at {location.url} was touched.")
        if repositories:
            say(f"  {repositories} organisations have a repository there: with its key each opens by itself.")
        if had_secret:
            say("  Its credentials were removed here. Withdraw them at the provider, too.")
        for doubt in doubts:
            say(f"  warning: {doubt}")
    return ExitCode.DEGRADED if doubts else ExitCode.OK


def _users(
    layout: "Layout", name: str, is_open_to: "Callable[[str], bool]", *, is_anyway: bool
) -> tuple[list[str], int | None]:
    """What speaks against a removal, and how many repositories lie there. Raises it, unless it is meant anyway."""
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.locations.usage import usage_of
    from deploy.stack.state import running_state

    try:
        running_state(layout.lock_file, layout.state_file)
        usage = usage_of(layout, name)
    except PlatformError as error:
        unknown = f"whether a configuration uses {name} cannot be known: {error.message}"
        if not is_anyway:
            hint = f"Start the platform (wedsync-backup up{home_option(layout.home)}), or remove it with --anyway."
            raise PlatformError(error.code, unknown, hint=hint) from error
        return [unknown], None
    # One whose organisation may not use the location fails as it is.
    shown = [f"{identity} of {owner}" for identity, owner in usage.configurations if is_open_to(owner)]
    if not shown:
        return [], len(usage.repositories)
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    used = f"{name} is used by {len(shown)} configurations, whose runs fail without it: {', '.join(shown[:5])}{more}"
    if not is_anyway:
        raise PlatformError(errors.LOCATION_IN_USE, used, field="name")
    return [used], len(usage.repositories)


def _rotate(layout: "Layout", arguments: argparse.Namespace) -> int:
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.locations import credentials
    from deploy.stack.locations import OWN, registered

    location = _found(layout, arguments)
    if location.name in OWN or location.credentials is None:
        message = f"{location.name} has no credentials that an operator gave it"
        hint = "A folder needs none; those of the embedded stack are its own. To give a place some, add it anew."
        raise PlatformError(errors.INVALID_FIELD, message, field="name", hint=hint)
    secret = credentials.read_secret(arguments.credentials, location.kind)
    found = _tried(location, secret, registered(layout), layout, is_untested=arguments.untested)
    credentials.keep(layout, location, secret)
    if arguments.json:
        say_json({"rotated": location.name, "findings": as_documents(found)})
        return ExitCode.OK
    say(f"{location.name} has other credentials: each run that begins from now on uses them.")
    say("  A run under way goes on with those from before: withdraw them at the provider once it has ended.")
    return ExitCode.OK


def _faulty(layout: "Layout", arguments: argparse.Namespace) -> "Faulty | None":
    """The faulty entry that is meant, if one is."""
    from deploy.stack.locations import faulty_entries

    who = arguments.organisation
    found = (each for each in faulty_entries(layout) if who is None or each.may_be_open_to(who))
    return next((each for each in found if each.name == arguments.name), None)


def _found(layout: "Layout", arguments: argparse.Namespace) -> "Location":
    """The location that is meant. Raises UNKNOWN_LOCATION."""
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.locations.entry import checked_name
    from deploy.stack.locations import registered

    name, who = checked_name(arguments.name), arguments.organisation
    there = [each for each in registered(layout) if who is None or each.is_open_to(who)]
    for each in there:
        if each.name == name:
            return each
    meant = nearest(name, (each.name for each in there))
    hint = f"{meant}wedsync-backup location list{home_option(layout.home)} shows those that there are."
    if (faulty := _faulty(layout, arguments)) is not None:
        raise PlatformError(errors.LOCATIONS_UNREADABLE, faulty.fault, field="name", hint=hint)
    open_to = f" that is open to {who}" if who else ""
    raise PlatformError(errors.UNKNOWN_LOCATION, f"there is no location {name}{open_to}", field="name", hint=hint)


def _document(location: "Location") -> dict[str, object]:
    """What is registered; a secret is no part of it."""
    return {
        "name": location.name,
        "roles": list(location.roles),
        "kind": location.kind,
        "url": location.url,
        "organisations": list(location.organisations),
        "region": location.region,
        "lock": location.lock,
        "mount": location.mount,
        "hasCredentials": location.credentials is not None,
    }
