"""`repo pins`: who reads of a repository, and so keeps a prune from deleting what he reads."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cli.exit_codes import ExitCode, exit_code_of
from cli.output import moment, say, say_json
from cli.repo_session import opened, tier_states
from repository.errors import NoUsableTier, RepositoryError
from repository.opened.repository import Repository
from repository.retention.pin_watch import PinFound, look, release
from repository.upkeep.check_report import why_not


def show(arguments: argparse.Namespace) -> int:
    """Each pin, who holds it, and since when he was not seen to renew it."""
    found: list[PinFound] = []
    unknown: dict[str, str] = {}
    errors: list[RepositoryError] = []
    with opened(arguments, only_reads=True, needed=arguments.only) as repository:
        tiers = [tier for tier in repository.tiers if not arguments.only or tier.name in arguments.only]
        for tier in tiers:
            if not tier.is_readable:
                unknown[tier.name] = why_not(tier)
                continue
            try:
                found += look(repository, tier, is_noted=False)
            except RepositoryError as error:
                unknown[tier.name] = f"{error.code}: {error}"
                errors.append(error)
        states = tier_states(repository)
    if arguments.json:
        say_json({"pins": [document_of(each) for each in found], "unknown": unknown, "states": states})
    else:
        for each in found:
            say(f"{each.tier}: {in_words(each)}")
        if not found and not unknown:
            say("nothing is pinned")
        for name, why in unknown.items():
            say(f"{name}: not known, {why}")
    if errors and len(unknown) == len(tiers):
        return exit_code_of(NoUsableTier.because("no tier tells of its pins", errors))
    return ExitCode.DEGRADED if unknown or any(each.pin is None for each in found) else ExitCode.OK


def let_go(arguments: argparse.Namespace) -> int:
    """Delete a pin: what it kept, the next prune may delete."""
    with opened(arguments, needed=arguments.only) as repository:
        done = release(repository, arguments.pin, arguments.only)
        wanted = [tier for tier in repository.tiers if not arguments.only or tier.name in arguments.only]
        left_out = {tier.name: why_not(tier) for tier in wanted if not tier.is_ready}
    failed = {name: error for name, error in done.items() if error is not None}
    gone = [name for name in done if name not in failed]
    if arguments.json:
        codes = {name: error.code for name, error in failed.items()}
        say_json({"released": gone, "failed": codes, "left_out": left_out})
    else:
        if gone:
            say(f"let go on {', '.join(gone)}; whoever still reads may meet what a prune has deleted")
        for name, error in failed.items():
            print(f"{name}: NOT let go: {error} [{error.code}]\n  {error.hint}", file=sys.stderr)
        for name, why in left_out.items():
            print(f"{name}: left out, {why}", file=sys.stderr)
    if failed and not gone:
        return exit_code_of(next(iter(failed.values())))
    return ExitCode.DEGRADED if failed or left_out else ExitCode.OK


def unreadable_pins(repository: Repository, only: Sequence[str]) -> list[str]:
    """In a line each, the pins that cannot be read, or that a tier does not tell of."""
    lines: list[str] = []
    for tier in repository.readable_tiers():
        if only and tier.name not in only:
            continue
        try:
            found = look(repository, tier, is_noted=False)
        except RepositoryError as error:
            lines.append(f"{tier.name}: its pins are not known: {error} [{error.code}]")
            continue
        lines += [f"{tier.name}: {in_words(each)}" for each in found if each.pin is None]
    return lines


def say_unpinned(unpinned: Mapping[str, str]) -> None:
    """Where nothing was held while it was read: a prune beside may have taken something."""
    for name, why in unpinned.items():
        print(f"{name}: a prune may delete what is read there meanwhile: no pin holds it ({why})", file=sys.stderr)


def document_of(found: PinFound) -> dict[str, object]:
    """A pin as JSON."""
    pin = found.pin
    return {
        "tier": found.tier,
        "id": found.id.hex(),
        "holder": pin.holder if pin else None,
        "since": _date(datetime.fromtimestamp(pin.time_ns / 1e9, UTC)) if pin else None,
        "snapshots": [each.hex() for each in pin.snapshots] if pin else [],
        "everything": pin is None or pin.everything,
        "silent_since": _date(found.silent_since) if found.silent_since else None,
        "is_dead": found.is_dead,
        "code": found.error.code if found.error else None,
    }


def in_words(found: PinFound) -> str:
    """A pin in a line."""
    name = f"pin {found.id.hex()[:12]}"
    if found.pin is None:
        why = f"{found.error} [{found.error.code}]" if found.error else ""
        return f"{name} cannot be read: {why}; it keeps everything until `repo pins release {found.id.hex()[:12]}`"
    what = "everything" if found.pin.everything else ", ".join(each.hex()[:12] for each in found.pin.snapshots)
    words = f"{name} of {found.pin.holder} since {moment(found.pin.time_ns)} UTC keeps {what}"
    if found.is_dead and found.silent_since is None:
        return f"{words}; its holder was a process of this machine, and has ended: it is dead"
    if found.is_dead:
        return f"{words}; its holder has not renewed it since {found.silent_since:%Y-%m-%d %H:%M:%S} UTC: it is dead"
    silent = f", seen unchanged since {found.silent_since:%Y-%m-%d %H:%M:%S} UTC" if found.silent_since else ""
    return words + silent


def _date(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
