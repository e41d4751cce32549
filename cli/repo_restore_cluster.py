"""`repo restore` of a whole cluster, and of any place of what is followed."""

import argparse
import os
import sys

from cli.options import UsageInvalid
from cli.output import say
from repository.errors import RepositoryError
from repository.opened.pack_access import ChunkReader
from repository.opened.repository import LATEST, Repository
from repository.restore.options import RestoreOptions, RestoreResult
from repository.restore.snapshot_walk import root_entry
from repository.stored.snapshot import Snapshot
from repository.tiers.s3.options import S3Options
from sources.postgres.database import Database
from sources.postgres.physical.cluster import KIND

_PLACES = ("to_lsn", "to_xid", "to_name")


def is_to_time(arguments: argparse.Namespace) -> bool:
    """Whether a time was given, or `latest`."""
    return hasattr(arguments, "at")


def is_to_place(arguments: argparse.Namespace) -> bool:
    """Whether it is to go on behind the snapshot."""
    return is_to_time(arguments) or any(getattr(arguments, each) is not None for each in _PLACES)


def refuse_contradictions(arguments: argparse.Namespace, target: S3Options | Database | None) -> None:
    """Raise `UsageInvalid` for places that do not go together, or with the target."""
    places = [each for each in _PLACES if getattr(arguments, each) is not None]
    if len(places) + is_to_time(arguments) > 1:
        hint = "Give one of --at, --to-lsn, --to-xid, --to-name."
        raise UsageInvalid("there is more than one place to restore to", hint)
    if isinstance(target, S3Options) and is_to_time(arguments):
        hint = "Give as --target the address of an empty one, or for a cluster a folder."
        raise UsageInvalid("--at is for databases and clusters", hint)
    if places and target is not None:
        hint = "Give a folder as --target; a database is restored to a time (--at)."
        raise UsageInvalid("--to-lsn, --to-xid and --to-name are for clusters", hint)


def is_of_cluster(repository: Repository, snapshot: Snapshot) -> bool:
    """Whether it is a cluster of Postgres, which becomes a data folder. What cannot be read is told by the restore."""
    try:
        root = root_entry(snapshot, ChunkReader(repository.readable_tiers(), repository.keys).chunk)
    except RepositoryError:
        return False
    return root.extra.attributes.get("source") == KIND["source"]


def restore_cluster(
    repository: Repository, snapshot: Snapshot, arguments: argparse.Namespace, options: RestoreOptions
) -> tuple[Snapshot, RestoreResult]:
    """The snapshot, or with `latest` that which leads to the wanted place, and what came of it."""
    from sources.postgres.physical.bases import snapshot_for
    from sources.postgres.physical.reach import Wanted
    from sources.postgres.physical.restore import restore_to_cluster

    wanted = None
    if is_to_place(arguments):
        at = getattr(arguments, "at", None)
        wanted = Wanted(at, arguments.to_lsn, arguments.to_xid, arguments.to_name)
        if arguments.snapshot == LATEST:
            snapshot = snapshot_for(repository, snapshot.manifest.label, wanted)
    path = os.path.abspath(arguments.target)
    return snapshot, restore_to_cluster(repository, snapshot, path, options=options, wanted=wanted)


def say_reached(reached: dict[str, object]) -> None:
    """For people: how far a server comes that is started on the folder."""
    if "transactions" in reached:
        last = reached["last_commit_time"] or "none"
        say(f"{reached['transactions']:,} transactions behind the snapshot; the last was committed: {last}")
    if not reached["is_reached"]:
        print(f"more was committed since {reached['gap_since']}, and its log was not received", file=sys.stderr)
    say(
        f"a server of Postgres {reached['server_version']} that is started on the folder reaches "
        f"{reached['lsn']}, and goes on from there as a cluster of its own, with archive_mode off"
    )
    if reached["owner"] == 0:
        print("it belongs to root, for whom no server starts: give it to the server's user (chown -R)", file=sys.stderr)
