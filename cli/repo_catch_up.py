"""`repo catch-up`: bringing tiers that were away up to the others."""

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress

from cli.exit_codes import ExitCode, exit_code_of
from cli.output import say, say_json
from cli.progress import Reading, display
from cli.repo_caught_up import added, catch_up_document, say_caught_up
from cli.repo_places import refuse_no_folder
from cli.repo_session import chosen, lock_days, opened, replayed, split_name, stoppable
from repository.errors import BackupCancelled, NoUsableTier, RepositoryError
from repository.opened.locking import lock_date
from repository.opened.open_tier import OpenTier, TierState
from repository.tiers.places import refuse_among_others, refuse_nested, refuse_within_repository
from repository.upkeep.catch_up import CatchUpProgress, CatchUpResult, begin_anew
from repository.upkeep.catch_up import catch_up as catch_tier_up


def catch_up(arguments: argparse.Namespace) -> int:
    """Copy to each tier that is behind, or empty, what it lacks."""
    results: dict[str, CatchUpResult] = {}
    failed: dict[str, RepositoryError] = {}
    with opened(arguments) as repository, stoppable() as check_cancelled:
        with display(for_machines=arguments.json) as bars, suppress(BackupCancelled):

            def show(progress: CatchUpProgress) -> None:
                words = f"{progress.packs_done:,} of {progress.packs_total:,} packs"
                bars.show({progress.tier: Reading(progress.bytes_done, None, words)})

            days = lock_days(arguments, repository)
            urls = [split_name(address)[1] for address in arguments.tiers]
            addresses = {tier.name: url for tier, url in zip(repository.tiers, urls, strict=True)}

            if arguments.begin_anew is not None and repository.tier(arguments.begin_anew).is_ready:
                # Of a call that was interrupted, or a slip: what is there is this repository's, and goes on.
                print(f"{arguments.begin_anew} is in use: it is caught up, and not begun anew", file=sys.stderr)
            elif arguments.begin_anew is not None:
                refuse_no_folder(arguments.begin_anew, addresses[arguments.begin_anew])
                begin_anew(repository.tier(arguments.begin_anew))

            def attempt(tier: OpenTier) -> CatchUpResult:
                if tier.state is TierState.EMPTY:
                    refuse_no_folder(tier.name, addresses[tier.name])
                    refuse_nested(list(addresses.items()), tier.name)
                    refuse_within_repository(tier.name, addresses[tier.name])
                if tier.state is TierState.EMPTY and not arguments.beside_other_files:
                    refuse_among_others(tier.store, addresses[tier.name])
                lock_until = lock_date(tier.store, days.get(tier.name, 0))
                return catch_tier_up(
                    repository, tier, lock_until=lock_until, on_progress=show, check_cancelled=check_cancelled
                )

            _attempt_all(chosen(repository, arguments.only), attempt, results, failed)
        hints = dict(replayed(repository))
        # They are in order themselves: what is to be mended is another one.
        ready = [tier for tier in repository.ready_tiers() if tier.name in failed]
        alone = {tier.name for tier in ready if len(repository.tiers) > 1 and not repository.sources_for(tier)}
        if arguments.json:
            tiers = {name: catch_up_document(result) for name, result in results.items()}
            say_json({"tiers": tiers, "failed": {name: str(failure) for name, failure in failed.items()}})
        else:
            for name, result in results.items():
                say_caught_up(name, result)
            for name, failure in failed.items():
                if name in alone:
                    say(f"{name}: nothing to copy from is there; whether it lacks anything is not known")
                    continue
                say(f"{name}: not caught up: {failure} [{failure.code}]")
                say(f"  {hints.get(name, failure.hint)}")
    if not results and failed:
        return exit_code_of(NoUsableTier.because("no tier is caught up", failed.values()))
    if any(not result.is_complete for result in results.values()):
        return ExitCode.DAMAGED
    is_left = any(result.erased.left for result in results.values())
    return ExitCode.DEGRADED if failed or is_left else ExitCode.OK


def _attempt_all(
    waiting: list[OpenTier],
    attempt: Callable[[OpenTier], CatchUpResult],
    results: dict[str, CatchUpResult],
    failed: dict[str, RepositoryError],
) -> None:
    """Let each tier catch up, and those that lack something again, for as long as that brings anything.

    One that was filled is a source for those before it: the order in which they are given decides nothing.
    """
    while waiting:
        again, has_moved = [], False
        for tier in waiting:
            was_empty = tier.state is TierState.EMPTY
            try:
                result = attempt(tier)
            except BackupCancelled:
                raise
            except RepositoryError as error:
                # One tier that is away must not keep the others from catching up.
                failed[tier.name] = error
                if isinstance(error, NoUsableTier) and tier.is_ready:
                    again.append(tier)
                continue
            has_moved = has_moved or was_empty or bool(result.copied_packs or result.snapshots or result.streams.pieces)
            failed.pop(tier.name, None)
            results[tier.name] = added(results.get(tier.name), result)
            if not result.is_complete:
                again.append(tier)
        waiting = again if has_moved else []
