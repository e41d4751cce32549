"""What `repo backup` is asked to back up: the source, the snapshot's label, and what the patterns left out."""

import argparse
import os
import sys
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from cli.given_file import read_given, told_while
from cli.options import UsageInvalid
from cli.output import say, shown
from cli.repo_session import split_name
from repository.backup.source import Source, SourceExcluded, SourceUnreachable
from repository.tiers.location import s3_options
from repository.tiers.places import lie_nested
from repository.tiers.s3.credentials import credentials_from
from repository.tiers.s3.options import S3Options
from sources.directory import DirectorySource
from sources.patterns import Patterns, lines_of
from sources.postgres.database import Database, is_database, password_from
from sources.postgres.physical.cluster import Cluster, is_cluster
from sources.several import SeveralSources
from sources.standard_input import StandardInput

LISTED_MAX = 50
"""Patterns that are shown to a person."""
ALL_LEFT_OUT = "the patterns have left out all there is: no file is saved"


@dataclass
class Asked:
    """A source as the command line names it. `named`: what stands for it in an error."""

    source: Source
    label: str
    named: str
    patterns: list[Patterns] = field(default_factory=list)

    def remarks(self) -> list[str]:
        """What has to be known of a source that was read whole: that its damage, if there is any, cannot be seen."""
        base = getattr(self.source, "base", None)
        if base is None or base.has_checksums:
            return []
        return ["the cluster has no data checksums: whether its pages are damaged was not seen (pg_checksums --enable)"]

    def left_out(self) -> dict[str, object]:
        """By pattern how many entries it decided; which matched nothing; how many caches were emptied."""
        counts: dict[str, int] = {}
        unmatched: set[bytes] | None = None
        for each in self.patterns:
            for text, count in each.counts.items():
                counts[shown(text)] = counts.get(shown(text), 0) + count
            unmatched = set(each.unmatched) if unmatched is None else unmatched & set(each.unmatched)
        return {
            "patterns": counts,
            "patterns_unmatched": sorted(map(shown, unmatched or ())),
            "caches": sum(each.caches for each in self.patterns),
        }

    def has_left_out(self) -> bool:
        """Whether a pattern left anything out."""
        return any(count and not text.startswith(b"!") for each in self.patterns for text, count in each.counts.items())

    def say_left_out(self) -> None:
        """For people: on standard output what was left out, on standard error which patterns matched nothing."""
        told = self.left_out()
        counts, unmatched = told["patterns"], told["patterns_unmatched"]
        assert isinstance(counts, dict)  # noqa: S101 - made above
        assert isinstance(unmatched, list)  # noqa: S101 - as well
        by_pattern = [(text, f"{count:,} by {text}") for text, count in counts.items() if count]
        words = [each for text, each in by_pattern if not text.startswith("!")]
        taken_back = [each for text, each in by_pattern if text.startswith("!")]
        if told["caches"]:
            words.append(f"what is in {told['caches']:,} caches")
        if words:
            say(f"left out: {_first(words)}")
        if taken_back:
            say(f"taken back, and saved: {_first(taken_back)}")
        if unmatched:
            more = f", and {len(unmatched) - LISTED_MAX:,} more" if len(unmatched) > LISTED_MAX else ""
            print(f"matched nothing: {', '.join(unmatched[:LISTED_MAX])}{more}", file=sys.stderr)
        if self.is_empty_input():
            print("standard input was empty: look whether the program before it has failed", file=sys.stderr)

    def is_empty_input(self) -> bool:
        """Whether it is standard input, and nothing came."""
        return isinstance(self.source, StandardInput) and self.source.is_taken and not self.source.bytes_read


def _first(words: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = f", and by {len(words) - LISTED_MAX:,} more" if len(words) > LISTED_MAX else ""
    return f"{', '.join(words[:LISTED_MAX])}{more}"


def asked_for(arguments: argparse.Namespace) -> Asked:
    """The source that the options name. Raises `UsageInvalid`, `PatternInvalid`, `SourceUnreachable`."""
    _refuse_contradictions(arguments)
    host = f"{arguments.host}:" if arguments.host else ""

    def label(otherwise: str) -> str:
        return str(arguments.label) if arguments.label is not None else host + otherwise

    if arguments.stdin:
        name = arguments.stdin_filename or "stdin"
        if sys.stdin is not None and sys.stdin.isatty():
            print("reading what is typed, until Ctrl-D", file=sys.stderr)
        return Asked(StandardInput(os.fsencode(name)), label(f"stdin:{_text(name)}"), "standard input")
    if any(map(is_bucket, arguments.paths)):
        address = _named_bucket(arguments.paths[0])
        return Asked(_bucket_of(arguments), label(address), address)
    if any(map(is_cluster, arguments.paths)):
        from sources.postgres.physical.source import ClusterSource

        cluster = _cluster_of(arguments)
        return Asked(ClusterSource(cluster), label(cluster.label), cluster.label)
    if any(map(is_database, arguments.paths)):
        from sources.postgres.source import PostgresSource

        database = _database_of(arguments)
        return Asked(PostgresSource(database), label(database.label), database.label)
    texts = _patterns_of(arguments)
    typed, listed = [os.fsencode(path) for path in arguments.paths], _listed(arguments.files_from)
    by_path: dict[bytes, list[bytes]] = {}
    for word in (*typed, *listed):
        by_path.setdefault(os.path.abspath(word), []).append(word)
    made: list[Patterns] = []

    def patterns_of(path: bytes) -> Patterns | None:
        if not texts and not arguments.exclude_caches:
            return None
        made.append(Patterns(texts, with_caches=arguments.exclude_caches, roots=[path, *by_path.get(path, ())]))
        return made[-1]

    # A tier below the source would be backed up into itself, and grow for ever.
    excluded, one_file_system = _folders_of(arguments.tiers), arguments.one_file_system
    if arguments.files_from is None and len(by_path) == 1:
        (path,) = by_path
        source: Source = DirectorySource(
            path, excluded=excluded, one_file_system=one_file_system, patterns=patterns_of(path)
        )
        return Asked(source, label(_text(os.fsdecode(path))), os.fsdecode(path), made)
    source = SeveralSources(
        by_path,
        listed=set(map(os.path.abspath, listed)).difference(map(os.path.abspath, typed)),
        excluded=excluded,
        one_file_system=one_file_system,
        patterns_of=patterns_of,
    )
    named = ", ".join(_text(os.fsdecode(path)) for path in by_path)
    if arguments.files_from is not None:
        # What the list names changes; the source is the same.
        from_where = "-" if arguments.files_from == "-" else os.path.abspath(arguments.files_from)
        return Asked(source, label(f"files-from:{_text(from_where)}"), from_where, made)
    return Asked(source, label(named), named, made)


def is_bucket(word: str) -> bool:
    """Whether a source or a target is the address of a bucket."""
    return word.startswith("s3://")


def lies_among_tiers(own: S3Options, tiers: list[str]) -> bool:
    """Whether a part of a bucket holds one of these tiers, or is part of it."""
    return any(lie_nested(own, address) for _, address in map(split_name, tiers))


def _named_bucket(address: str) -> str:
    return urlsplit(address)._replace(query="").geturl().rstrip("/")


def _bucket_of(arguments: argparse.Namespace) -> Source:
    """Raises `LocationInvalid`, and `SourceExcluded` for one that holds a tier of the repository."""
    address = _only_path(arguments, "a bucket", "Leave the excludes out, or give a longer prefix.")
    own, _ = s3_options(address, credentials=credentials_from(arguments.source_credentials))
    if lies_among_tiers(own, arguments.tiers):
        raise SourceExcluded(
            "the source holds a tier of the repository, or lies in it",
            hint="A backup of it would be backed up by the next one, and grow for ever: give another prefix.",
        )
    from sources.s3.source import BucketSource

    return BucketSource(own)


def _only_path(arguments: argparse.Namespace, what: str, hint: str) -> str:
    """The address of what is a source of its own, of which nothing is left out."""
    if len(arguments.paths) != 1 or arguments.files_from is not None:
        raise UsageInvalid(f"{what} is a source of its own", "Back up other paths with a command of their own.")
    if arguments.exclude or arguments.exclude_file or arguments.exclude_caches or arguments.one_file_system:
        raise UsageInvalid(f"of {what} nothing is left out", hint)
    return str(arguments.paths[0])


def _database_of(arguments: argparse.Namespace) -> Database:
    """Raises `LocationInvalid`, `AccessDenied`."""
    address = _only_path(arguments, "a database", "Leave the excludes out.")
    if arguments.dry_run:
        raise UsageInvalid("--dry-run cannot tell of a database", "Look at its size with psql: pg_database_size.")
    return Database(address, password_from(arguments.source_credentials))


def _cluster_of(arguments: argparse.Namespace) -> Cluster:
    """Raises `LocationInvalid`, `AccessDenied`."""
    address = _only_path(arguments, "a cluster", "Leave the excludes out.")
    if arguments.dry_run:
        raise UsageInvalid("--dry-run cannot tell of a cluster", "Look at its size with psql: pg_database_size.")
    return Cluster(address, password_from(arguments.source_credentials))


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    if arguments.stdin and (arguments.paths or arguments.files_from is not None):
        raise UsageInvalid("--stdin is one file, and paths are given", "Give the one or the other.")
    if arguments.stdin and arguments.dry_run:
        raise UsageInvalid("--dry-run reads nothing, and --stdin can only be read", "Leave one of them out.")
    if arguments.stdin and (arguments.exclude or arguments.exclude_file or arguments.exclude_caches):
        raise UsageInvalid("of standard input nothing can be left out", "Leave the excludes out.")
    if arguments.stdin_filename is not None and not arguments.stdin:
        raise UsageInvalid("--stdin-filename is the name of what --stdin reads", "Give --stdin, too.")
    if not (arguments.stdin or arguments.paths or arguments.files_from is not None):
        raise UsageInvalid("it is not said what is to be backed up", "Give a PATH, --files-from or --stdin.")


def _patterns_of(arguments: argparse.Namespace) -> list[bytes]:
    """Those of the files first: what is typed has the last word."""
    found = [line for file in arguments.exclude_file for line in lines_of(_read(file))]
    return [*found, *map(os.fsencode, arguments.exclude)]


def _listed(file: str | None) -> list[bytes]:
    if file is None:
        return []
    if file == "-":
        with told_while("standard input: it has not ended"):
            body = sys.stdin.buffer.read()
    else:
        body = _read(file)
    found = [line for line in body.split(b"\0" if b"\0" in body else b"\n") if line]
    if not found:
        raise SourceUnreachable("the list of paths is empty", hint="Look at what has made it.", file=file)
    return found


def _read(file: str) -> bytes:
    try:
        return read_given(file)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise SourceUnreachable("the file is not there", hint="Give one that is.", file=file) from error


def _text(path: str) -> str:
    """A path as text: what is not UTF-8 in it is written as a backslash, an x and two digits."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _folders_of(addresses: list[str]) -> list[str]:
    urls = (urlsplit(split_name(address)[1]) for address in addresses)
    return [unquote(url.path, errors="surrogateescape") for url in urls if url.scheme == "file"]
