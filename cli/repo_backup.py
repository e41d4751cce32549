"""`repo backup`."""

import argparse
import sys
from contextlib import closing

from cli.backup_source import ALL_LEFT_OUT, Asked, asked_for
from cli.exit_codes import ExitCode, exit_code_of
from cli.output import columns, duration, name_fields, say, say_json, shown, size
from cli.progress import Reading, display
from cli.repo_key import expect_domain
from cli.repo_session import interruptible, lock_days, opened, say_hint
from cli.repo_snapshots import snapshot_document
from repository.backup.backup import BackupOptions, BackupResult
from repository.backup.backup import backup as back_up
from repository.backup.fanout import Delivery
from repository.backup.problems import FileError
from repository.backup.result import has_nothing, is_emptied
from repository.backup.source import SourceUnreachable
from repository.errors import RepositoryError, about
from repository.keys.key_ring import DEFAULT_DOMAIN
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.ports import SYSTEM_RANDOMNESS
from repository.progress import Progress
from repository.upkeep.read_back import read_back

LISTED_MAX = 50
"""File errors that are shown to a person; a machine gets all that were kept."""


def backup(arguments: argparse.Namespace) -> int:
    """One backup to all tiers that answer, or what one would do."""
    asked = asked_for(arguments)
    with closing(asked.source):
        if arguments.dry_run:
            from cli.repo_dry_run import dry_run

            return dry_run(arguments, asked)
        return _backup(arguments, asked)


def _backup(arguments: argparse.Namespace, asked: Asked) -> int:
    with opened(arguments) as repository, interruptible() as is_cancelled, display(for_machines=arguments.json) as bars:
        if arguments.domain != DEFAULT_DOMAIN:
            expect_domain(repository, arguments.domain)
        options = BackupOptions(
            domain=arguments.domain,
            run_token=SYSTEM_RANDOMNESS.token_bytes(16).hex(),
            label=asked.label,
            host=arguments.host or "",
            tags=tuple(arguments.tags),
            paranoid=arguments.paranoid,
            memory_budget=arguments.memory << 20,
            required=frozenset(arguments.require),
            lock_days=lock_days(arguments, repository),
            on_progress=lambda progress: bars.show(_gauges(progress)),
            is_cancelled=is_cancelled,
        )
        with about(SourceUnreachable, path=asked.named):
            result = back_up(repository, asked.source, options=options)
        away = [tier.name for tier in repository.tiers if tier.name not in result.tiers]
        on_tiers = [tier.name for tier in repository.tiers_with(result.snapshot)]
        before = {
            words: [tier.name for tier in repository.tiers if tier.state is state]
            for state, words in _BEFORE_A_CATCH_UP.items()
        }
        foreign = {tier.name: tier.error for tier in repository.tiers if tier.state is TierState.FOREIGN}
        not_there = _not_there(repository, result)
        lacking = result.lacking(arguments.require)
        was_emptied = is_emptied(result.snapshot, repository.snapshots(asked.label))
        all_left_out = has_nothing(result.snapshot) and asked.has_left_out()
    if arguments.json:
        unread = {name: str(error) for name, error in not_there.items()}
        parent_error = str(result.parent_error) if result.parent_error else None
        told = {
            "not_read_back": unread,
            "parent_error": parent_error,
            "required_missing": lacking,
            "source_emptied": was_emptied,
            "all_left_out": all_left_out,
            "remarks": asked.remarks(),
            **asked.left_out(),
        }
        say_json({**_document(result, on_tiers, away), **told})
    else:
        _say_result(result, [name for name in away if name not in foreign], before, lacking)
        for name, error in foreign.items():
            say(f"another repository lies at {name}. {error.hint if error is not None else ''}")
        asked.say_left_out()
        for words in asked.remarks():
            print(words, file=sys.stderr)
        if all_left_out:
            print(ALL_LEFT_OUT, file=sys.stderr)
        elif was_emptied:
            print(
                "the source holds no file, and earlier snapshots of it do: look whether its disk is mounted",
                file=sys.stderr,
            )
        for name, error in not_there.items():
            print(
                f"tier {name} does not give back what the snapshot leans on: {error} (`repo repair`)", file=sys.stderr
            )
        if result.parent_error is not None:
            print(
                "the files of the previous snapshot could not all be compared, and were read anew: "
                f"{result.parent_error} (`repo check`)",
                file=sys.stderr,
            )
    failures = [*not_there.values(), *([result.parent_error] if result.parent_error else [])]
    if any(exit_code_of(error) is not ExitCode.UNAVAILABLE for error in failures):
        return ExitCode.DAMAGED
    if was_emptied or all_left_out:
        return ExitCode.INCOMPLETE
    return _exit_code(result, is_less=bool(away or failures or asked.is_empty_input()))


_BEFORE_A_CATCH_UP = {
    TierState.DAMAGED: "damaged, and to be made whole before that: {} (`repo repair`)",
    TierState.PARTLY_UNREADABLE: "not to be read whole, and not written to before that: {} (give the rights)",
    TierState.REPLAYED: "showing another history than was seen, to be settled before that: {} (`repo repair` says how)",
}
"""What has to be done to a tier before it is caught up."""


def _not_there(repository: Repository, result: BackupResult) -> dict[str, RepositoryError]:
    """By tier that took it: why the snapshot's root, or a pack that it leans on, is not there. The old was not sent."""
    found: dict[str, RepositoryError] = {}
    for tier in repository.tiers_with(result.snapshot):
        try:
            read_back(repository, tier, result.snapshot_id, packs=result.packs, packs_read=0)
        except RepositoryError as error:
            found[tier.name] = error
    return found


def _exit_code(result: BackupResult, *, is_less: bool) -> ExitCode:
    # The count, which a run that was committed before has too: the list is bounded, and may hold none of them.
    if result.totals.failed:
        return ExitCode.INCOMPLETE
    return ExitCode.DEGRADED if result.is_degraded or is_less else ExitCode.OK


def _gauges(progress: Progress) -> dict[str, Reading]:
    words = f"{progress.files_done:,} files" + (f", {progress.problems:,} problems" if progress.problems else "")
    total = progress.bytes_found if progress.is_walk_complete else None
    gauges = {"source": Reading(progress.bytes_done, total, words)}
    for name, tier in progress.tiers.items():
        gauges[name] = Reading(tier.bytes_sent, tier.bytes_sent + tier.bytes_waiting, tier.state)
    return gauges


def _document(result: BackupResult, on_tiers: list[str], away: list[str]) -> dict[str, object]:
    return {
        "snapshot": snapshot_document(result.snapshot, on_tiers),
        "seconds": round(result.seconds, 3),
        "was_committed_before": result.was_committed_before,
        "tiers": {
            name: {
                "state": str(tier.state),
                "error": str(tier.error) if tier.error else None,
                "bytes_sent": tier.bytes_sent,
                "packs_sent": tier.packs_sent,
                "seconds": round(tier.seconds, 3),
                "required": tier.is_required,
            }
            for name, tier in result.tiers.items()
        },
        "tiers_away": away,
        "file_errors": [_error_document(error) for error in result.file_errors],
        "file_error_counts": {str(reason): count for reason, count in result.error_counts.items()},
    }


def _error_document(error: FileError) -> dict[str, object]:
    return {
        **name_fields("path", error.path),
        "reason": str(error.reason),
        "detail": error.detail,
        "is_loss": error.is_loss,
    }


def _say_result(result: BackupResult, away: list[str], before: dict[str, list[str]], lacking: list[str]) -> None:
    totals = result.totals
    say(f"snapshot {result.snapshot_id}")
    rate = f" ({size(totals.source_bytes / result.seconds)}/s)" if result.seconds > 0 else ""
    say(f"{totals.files:,} files, {size(totals.source_bytes)} in {duration(result.seconds)}{rate}")
    say(f"{totals.unchanged_files:,} unchanged, {size(totals.new_bytes)} new, {size(totals.stored_bytes)} stored")
    rows = [("CLASS", "READ", "NEW", "STORED", "SAVED")]
    for name, each in sorted(result.by_class.items()):
        saved = f"{100 * (1 - each.stored_bytes / each.new_bytes):.1f}%" if each.new_bytes else ""
        rows.append((name, size(each.source_bytes), size(each.new_bytes), size(each.stored_bytes), saved))
    for line in columns(rows, right=(1, 2, 3, 4)):
        say(f"  {line}")
    for name, tier in result.tiers.items():
        why = f": {tier.error}" if tier.error else ""
        say(f"tier {name}: {tier.state}, {size(tier.bytes_sent)} in {duration(tier.seconds)}{why}")
        say_hint(tier.error)
    owed = [name for name, tier in result.tiers.items() if tier.state is not Delivery.COMMITTED] + away
    if owed:
        say(f"owed a catch-up: {', '.join(owed)} (`repo catch-up`)")
    for words, names in before.items():
        if names:
            say(words.format(", ".join(names)))
    if lacking:
        say(f"required, and without this snapshot: {', '.join(lacking)}")
    _say_errors(result)


def _say_errors(result: BackupResult) -> None:
    counts = result.error_counts
    if not counts:
        return
    print(", ".join(f"{count:,} {reason}" for reason, count in counts.items()) + ":", file=sys.stderr)
    for error in result.file_errors[:LISTED_MAX]:
        print(f"  {shown(error.path)}: {error.reason} {error.detail}".rstrip(), file=sys.stderr)
    left = sum(counts.values()) - min(len(result.file_errors), LISTED_MAX)
    if left:
        print(f"  and {left:,} more", file=sys.stderr)
