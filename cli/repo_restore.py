"""`repo restore`."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from cli.backup_source import is_bucket, lies_among_tiers
from cli.exit_codes import ExitCode
from cli.home import home_that_owns
from cli.options import UsageInvalid
from cli.output import duration, name_fields, say, say_json, shown, size
from cli.progress import Reading, display
from cli.repo_pins import say_unpinned
from cli.repo_restore_cluster import (
    is_of_cluster,
    is_to_place,
    is_to_time,
    refuse_contradictions,
    restore_cluster,
    say_reached,
)
from cli.repo_session import interruptible, opened, split_name
from cli.repo_snapshots import certainty_of
from cli.snapshot_tree import SnapshotTree
from repository.errors import RestoreRefused, TargetFailed, about
from repository.opened.pack_access import ChunkReader
from repository.opened.repository import LATEST, Repository
from repository.progress import Progress
from repository.restore.options import Conflict, RestoreOptions, RestoreResult, RestoreTrouble, Trouble
from repository.restore.restore import restore as restore_snapshot
from repository.stored.snapshot import Snapshot
from repository.tiers.location import s3_options
from repository.tiers.places import refuse_target_within
from repository.tiers.s3.options import S3Options
from sources.postgres.database import Database, is_database, password_from

LISTED_MAX = 50
"""Troubles that are shown to a person; a machine gets all that were kept."""


_NOT_GIVEN: Final = {Trouble.UNREADABLE, Trouble.UNREACHABLE}


def restore(arguments: argparse.Namespace) -> int:
    """A snapshot, or what of it matches, below the target."""
    target = _bucket_of(arguments) or _database_of(arguments)
    refuse_contradictions(arguments, target)
    if target is None and (home := home_that_owns(arguments.target)) is not None:
        raise RestoreRefused(
            "the target lies in the platform's own folders",
            hint=f"{shown(os.fsencode(home))} is a platform's home: what is restored there would lie among its keys "
            "and its data. Give a folder outside of it; keys and data are put back from their own copies "
            "(docs/operations.md).",
            target=arguments.target,
        )
    if target is None:
        refuse_target_within(arguments.target, [split_name(each)[1] for each in arguments.tiers])
    with (
        opened(arguments, only_reads=True, needed=arguments.sources) as repository,
        interruptible() as is_cancelled,
        display(for_machines=arguments.json) as bars,
    ):
        snapshot = repository.find_snapshot(arguments.snapshot)
        is_cluster = target is None and is_of_cluster(repository, snapshot)
        if target is None and not is_cluster and is_to_place(arguments):
            raise UsageInvalid("the snapshot is of no cluster of Postgres", "Leave the place (--at, --to-…) out.")
        if is_to_time(arguments) and not is_cluster and arguments.snapshot == LATEST:
            snapshot = _newest_before(repository, snapshot, arguments.at)
        options = RestoreOptions(
            globs=tuple(os.fsencode(glob) for glob in arguments.globs),
            conflict=Conflict(arguments.on_conflict),
            tiers=tuple(arguments.sources),
            sparse=not arguments.no_sparse,
            verify=arguments.verify,
            on_progress=lambda progress: bars.show(_gauges(progress)),
            is_cancelled=is_cancelled,
        )
        with about(RestoreRefused, target=arguments.target), about(TargetFailed, target=arguments.target):
            if is_cluster:
                snapshot, result = restore_cluster(repository, snapshot, arguments, options)
            else:
                result = _restored(repository, snapshot, target, arguments, options)
        certainty = certainty_of(repository, {arguments.snapshot: snapshot})
        unmatched = [shown(os.fsencode(glob)) for glob in result.unmatched]
        if target is not None and not (len(arguments.globs) == 1 and bool(result.files or result.others)):
            unmatched = _unmatched(repository, snapshot, arguments.globs)
    missing = snapshot.manifest.totals.failed
    told = {"is_newest_known": certainty is ExitCode.OK, "paths_unmatched": unmatched}
    if arguments.json:
        say_json({**_document(snapshot.id, result), "missing_in_snapshot": missing, **told})
    else:
        _say_result(snapshot.id, result, filtered=bool(arguments.globs))
        if unmatched:
            print(f"matched nothing: {', '.join(unmatched)}", file=sys.stderr)
        if missing:
            # What had vanished has left no name: whether what was asked for is among it cannot be said.
            print(
                f"the snapshot is incomplete: {missing:,} entries of its source could not be read when it was made",
                file=sys.stderr,
            )
    if result.losses and not missing and result.losses <= _NOT_GIVEN:
        # Nobody knows whether it is whole: once it is given, the same restore goes on.
        return ExitCode.UNAVAILABLE if Trouble.UNREACHABLE in result.losses else ExitCode.REFUSED
    is_short = is_cluster and not result.reached["is_reached"]
    if result.has_losses or missing or is_short:
        return ExitCode.INCOMPLETE
    return ExitCode.NOT_FOUND if unmatched else certainty


def _bucket_of(arguments: argparse.Namespace) -> S3Options | None:
    """The bucket to restore to; None for a folder. Raises `LocationInvalid`, `RestoreRefused` for a tier of ours."""
    if not is_bucket(arguments.target):
        return None
    from repository.tiers.s3.credentials import credentials_from

    options, _ = s3_options(arguments.target, credentials=credentials_from(arguments.target_credentials))
    if lies_among_tiers(options, arguments.tiers):
        raise RestoreRefused(
            "the target holds a tier of the repository, or lies in it",
            hint="Give another bucket, or another prefix.",
        )
    return options


def _database_of(arguments: argparse.Namespace) -> Database | None:
    """The database to restore to; None for anything else. Raises `LocationInvalid`."""
    if not is_database(arguments.target):
        return None
    return Database(arguments.target, password_from(arguments.target_credentials))


def _restored(
    repository: Repository,
    snapshot: Snapshot,
    target: S3Options | Database | None,
    arguments: argparse.Namespace,
    options: RestoreOptions,
) -> RestoreResult:
    if target is None:
        return restore_snapshot(repository, snapshot, os.path.abspath(arguments.target), options=options)
    if isinstance(target, Database):
        from sources.postgres.restore import Until, restore_to_database

        until = Until(arguments.at) if is_to_time(arguments) else None
        return restore_to_database(repository, snapshot, target, options=options, until=until)
    from sources.s3.restore import restore_to_bucket

    return restore_to_bucket(repository, snapshot, target, options=options)


def _newest_before(repository: Repository, newest: Snapshot, at_us: int | None) -> Snapshot:
    """Of the same label the newest snapshot that is not younger than a time. Raises `RestoreRefused`."""
    older = [
        each
        for each in repository.snapshots(newest.manifest.label)
        if at_us is None or each.manifest.time_ns <= at_us * 1000
    ]
    if not older:
        raise RestoreRefused(
            "every snapshot is younger than the time", hint="`repo snapshots` shows them: give a later time."
        )
    return older[-1]


def _unmatched(repository: Repository, snapshot: Snapshot, globs: list[str]) -> list[str]:
    """The globs that nothing matches at all, as they are shown: folders on the way to nothing do not count."""
    tree = SnapshotTree(ChunkReader(repository.readable_tiers(), repository.keys), snapshot, lambda _path, _error: None)
    raw = map(os.fsencode, globs)
    return [shown(glob) for glob in raw if next(tree.find(glob), None) is None]


def _gauges(progress: Progress) -> dict[str, Reading]:
    words = f"{progress.files_done:,} files" + (f", {progress.problems:,} problems" if progress.problems else "")
    total = progress.bytes_found if progress.is_walk_complete else None
    return {"restored": Reading(progress.bytes_done, total, words)}


def _document(snapshot_id: str, result: RestoreResult) -> dict[str, object]:
    return {
        "snapshot": snapshot_id,
        "files": result.files,
        "folders": result.folders,
        "others": result.others,
        "bytes": result.bytes,
        "resumed_files": result.resumed_files,
        "renamed": result.renamed,
        "seconds": round(result.seconds, 3),
        "is_whole": result.is_whole,
        "has_losses": result.has_losses,
        "bytes_by_tier": result.bytes_by_tier,
        "chunks_from_other_tiers": result.chunks_from_other_tiers,
        "unpinned": result.unpinned,
        **({"reached": result.reached} if result.reached else {}),
        "troubles": [_trouble_document(each) for each in result.troubles],
        "trouble_counts": {str(trouble): count for trouble, count in result.trouble_counts.items()},
    }


def _trouble_document(trouble: RestoreTrouble) -> dict[str, object]:
    return {**name_fields("path", trouble.path), "trouble": str(trouble.trouble), "detail": trouble.detail}


def _say_result(snapshot_id: str, result: RestoreResult, *, filtered: bool) -> None:
    rate = f" ({size(result.bytes / result.seconds)}/s)" if result.seconds > 0 else ""
    what = "what matches of snapshot" if filtered else "snapshot"
    amount = f"{result.files:,} files, {size(result.bytes)} in {duration(result.seconds)}{rate}"
    say(f"{what} {snapshot_id} restored: {amount}")
    if "lsn" in result.reached:
        say_reached(result.reached)
    elif result.reached:
        last = result.reached["last_commit_time"] or "none"
        say(f"{result.reached['transactions']:,} transactions played behind it; the last was committed: {last}")
    if result.resumed_files:
        say(f"{result.resumed_files:,} files were there from an interrupted restore")
    if result.renamed:
        say(f"{result.renamed:,} entries stand beside what was in the way")
    for name, count in result.bytes_by_tier.items():
        say(f"read from {name}: {size(count)}")
    if result.chunks_from_other_tiers:
        sought = f"{result.chunks_from_other_tiers:,} chunks"
        say(f"{sought} could not be read where they were sought first: run `repo check --read-data`")
    say_unpinned(result.unpinned)
    if result.trouble_counts:
        counts = ", ".join(f"{count:,} {trouble}" for trouble, count in result.trouble_counts.items())
        print(f"{counts}:", file=sys.stderr)
        lines = _lines_of(result.troubles)
        for line, _ in lines[:LISTED_MAX]:
            print(f"  {line}".rstrip(), file=sys.stderr)
        left = sum(result.trouble_counts.values()) - sum(count for _, count in lines[:LISTED_MAX])
        if left:
            print(f"  and {left:,} more", file=sys.stderr)


def _lines_of(troubles: Sequence[RestoreTrouble]) -> list[tuple[str, int]]:
    """A line for each, and how many it stands for: what one object that is not given takes with it is told by that."""
    paths: dict[tuple[Trouble, str, bytes], list[bytes]] = {}
    for each in troubles:
        own = b"" if each.trouble in _NOT_GIVEN else each.path
        paths.setdefault((each.trouble, each.detail, own), []).append(each.path)
    lines = list[tuple[str, int]]()
    for (trouble, detail, _), those in paths.items():
        more = f" and {len(those) - 1:,} more" if len(those) > 1 else ""
        lines.append((f"{shown(min(those))}{more}: {trouble} {detail}", len(those)))
    return lines
