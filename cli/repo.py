"""`wedsync-backup repo`: a repository with nothing but its key and its tiers, for the day when all else is down.

Here are the options alone; each sub-command's work is in a `cli.repo_*` module that is imported when it
is asked for. The manual, with the exit codes, is docs/repository-cli.md.
"""

import argparse
import importlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from cli.backup_options import add_backup_options, add_follow_options, log_position, moment
from cli.exit_codes import ExitCode
from cli.options import HEADS_UNKNOWN, Parser, credentials_option, given, positive, tier_address
from cli.repo_defaults import add_profile, complete
from cli.repo_key_options import add_key_options, configure_keys
from sources.descriptors import allow_many_descriptors

_URLS = "/PATH, file:///PATH or s3://BUCKET/PREFIX?endpoint=URL; NAME= before it names it"


class _Subcommand(NamedTuple):
    module: str
    function: str
    summary: str
    needs_key: bool = True
    needs_tiers: bool = True


_SUBCOMMANDS = {
    "init": _Subcommand("cli.repo_write", "init", "create a repository on all given tiers"),
    "backup": _Subcommand("cli.repo_backup", "backup", "back up files and folders to all given tiers"),
    "follow": _Subcommand("cli.repo_follow", "follow", "keep what a database commits between its backups"),
    "snapshots": _Subcommand("cli.repo_snapshots", "snapshots", "list the snapshots, and which tiers have them"),
    "ls": _Subcommand("cli.repo_read", "ls", "list what a snapshot holds"),
    "find": _Subcommand("cli.repo_read", "find", "find files by name in all snapshots"),
    "diff": _Subcommand("cli.repo_read", "diff", "say what differs between two snapshots"),
    "restore": _Subcommand("cli.repo_restore", "restore", "restore a snapshot, or part of it, below a folder"),
    "dump": _Subcommand("cli.repo_dump", "dump", "write a file, or a folder as a tar archive, to standard output"),
    "cat": _Subcommand("cli.repo_dump", "cat", "write files to standard output, one after the other"),
    "check": _Subcommand("cli.repo_upkeep", "check", "look for damage: structure, or stored bytes too"),
    "repair": _Subcommand("cli.repo_upkeep", "repair", "replace what is damaged or missing by another tier's copy"),
    "catch-up": _Subcommand("cli.repo_catch_up", "catch_up", "bring tiers that were away up to the others"),
    "rebuild-index": _Subcommand("cli.repo_upkeep", "rebuild_index", "make a tier's index anew from its packs"),
    "forget": _Subcommand("cli.repo_retention", "forget", "let snapshots go: by rules, or by id"),
    "prune": _Subcommand("cli.repo_prune", "prune", "free the space of what was forgotten"),
    "locks": _Subcommand("cli.repo_locks", "locks", "what is locked, and what for longer than a snapshot needs it"),
    "hold": _Subcommand("cli.repo_retention", "hold", "keep snapshots, whoever forgets or prunes, until the release"),
    "release": _Subcommand("cli.repo_retention", "release", "end a hold"),
    "holds": _Subcommand("cli.repo_retention", "holds", "list what is held"),
    "pins list": _Subcommand("cli.repo_pins", "show", "who reads, and so keeps a prune from deleting what he reads"),
    "pins release": _Subcommand("cli.repo_pins", "let_go", "let go what nobody reads any more"),
    "tag": _Subcommand("cli.repo_retention", "tag", "give snapshots other tags"),
    "erase": _Subcommand("cli.repo_erase", "erase_domain", "destroy the keys of a key domain, in two steps"),
    "verify-receipt": _Subcommand(
        "cli.repo_erase", "verify_receipt", "prove the receipt of an erasure, with nothing running", False, False
    ),
    "key list": _Subcommand("cli.repo_key", "show", "which keys there are, and who opens them"),
    "key add": _Subcommand("cli.repo_key", "add", "let another key file open the repository, too"),
    "key rotate": _Subcommand("cli.repo_key", "rotate", "a new key: of the key file, or of the data"),
    "key remove": _Subcommand("cli.repo_key", "remove", "end a key that opens the repository"),
    "key domain": _Subcommand("cli.repo_key", "domain", "begin a key domain, which can be erased by itself"),
    "kit export": _Subcommand("cli.repo_kit", "export", "the key in shares to be printed, of which some give it back"),
    "kit check": _Subcommand("cli.repo_kit", "check", "whether shares open the repository", needs_key=False),
    "kit restore": _Subcommand("cli.repo_kit", "restore", "a key file from shares", False, False),
    "stats": _Subcommand("cli.repo_read", "stats", "sizes per tier and per class of content"),
}

_GROUPS = {
    "key": "the keys of the repository: list, add, rotate, remove, domain",
    "pins": "what is kept for who reads it: list, release",
    "kit": "the recovery kit: export, check, restore",
}


class _Unasked(Parser):
    """Stands for the sub-commands that the command line does not name: their options take a tenth of a start."""

    def __init__(self) -> None:
        super().__init__(add_help=False, conflict_handler="resolve")
        self._nothing = super().add_argument("nothing")

    def add_argument(self, *_names: Any, **_options: Any) -> argparse.Action:
        """Nothing is added."""
        return self._nothing


def configure(parser: argparse.ArgumentParser) -> None:
    """Every sub-command with its options; of a command line that is known, only the one that it names."""
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    asked = _asked(getattr(parser, "words", None) or ())
    parsers: dict[str, argparse.ArgumentParser] = {} if asked is None else dict.fromkeys(_SUBCOMMANDS, _Unasked())
    groups = {"": commands}
    for name, each in _SUBCOMMANDS.items():
        if asked not in (None, name):
            continue
        group, _, word = name.rpartition(" ")
        if group not in groups:
            owner = commands.add_parser(group, help=_GROUPS[group], description=_GROUPS[group], allow_abbrev=False)
            groups[group] = owner.add_subparsers(dest="action", metavar="ACTION", required=True)
        parsers[name] = groups[group].add_parser(
            word, help=each.summary, description=each.summary, parents=[_common(each)], allow_abbrev=False
        )
    for name in ("init", "catch-up"):
        parsers[name].add_argument(
            "--beside-other-files", action="store_true", help="make a tier though other files lie at its place"
        )
    _configure_writing(parsers)
    _configure_reading(parsers)
    _configure_upkeep(parsers)
    _configure_retention(parsers)
    configure_keys(parsers)


def _asked(words: Sequence[str]) -> str | None:
    """The sub-command whose name these words begin with, if there is one."""
    found = (" ".join(words[:count]) for count in (1, 2))
    return next((name for name in found if name in _SUBCOMMANDS), None)


def run(arguments: argparse.Namespace) -> int:
    """Do the sub-command."""
    # The index is sorted and searched, never multiplied: NumPy's threads would only spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A deep tree, many tiers or a restore of many large files need more than the usual thousand.
    allow_many_descriptors()
    complete(arguments)
    action = vars(arguments).get("action")
    chosen = _SUBCOMMANDS[f"{arguments.subcommand} {action}" if action else arguments.subcommand]
    code: int = getattr(importlib.import_module(chosen.module), chosen.function)(arguments)
    # Whether a tier went back could not be seen: nobody is told that all is well.
    return code or (ExitCode.DEGRADED if vars(arguments).get(HEADS_UNKNOWN) else ExitCode.OK)


def _common(command: _Subcommand) -> argparse.ArgumentParser:
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="one JSON document on standard output, no progress")
    if command.needs_key:
        add_key_options(common)
    if not command.needs_tiers:
        return common
    common.add_argument(
        "--tier",
        metavar="URL",
        action="append",
        required=True,
        dest="tiers",
        help=f"a tier, once for each: {_URLS}",
        type=tier_address,
    )
    common.add_argument(
        "--credentials",
        metavar="[TIER=]WHERE",
        action="append",
        default=[],
        type=credentials_option,
        help="where an S3 tier's (by default each one's) credentials are: env, env:PREFIX, file:PATH (JSON, its owner's"
        " alone) or profile:NAME; may be repeated (default: env)",
    )
    add_profile(common)
    return common


def _configure_writing(parsers: dict[str, argparse.ArgumentParser]) -> None:
    add_backup_options(parsers["backup"])
    add_follow_options(parsers["follow"])
    _add_lock_days(parsers["backup"])
    restore = parsers["restore"]
    restore.add_argument("snapshot", metavar="SNAPSHOT", help="an id, the beginning of one, or `latest`", type=given)
    restore.add_argument(
        "--target",
        required=True,
        metavar="DIR",
        help="the folder or bucket to restore below, or an empty database",
        type=given,
    )
    restore.add_argument(
        "--target-credentials",
        default="env",
        metavar="WHERE",
        type=given,
        help="where those of a bucket or a database are: env (the default), env:PREFIX, file:PATH or profile:NAME",
    )
    restore.add_argument(
        "--path",
        action="append",
        default=[],
        metavar="GLOB",
        dest="globs",
        help="only what matches; may be repeated",
        type=given,
    )
    restore.add_argument(
        "--at",
        "--to-time",
        dest="at",
        type=moment,
        metavar="TIME",
        default=argparse.SUPPRESS,
        help="of a database or cluster that is followed: as it was then (2026-05-01T12:00:00Z), or `latest`; with "
        "`latest` for SNAPSHOT from the newest that is older",
    )
    for option, metavar, what, kind in (
        ("--to-lsn", "POSITION", "all of its log before that (0/3000148)", log_position),
        ("--to-xid", "NUMBER", "to that transaction's commit", positive),
        ("--to-name", "NAME", "to the point that pg_create_restore_point made", given),
    ):
        restore.add_argument(option, metavar=metavar, type=kind, help=f"of a cluster that is followed: {what}")
    restore.add_argument(
        "--on-conflict",
        choices=("refuse", "skip", "overwrite", "rename"),
        default="refuse",
        help="where something is in the way: refuse (the target has to be empty or hold an interrupted"
        " restore of the same snapshot, which is gone on with), skip, overwrite, or restore beside it",
    )
    restore.add_argument(
        "--from", action="append", default=[], metavar="TIER", dest="sources", help="read from it", type=given
    )
    restore.add_argument("--verify", action="store_true", help="read everything back from the target at the end")
    restore.add_argument("--no-sparse", action="store_true", help="write the holes of sparse files too")


def _configure_reading(parsers: dict[str, argparse.ArgumentParser]) -> None:
    snapshots = parsers["snapshots"]
    snapshots.add_argument("--label", help="only snapshots of this source", type=given)
    snapshots.add_argument("--host", metavar="NAME", help="only snapshots of this machine", type=given)
    snapshots.add_argument(
        "--tag", action="append", default=[], dest="tags", help="only those that have it; of several, all", type=given
    )
    listing = parsers["ls"]
    listing.add_argument("snapshot", metavar="SNAPSHOT", help="an id, the beginning of one, or `latest`", type=given)
    listing.add_argument("path", nargs="?", metavar="PATH", help="a folder or file of the snapshot", type=given)
    listing.add_argument("--recursive", "-r", action="store_true", help="what is below the folders too")
    listing.add_argument("--long", "-l", action="store_true", help="mode, owner, size and time of each")
    dump = parsers["dump"]
    dump.add_argument("snapshot", metavar="SNAPSHOT", help="an id, the beginning of one, or `latest`", type=given)
    dump.add_argument("path", nargs="?", metavar="PATH", help="a file, or a folder (default: all)", type=given)
    cat = parsers["cat"]
    cat.add_argument("snapshot", metavar="SNAPSHOT", help="an id, the beginning of one, or `latest`", type=given)
    cat.add_argument("paths", nargs="+", metavar="PATH", help="a file of the snapshot", type=given)
    find = parsers["find"]
    find.add_argument(
        "pattern", metavar="GLOB", help="a name (IMG_*.JPG), or a path if it has a slash in it", type=given
    )
    find.add_argument("--snapshot", metavar="SNAPSHOT", help="look into this one alone", type=given)
    diff = parsers["diff"]
    diff.add_argument("before", metavar="SNAPSHOT", type=given)
    diff.add_argument("after", metavar="SNAPSHOT", type=given)


def _configure_upkeep(parsers: dict[str, argparse.ArgumentParser]) -> None:
    for name in ("check", "repair", "catch-up", "rebuild-index"):
        parsers[name].add_argument(
            "--only", action="append", default=[], metavar="TIER", help="this tier alone", type=given
        )
    _add_lock_days(parsers["catch-up"])
    parsers["catch-up"].add_argument(
        "--begin-anew",
        metavar="NAME",
        help="a tier that was in use and is empty now is gone for good: begin it again where it was",
    )
    for name in ("check", "repair"):
        parsers[name].add_argument(
            "--read-data",
            nargs="?",
            type=_percent,
            const=100.0,
            default=0.0,
            metavar="PERCENT",
            help="read stored bytes back and prove them: all, or that share of them",
        )
    parsers["repair"].add_argument(
        "--bridge",
        action="store_true",
        help="give up log entries of which there is no whole copy, and with each a snapshot, perhaps; exit code 4",
    )
    parsers["repair"].add_argument(
        "--give-up-streams",
        metavar="TIER",
        help="where this tier and another have different histories of a stream: set this one's aside, take the other's",
        type=given,
    )
    parsers["repair"].add_argument(
        "--accept-history",
        metavar="TIER",
        help="this tier went back to an older state, you know why, and it is right",
        type=given,
    )


def _configure_retention(parsers: dict[str, argparse.ArgumentParser]) -> None:
    forget = parsers["forget"]
    forget.add_argument("snapshots", metavar="SNAPSHOT", nargs="*", help="these, in place of rules", type=given)
    for word, what in (
        ("last", "of the newest"),
        ("hourly", "hours that have one, the newest of each"),
        ("daily", "days"),
        ("weekly", "ISO weeks"),
        ("monthly", "months"),
        ("yearly", "years"),
    ):
        forget.add_argument(f"--keep-{word}", type=positive, default=0, metavar="N", help=f"keep N {what}")
    forget.add_argument(
        "--keep-within",
        metavar="SPAN",
        type=given,
        help="keep what is at most so much older than the newest: 36h, 90d, 1y6m",
    )
    forget.add_argument("--keep-tag", action="append", default=[], metavar="TAG", help="keep what has it", type=given)
    forget.add_argument("--label", help="look at the snapshots of this source alone", type=given)
    forget.add_argument("--host", metavar="NAME", help="look at those of this machine alone", type=given)
    forget.add_argument("--time-zone", default="UTC", metavar="ZONE", help="where days begin (default UTC)", type=given)
    forget.add_argument("--dry-run", "-n", action="store_true", help="say what would go and what stays, do nothing")
    prune = parsers["prune"]
    prune.add_argument("--only", action="append", default=[], metavar="TIER", help="this tier alone", type=given)
    prune.add_argument(
        "--unreferenced",
        action="store_true",
        help="also what no snapshot ever needed: only if nobody backs up meanwhile",
    )
    prune.add_argument(
        "--max-unused",
        type=_percent_or_none,
        default=5.0,
        metavar="PERCENT",
        help="of what stays, so much may be waste before packs are written again (default 5; 0: none; 100: never)",
    )
    prune.add_argument("--max-repack", type=positive, metavar="MIB", help="write so much again, at most")
    prune.add_argument("--dry-run", "-n", action="store_true", help="say what would go, do nothing")
    prune.set_defaults(gives_way=True)
    parsers["locks"].add_argument(
        "--only", action="append", default=[], metavar="TIER", help="this tier alone", type=given
    )
    hold = parsers["hold"]
    hold.add_argument("name", metavar="NAME", help="what the hold is called", type=given)
    hold.add_argument("snapshots", metavar="SNAPSHOT", nargs="*", help="what is held", type=given)
    hold.add_argument("--all", action="store_true", help="hold every snapshot, those to come as well")
    tag = parsers["tag"]
    tag.add_argument(
        "snapshots", metavar="SNAPSHOT", nargs="+", help="an id, the beginning of one, or `latest`", type=given
    )
    tag.add_argument("--add", action="append", default=[], metavar="TAG", help="give it", type=given)
    tag.add_argument("--remove", action="append", default=[], metavar="TAG", help="take it away", type=given)
    tag.add_argument("--set", action="append", metavar="TAG", help="this one, and no others; empty: none")
    parsers["release"].add_argument("name", metavar="NAME", help="the hold", type=given)
    let_go = parsers["pins release"]
    let_go.add_argument("pin", metavar="PIN", help="an id as `repo pins list` shows it, or its beginning", type=given)
    for each in (let_go, parsers["pins list"]):
        each.add_argument("--only", action="append", default=[], metavar="TIER", help="this tier alone", type=given)
    for each in (forget, hold):
        each.add_argument("--reason", default="", help="why; it is kept with the order")


def _add_lock_days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lock-days",
        action="append",
        default=[],
        type=_lock_days,
        metavar="[TIER=]DAYS",
        help="lock what is stored for so long, on this tier or on each; one that cannot lock gets nothing",
    )


def _lock_days(text: str) -> tuple[str, int]:
    name, equals, days = text.rpartition("=")
    if equals and not name:
        raise argparse.ArgumentTypeError("names no tier before '='")
    return name, positive(days)


def _percent(text: str) -> float:
    number = _percent_or_none(text, "a number above 0 and up to 100")
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 100")
    return number


def _percent_or_none(text: str, what: str = "a number from 0 to 100") -> float:
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return number
