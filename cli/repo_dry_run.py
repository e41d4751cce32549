"""`repo backup --dry-run`: what a backup would read, and what it would leave out. Nothing is read or stored.

What is new is told by names, sizes and times, as a backup does it; how much of it is stored already only reading shows.
"""

import argparse
import stat as stat_bits
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from cli.backup_source import ALL_LEFT_OUT, Asked
from cli.exit_codes import ExitCode
from cli.output import name_fields, say, say_json, shown, size
from cli.repo_session import opened
from cli.repo_snapshots import completeness_of
from cli.streams import heard
from repository.backup.parent_pages import OldEntry, ParentPages
from repository.backup.source import LOSSES, FileProblem, SourceDirectory, SourceUnreachable
from repository.errors import about
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.stored.tree import ROOT_NAME, Row, page_boundaries

KEPT_MAX = 10_000
"""Entries that a document lists; the counts count all."""


class _Would(NamedTuple):
    """One entry that would be read (`+`: new, `M`: changed), or that could not be (`!`)."""

    mark: str
    path: bytes
    size: int
    words: str = ""


class _Todo(NamedTuple):
    """A folder that was not entered yet: its path with a slash behind it, and what the parent has of it."""

    above: bytes
    enter: Callable[[], SourceDirectory]
    old: ParentPages


class _Walk:
    """Goes through a source beside the snapshot that a backup would compare it with."""

    def __init__(self, *, paranoid: bool) -> None:
        self.files = self.others = self.folders = self.bytes = self.to_read = self.bytes_to_read = self.lost = 0
        self._paranoid = paranoid
        self._found: list[_Would] = []

    def run(self, asked: Asked, parent: ParentPages) -> Iterator[_Would]:
        """What would be read, in the order in which it would be."""
        _, root = asked.source.root()
        parent.advance([ROOT_NAME])
        todo: list[_Todo] = [_Todo(b"", lambda: root, parent.directory(ROOT_NAME))]
        while todo:
            yield from self._folder(todo)

    def _folder(self, todo: list[_Todo]) -> list[_Would]:
        """One folder; those below it come next. An open one closes with the last that is to be entered from it."""
        above, enter, old = todo.pop()
        self._found = []
        below: list[_Todo] = []
        try:
            directory = enter()
            names = directory.names()
        except FileProblem as problem:
            self._problem(above, problem)
            return self._found
        self.folders += 1
        start = 0
        for end in page_boundaries(names):
            below += self._page(above, directory, old, names[start:end])
            start = end
        todo += reversed(below)
        return self._found

    def _page(self, above: bytes, directory: SourceDirectory, old: ParentPages, names: list[bytes]) -> Iterator[_Todo]:
        listing = directory.rows(names, lambda name, trouble: self._problem(above + name, trouble))
        identities: Sequence[bytes | None] = listing.identities or [None] * len(names)
        found = zip(names, listing.rows, identities, strict=True)
        known = [(name, row, identity) for name, row, identity in found if row is not None]
        old.advance([name for name, _, _ in known])
        for name, row, identity in known:
            if stat_bits.S_ISDIR(row[0]):
                yield _Todo(above + name + b"/", partial(directory.enter, name), old.directory(name))
            elif stat_bits.S_ISREG(row[0]):
                self._file(above + name, row, old.find(name), identity)
            else:
                self.others += 1

    def _file(self, path: bytes, row: Row, before: OldEntry | None, identity: bytes | None) -> None:
        self.files += 1
        self.bytes += max(row[3], 0)
        if before is not None and before.row == row and before.content is not None and not self._paranoid:
            known = before.extra.identity if before.extra is not None else b""
            if row[5] if identity is None else identity == known:
                return
        self.to_read += 1
        self.bytes_to_read += max(row[3], 0)
        self._found.append(_Would("+" if before is None else "M", path, row[3]))

    def _problem(self, path: bytes, problem: FileProblem) -> None:
        self.lost += problem.reason in LOSSES
        self._found.append(_Would("!", path, 0, f"{problem.reason} {problem.detail}".rstrip()))


def dry_run(arguments: argparse.Namespace, asked: Asked) -> int:
    """Say it."""
    walk = _Walk(paranoid=arguments.paranoid)
    entries: list[_Would] = []
    with opened(arguments, only_reads=True) as repository:
        with about(SourceUnreachable, path=asked.named):
            for would in heard(walk.run(asked, _parent(repository, asked.label))):
                if arguments.json:
                    entries += [would] if len(entries) < KEPT_MAX else []
                elif would.mark == "!":
                    print(f"! {shown(would.path)}: {would.words}", file=sys.stderr)
                else:
                    say(f"{would.mark} {shown(would.path)}")
        code = completeness_of(repository)
    counts = {"files": walk.files, "folders": walk.folders, "bytes": walk.bytes}
    counts |= {"files_to_read": walk.to_read, "bytes_to_read": walk.bytes_to_read, "failed": walk.lost}
    is_all = not walk.others and not walk.files and not walk.lost and asked.has_left_out()
    if arguments.json:
        listed = [{"mark": each.mark, **name_fields("path", each.path), "size": each.size} for each in entries]
        say_json(
            {
                "dry_run": True,
                "label": asked.label,
                "entries": listed,
                "totals": counts,
                "all_left_out": is_all,
                **asked.left_out(),
            }
        )
    else:
        say(f"{walk.files:,} files, {size(walk.bytes)}; {walk.to_read:,} would be read, {size(walk.bytes_to_read)}")
        asked.say_left_out()
        if is_all:
            print(ALL_LEFT_OUT, file=sys.stderr)
    return ExitCode.INCOMPLETE if walk.lost or is_all else code


def _parent(repository: Repository, label: str) -> ParentPages:
    """The tree that a backup would compare with: that of the latest snapshot of the label."""
    for snapshot in reversed(repository.snapshots(label)):
        reader = ChunkReader(nearest_first(repository.tiers_with(snapshot)), repository.keys)
        return ParentPages(bytes.fromhex(snapshot.manifest.root[0]), 0, reader.chunk)
    return ParentPages(b"", 0, lambda _id: b"")
