"""The options of `repo backup` and `repo follow`: what is backed up, what is left out, and how."""

import argparse
from datetime import UTC, datetime, timedelta

from cli.options import given, positive


def add_follow_options(parser: argparse.ArgumentParser) -> None:
    """The options of `repo follow`. What else `backup` takes is as if it were not given."""
    parser.add_argument(
        "database",
        metavar="DATABASE",
        help="postgres://USER@HOST/NAME, or a whole cluster: postgres-cluster://USER@HOST",
        type=_database,
    )
    parser.set_defaults(
        files_from=None,
        stdin=False,
        stdin_filename=None,
        exclude=[],
        exclude_file=[],
        exclude_caches=False,
        one_file_system=False,
        dry_run=False,
    )
    parser.add_argument(
        "--source-credentials",
        default="env",
        metavar="WHERE",
        type=given,
        help="where those of the database are: env (the default), env:PREFIX or file:PATH",
    )
    parser.add_argument("--label", help="that of its snapshots, where they have one of their own", type=given)
    parser.add_argument("--host", metavar="NAME", help="as its snapshots have it", type=given)
    parser.add_argument("--slot", metavar="NAME", help="of the replication slot (default: by repository)", type=given)
    parser.add_argument(
        "--every", type=positive, default=1, metavar="SECONDS", help="how often the server is asked (default 1)"
    )
    parser.add_argument(
        "--quiet",
        type=positive,
        default=30,
        metavar="SECONDS",
        help="how often it is said that nothing was committed (default 30)",
    )
    parser.add_argument(
        "--keep-max",
        type=positive,
        default=4096,
        metavar="MIB",
        help="while no tier takes anything, the server keeps so much, then the slot is dropped (default 4096)",
    )
    parser.add_argument("--once", action="store_true", help="tell what there is, and end")
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="TIER",
        help="let the server forget only what this tier (by name) has",
        type=given,
    )


def moment(text: str) -> int | None:
    """Microseconds since 1970 of a time; None for `latest`."""
    if text == "latest":
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise argparse.ArgumentTypeError("is no time with its zone: write 2026-05-01T12:00:00Z, or latest")
    return int((found - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def log_position(text: str) -> int:
    """A position of a cluster's log, in bytes."""
    from sources.postgres.physical.record import position_of  # not where only options are told

    try:
        return position_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError("is no position of the log: write 0/3000148") from None


def _database(text: str) -> str:
    # Not where only options are told.
    from sources.postgres.database import is_database
    from sources.postgres.physical.cluster import is_cluster

    if not is_database(text) and not is_cluster(text):
        raise argparse.ArgumentTypeError("is no address of a database: write postgres://USER@HOST/NAME")
    return text


def add_backup_options(parser: argparse.ArgumentParser) -> None:
    """All but those that other sub-commands have as well."""
    what = parser.add_argument_group("what is backed up")
    what.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="a folder or file; of several, each is kept at its own path. Or a bucket: s3://BUCKET/PREFIX; or a "
        "database: postgres://USER@HOST/NAME; or a whole cluster: postgres-cluster://USER@HOST",
        type=given,
    )
    what.add_argument(
        "--files-from",
        metavar="FILE",
        type=given,
        help="paths, too, one a line, or each ended by a zero byte (`find -print0`); `-` is standard input",
    )
    what.add_argument("--stdin", action="store_true", help="what comes through standard input, as one file")
    what.add_argument("--stdin-filename", metavar="NAME", type=_name, help="what that file is called (default: stdin)")
    what.add_argument(
        "--source-credentials",
        default="env",
        metavar="WHERE",
        type=given,
        help="where those of a bucket or a database are: env (the default), env:PREFIX, file:PATH or profile:NAME",
    )
    out = parser.add_argument_group("what is left out: patterns as in a .gitignore, from the PATH on")
    out.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="what matches: a name at any depth (*.o), or with a slash a path below PATH (/cache/); `!` takes back",
        type=given,
    )
    out.add_argument(
        "--exclude-file", action="append", default=[], metavar="FILE", help="patterns, one a line", type=given
    )
    out.add_argument(
        "--exclude-caches", action="store_true", help="what is in folders with a CACHEDIR.TAG, but for the tag"
    )
    out.add_argument("--one-file-system", action="store_true", help="do not enter mount points")
    how = parser.add_argument_group("how")
    how.add_argument("--dry-run", "-n", action="store_true", help="say what would be read and left out, store nothing")
    how.add_argument(
        "--label", help="a name for this source; unchanged files are recognised within one label", type=given
    )
    how.add_argument(
        "--host", metavar="NAME", help="the machine it is of; without --label it begins the label", type=given
    )
    how.add_argument(
        "--tag", action="append", default=[], dest="tags", help="a word to find the snapshot by", type=given
    )
    how.add_argument(
        "--domain",
        default="default",
        metavar="NAME",
        help="the key domain: it shares nothing with others, and can be erased by itself",
        type=given,
    )
    how.add_argument("--paranoid", action="store_true", help="read every file, also those that look unchanged")
    how.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="TIER",
        help="fail if this tier (by name) does not get it",
        type=given,
    )
    how.add_argument(
        "--memory", type=positive, default=256, metavar="MIB", help="memory for what is in flight (default 256)"
    )


def _name(text: str) -> str:
    if text in {"", ".", ".."} or "/" in text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a file")
    return text
