"""`repo locks`: what is locked on each tier, and what of it for longer than a snapshot needs it."""

import argparse
from collections import Counter
from datetime import datetime

from cli.exit_codes import ExitCode, exit_code_of
from cli.output import columns, say, say_json, size
from cli.repo_session import opened, stoppable, tier_states
from repository.errors import BackupCancelled, NoUsableTier, RepositoryError
from repository.upkeep.check_report import why_not
from repository.upkeep.lock_check import Locked, Longer, locked_packs


def locks(arguments: argparse.Namespace) -> int:
    """Say of each tier what is locked there, and until when what nobody needs so long."""
    found: dict[str, Locked] = {}
    without: list[str] = []
    failed: dict[str, str] = {}
    errors: list[RepositoryError] = []
    with opened(arguments, only_reads=True, needed=arguments.only) as repository, stoppable() as check_cancelled:
        for tier in repository.tiers:
            if arguments.only and tier.name not in arguments.only:
                continue
            if not tier.is_readable:
                failed[tier.name] = why_not(tier)
                continue
            try:
                if tier.store.capabilities.locks is False:
                    without.append(tier.name)
                else:
                    found[tier.name] = locked_packs(repository, tier, check_cancelled)
            except BackupCancelled:
                raise
            except RepositoryError as error:
                failed[tier.name] = f"{error.code}: {error}"
                errors.append(error)
        states = tier_states(repository)
    if arguments.json:
        tiers = {name: _document(each) for name, each in found.items()}
        say_json({"tiers": tiers, "without_lock": without, "failed": failed, "states": states})
    else:
        for name, each in found.items():
            _say(name, each)
        for name in without:
            say(f"{name}: has no object lock")
        for name, why in failed.items():
            say(f"{name}: not known, {why}")
    if failed and not found and not without:
        return exit_code_of(NoUsableTier.because("no tier tells of its locks", errors))
    return ExitCode.DEGRADED if failed else ExitCode.OK


def _by_dates(longer: list[Longer]) -> list[tuple[datetime, datetime | None, int, int]]:
    """Until when packs are locked and needed, how many, and their bytes; the longest first."""
    packs, sizes = Counter[tuple[datetime, datetime | None]](), Counter[tuple[datetime, datetime | None]]()
    for each in longer:
        packs[each.until, each.wanted] += 1
        sizes[each.until, each.wanted] += each.size
    dates = sorted(packs, key=lambda both: (both[0], both[1] or both[0]), reverse=True)
    return [(until, wanted, packs[until, wanted], sizes[until, wanted]) for until, wanted in dates]


def _document(found: Locked) -> dict[str, object]:
    return {
        "packs": found.packs,
        "bytes": found.bytes,
        "longer": [
            {"locked_until": _date(until), "needed_until": _date(wanted), "packs": packs, "bytes": stored}
            for until, wanted, packs, stored in _by_dates(found.longer)
        ],
    }


def _date(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment is not None else None


def _say(name: str, found: Locked) -> None:
    say(f"{name}: {found.packs:,} packs ({size(found.bytes)}) are locked")
    if not found.longer:
        say(f"{name}: none for longer than a snapshot needs it")
        return
    total = size(sum(each.size for each in found.longer))
    say(f"{name}: {len(found.longer):,} of them ({total}) for longer than a snapshot needs them:")
    rows = [("LOCKED UNTIL (UTC)", "NEEDED UNTIL", "PACKS", "SIZE")]
    for until, wanted, packs, stored in _by_dates(found.longer):
        needed = f"{wanted:%Y-%m-%d %H:%M:%S}" if wanted is not None else "not under lock"
        rows.append((f"{until:%Y-%m-%d %H:%M:%S}", needed, f"{packs:,}", size(stored)))
    for line in columns(rows):
        say(f"  {line}")
