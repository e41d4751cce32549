"""`repo prune`: frees the space of what was forgotten."""

import argparse
import sys
from collections import Counter

from cli.exit_codes import ExitCode, exit_code_of
from cli.output import say, say_json, size
from cli.repo_pins import document_of, in_words
from cli.repo_session import opened, say_hint, stoppable, tier_states
from repository.opened.open_tier import OpenTier
from repository.prune.prune import PruneOptions, TierPlan
from repository.prune.prune import prune as prune_tiers


def prune(arguments: argparse.Namespace) -> int:
    """Delete what only forgotten snapshots needed, tier by tier; say what stays and why."""
    with opened(arguments, needed=arguments.only) as repository, stoppable() as check_cancelled:
        plans = prune_tiers(
            repository,
            PruneOptions(
                only=arguments.only,
                unreferenced=arguments.unreferenced,
                max_unused=arguments.max_unused / 100,
                repack_bytes_max=1 << 62 if arguments.max_repack is None else arguments.max_repack << 20,
                dry_run=arguments.dry_run,
            ),
            check_cancelled,
        )
        wanted: list[OpenTier] = [t for t in repository.tiers if not arguments.only or t.name in arguments.only]
        left_out = {tier.name: str(tier.error or tier.state) for tier in wanted if tier.name not in plans}
        states = tier_states(repository)
        kept = {each.id for each in repository.snapshots()}
        bare = [
            tier.name
            for tier in wanted
            if kept and tier.name in plans and plans[tier.name].going and kept.isdisjoint(tier.snapshots())
        ]
    if arguments.json:
        tiers = {name: _document(plan, dry_run=arguments.dry_run) for name, plan in plans.items()}
        say_json({"tiers": tiers, "left_out": left_out, "dry_run": arguments.dry_run, "bare": bare, "states": states})
    else:
        for name, plan in plans.items():
            _say(name, plan, dry_run=arguments.dry_run, unreferenced=arguments.unreferenced)
        for name, why in left_out.items():
            say(f"{name}: left out, {why}")
        if left_out and any(plan.moving for plan in plans.values()):
            say("What was written again lies there as it was, and catch-up may bring it twice: a later prune frees it")
    for name in bare:
        print(f"{name}: has none of the snapshots that are kept; `repo catch-up` brings them", file=sys.stderr)
    failures = [plan.failed for plan in plans.values() if plan.failed is not None]
    if failures and len(failures) == len(plans):
        return exit_code_of(failures[0])
    if any(exit_code_of(failure) is ExitCode.DAMAGED for failure in failures):
        return ExitCode.DAMAGED
    is_pinned = any(plan.pinned for plan in plans.values()) and not arguments.dry_run
    is_bare = bool(bare) and not arguments.dry_run
    return ExitCode.DEGRADED if failures or left_out or is_pinned or is_bare else ExitCode.OK


def _document(plan: TierPlan, *, dry_run: bool) -> dict[str, object]:
    dates = Counter(f"{until:%Y-%m-%dT%H:%M:%SZ}" for until in plan.locked.values())
    return {
        "packs": plan.packs,
        "bytes": plan.total_bytes,
        "repacked": len(plan.moving),
        "repacked_bytes": plan.moving_bytes if dry_run else plan.stored_bytes,
        "going": len(plan.going) if dry_run else plan.deleted,
        "going_bytes": sum(plan.going.values()) if dry_run else plan.deleted_bytes,
        "locked": len(plan.locked),
        "locked_bytes": plan.locked_bytes,
        "locked_until": dict(sorted(dates.items())),
        "pinned": len(plan.pinned),
        "pinned_bytes": sum(plan.pinned.values()),
        "pins": [document_of(each) for each in plan.pins],
        "unreferenced": len(plan.unreferenced),
        "unreferenced_bytes": sum(plan.unreferenced.values()),
        "error": str(plan.failed) if plan.failed is not None else None,
        "code": plan.failed.code if plan.failed is not None else None,
    }


def _say(name: str, plan: TierPlan, *, dry_run: bool, unreferenced: bool) -> None:
    if dry_run:
        say(f"{name}: {len(plan.going):,} of {plan.packs:,} packs would go ({size(sum(plan.going.values()))})")
    else:
        say(f"{name}: {plan.deleted:,} of {plan.packs:,} packs deleted ({size(plan.deleted_bytes)})")
    if plan.moving:
        again = plan.moving_bytes if dry_run else plan.stored_bytes
        freed = size((sum(plan.going.values()) if dry_run else plan.deleted_bytes) - again)
        stored = f"about {size(again)} would be stored again" if dry_run else f"{size(again)} stored again"
        is_free = f"so that {freed} {'would be' if dry_run else 'are'} free"
        say(f"{name}: {len(plan.moving):,} of them are mostly waste; {stored}, {is_free}")
    if plan.locked:
        last = max(plan.locked.values())
        say(
            f"{name}: {len(plan.locked):,} packs ({size(plan.locked_bytes)}) are locked, the last until "
            f"{last:%Y-%m-%d %H:%M:%S} UTC; a prune after that frees them"
        )
    if plan.pinned:
        amount = f"{len(plan.pinned):,} packs ({size(sum(plan.pinned.values()))})"
        say(f"{name}: {amount} stay, since they are pinned [pinned]; a prune after that frees them")
        for each in plan.pins:
            say(f"{name}: {in_words(each)}")
    if plan.unreferenced:
        amount = f"{len(plan.unreferenced):,} packs ({size(sum(plan.unreferenced.values()))})"
        if unreferenced:
            say(f"{name}: {amount} stay: they are in no index and cannot be read whole (`repo check --read-data`)")
        else:
            told = f"no snapshot ever needed {amount}; a writer may count on them"
            say(f"{name}: {told}. If nobody backs up: --unreferenced")
    if plan.failed is not None:
        say(f"{name}: NOT all is done: {plan.failed} [{plan.failed.code}]; the next prune goes on")
        say_hint(plan.failed)
