"""Restores a database's snapshot, or some of its tables, into an empty database, by Postgres's own programs.

Promise: a table has all of its rows or none; what the server refuses is told, each by itself, and the rest goes on.
Rows are authenticated before the server gets them; nothing lies on a disk on the way. Order: roles, definitions,
rows (several tables at a time), large objects, sequences, then indexes, constraints, triggers and policies, and views.
"""

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final, NamedTuple

import msgspec

from repository.errors import RestoreRefused
from repository.opened.repository import Repository
from repository.progress import Ticker
from repository.restore.options import Conflict, RestoreOptions, RestoreResult, Trouble
from repository.restore.path_filter import Match, PathFilter
from repository.restore.snapshot_walk import root_entry
from repository.retention.pins import pinned
from repository.stored.snapshot import Snapshot
from repository.stored.tree import Entry, Flag
from sources.postgres import catalog as names
from sources.postgres.catalog import FORMAT, Catalog, Table, decoded
from sources.postgres.contents import Wanted, lines_for
from sources.postgres.database import Database
from sources.postgres.following.follower import parts_of
from sources.postgres.following.record import Part, lives_of, stream_name
from sources.postgres.following.replay import Replay, gap_behind, life_for, play, shown_time
from sources.postgres.programs import in_memory
from sources.postgres.source import KIND
from sources.postgres.target import COUNT_OWN, UPDATE, Target, knows_restrict
from sources.restoring import Restoring

_KEY: Final = re.compile(r"\d+; \d+ \d+ CONSTRAINT ")
"""A line of a dump's list: a primary key, or what is unique."""


class Until(NamedTuple):
    """A time in microseconds since 1970; None: all that is known."""

    time_us: int | None


def restore_to_database(
    repository: Repository,
    snapshot: Snapshot,
    target: Database,
    *,
    options: RestoreOptions,
    until: Until | None = None,
) -> RestoreResult:
    """Restore `snapshot`, which is of a database, into the target; with globs only the tables whose rows they match.

    `until`: go on behind the snapshot with what was committed until then, as far as the database was followed.
    What concerns single things is in the result's `troubles`. Raises `RestoreRefused` (nothing was changed),
    `TargetFailed`, `RestoreCancelled`, and what keeps the snapshot from being read.
    """
    with pinned(repository, "restore", [snapshot.id], only=options.tiers) as pinning:
        result = _Restore(repository, snapshot, target, options, until).run()
        result.unpinned = pinning.words()
    return result


def _ways(table: Table) -> list[bytes]:
    """The path of a table's rows, and of the folders on the way to it."""
    steps = table.path.split(b"/")
    return [b"/".join(steps[:count]) for count in (1, 2, 3)]


class _Restore(Restoring):
    """One restore."""

    def __init__(
        self,
        repository: Repository,
        snapshot: Snapshot,
        target: Database,
        options: RestoreOptions,
        until: Until | None,
    ) -> None:
        self._repository = repository
        self._until = until
        self._replay: Replay | None = None
        self._gap_us: int | None = None
        super().__init__(repository, snapshot, options)
        self._target = Target(target, trouble=self._trouble, check=self._check)
        self._files: dict[bytes, Entry] = {}
        self._empty: set[bytes] = set()

    def run(self) -> RestoreResult:
        """All of it."""
        started = time.monotonic()
        root = root_entry(self._snapshot, self._reader.chunk)
        if root.extra.attributes.get("source") != KIND["source"]:
            raise RestoreRefused(
                "the snapshot is of no database",
                hint="Restore it to a folder.",
                snapshot=self._snapshot.id[:12],
            )
        self._list(root)
        catalog = self._catalog()
        tables = self._chosen(catalog)
        self._refuse(tables)
        if self._until is not None:
            self._replay = self._prepared(catalog, tables, self._until)
        self._found_files = len(tables)
        self._found_bytes = sum(self._files[table.path].stat.size for table in tables if table.path in self._files)
        self._is_walked = True
        ticker = Ticker(self._options.on_progress, self._progress)
        ticker.start()
        try:
            self._restore(catalog, tables)
        finally:
            ticker.stop()
        self._result.seconds = time.monotonic() - started
        return self._result

    def _restore(self, catalog: Catalog, tables: list[Table]) -> None:
        wanted = self._wanted(tables)
        is_all = wanted is None
        with ExitStack() as stack:
            schema = stack.enter_context(in_memory(self._body(names.SCHEMA)))
            if is_all:
                self._run_script(names.ROLES)
            present = self._target.look()
            listing = self._target.listed(schema)
            lines = list(lines_for(listing, wanted, present, self._target.managed))
            chosen = stack.enter_context(in_memory("\n".join([*lines, ""]).encode()))
            self._target.define("pre-data", schema, chosen)
            with ThreadPoolExecutor(self._target.database.connections, thread_name_prefix="load") as pool:
                # The largest first, so that none is left alone at the end.
                filled = [table for table in tables if table.path not in self._empty]
                order = sorted(filled, key=lambda table: -self._files[table.path].stat.size)
                for done in [pool.submit(self._load, table) for table in order]:
                    done.result()
            if is_all and catalog.large_objects:
                self._run_script(names.LARGE_OBJECTS)
            self._set_sequences(wanted)
            if self._replay is not None:
                # Changes find their rows by keys; what else is checked and triggered comes behind them.
                keys = [line for line in lines if _KEY.match(line)]
                self._target.define(
                    "post-data", schema, stack.enter_context(in_memory("\n".join(keys).encode() + b"\n"))
                )
                self._play(self._replay, tables)
                rest = [line for line in lines if not _KEY.match(line)]
                chosen = stack.enter_context(in_memory("\n".join([*rest, ""]).encode()))
            self._target.define("post-data", schema, chosen)
            self._target.fill_views(each for each in catalog.views if wanted is None or each[0] in wanted.schemas)
            if is_all:
                self._run_script(names.SETTINGS)

    def _parts(self) -> Iterator[Part]:
        return parts_of(self._repository, stream_name(self._snapshot.manifest.label), tiers=self._options.tiers or None)

    def _prepared(self, catalog: Catalog, tables: list[Table], until: Until) -> Replay:
        """What is played behind the rows. Raises `RestoreRefused` where that does not lead to the time."""
        lives = lives_of(self._parts())
        life = life_for(catalog, lives, until.time_us)
        if until.time_us is None:
            self._gap_us = gap_behind(catalog, lives, life)
        loaded = [table for table in tables if table.path not in self._empty]
        return Replay(catalog, loaded, life, until.time_us, trouble=self._behind, check=self._check)

    def _behind(self, table: str, why: str) -> None:
        self._trouble(table.encode(), Trouble.NOT_SAVED, why)

    def _play(self, replay: Replay, tables: list[Table]) -> None:
        self._target.free_identities(tables)
        refused = play(replay, self._parts(), self._target.database)
        self._target.bind_identities(tables)
        gap = shown_time(self._gap_us) if self._gap_us is not None else None
        self._result.reached = {**replay.reached(), "gap_since": gap, "is_reached": not refused and gap is None}
        if gap is not None:
            self._behind(
                os.fsdecode(names.DESCRIPTION),
                f"lacks what was committed since {gap}: there is a gap in what was followed. A snapshot that was made "
                "since then reaches further; where there is none, back the database up now",
            )
        if refused:
            self._trouble(names.DESCRIPTION, Trouble.NOT_CREATED, f"a transaction was refused: {refused}")

    def _list(self, root: Entry) -> None:
        walk = self._walk(PathFilter())
        for step in walk.steps(root):
            self._check()
            if step.entry.is_file:
                self._files[step.path] = step.entry

    def _catalog(self) -> Catalog:
        try:
            catalog = decoded(self._body(names.DESCRIPTION))
        except (msgspec.MsgspecError, ValueError) as error:
            raise RestoreRefused("the snapshot's description of its database cannot be read") from error
        if catalog.format > FORMAT:
            raise RestoreRefused("the snapshot is of a newer version", hint="Restore it with the newest version.")
        return catalog

    def _chosen(self, catalog: Catalog) -> list[Table]:
        """The tables that are wanted; all, where there is no glob. Raises `RestoreRefused` for one that names none."""
        chosen = {
            table.path: table for glob in self._options.globs or (None,) for table in self._matching(catalog, glob)
        }
        found = []
        for path, table in chosen.items():
            entry = self._files.get(path)
            if entry is None or entry.content is None or entry.extra.flags & Flag.UNREADABLE:
                self._trouble(path, Trouble.NOT_SAVED, "it is restored without rows")
                self._empty.add(path)
            found.append(table)
        return found

    def _matching(self, catalog: Catalog, glob: bytes | str | None) -> list[Table]:
        wanted = PathFilter(() if glob is None else (glob,))
        found = [table for table in catalog.tables if any(wanted.match(path) is Match.WANTED for path in _ways(table))]
        if glob is not None and not found:
            raise RestoreRefused(
                "a path matches no table",
                hint="Write tables/SCHEMA or tables/SCHEMA/TABLE: `repo ls SNAPSHOT tables` shows them.",
                path=os.fsdecode(glob),
            )
        return found

    def _wanted(self, tables: list[Table]) -> Wanted | None:
        """What is restored; None for all. A schema that a path names comes with all that lies in it."""
        if not self._options.globs:
            return None
        paths = PathFilter(self._options.globs)
        return Wanted(tables, {each.schema for each in tables if paths.match(_ways(each)[1]) is Match.WANTED})

    def _refuse(self, tables: list[Table]) -> None:
        if not knows_restrict(self._target.version()):
            raise RestoreRefused("Postgres's programs are too old to be given what a server has told", hint=UPDATE)
        if self._options.conflict is not Conflict.REFUSE:
            raise RestoreRefused(
                "a database is restored into an empty one, and into nothing else",
                hint="Leave --on-conflict out, and make a new one: createdb NAME.",
            )
        if not self._options.globs:
            if any(int(count) for count in self._target.asked(COUNT_OWN).split()):
                raise RestoreRefused(
                    "the target database is not empty",
                    hint="Make a new one (createdb NAME), and give that: nothing is restored over what is there.",
                )
            return
        present = "".join(
            f"SELECT 1 WHERE pg_catalog.to_regclass({names.literal(table.sql)}) IS NOT NULL;\n" for table in tables
        )
        if self._target.asked(present):
            raise RestoreRefused(
                "the target database has a table of that name",
                hint="Rename it, or restore into another database and copy from there.",
            )

    def _load(self, table: Table) -> None:
        entry = self._files[table.path]
        if self._target.load(table, self._pieces_of(entry), verify=self._options.verify):
            self._restored(entry)

    def _set_sequences(self, wanted: Wanted | None) -> None:
        lines = self._body(names.SEQUENCES).decode().splitlines()
        chosen = [line for line in lines if wanted is None or wanted.has_sequence(line)]
        self._target.run(names.SEQUENCES, ["\n".join([*chosen, ""]).encode()])

    def _run_script(self, name: bytes) -> None:
        """The statements of a file, each by itself."""
        entry = self._files.get(name)
        if entry is None or entry.content is None or entry.extra.flags & Flag.UNREADABLE:
            self._trouble(name, Trouble.NOT_SAVED, "")
            return
        self._target.run(name, self._pieces_of(entry))

    def _body(self, name: bytes) -> bytes:
        """A file of the snapshot that nothing is restored without. Raises what keeps it from being read."""
        entry = self._files.get(name)
        if entry is None or entry.content is None or entry.extra.flags & Flag.UNREADABLE:
            raise RestoreRefused("the snapshot lacks what a database is made from", file=name.decode())
        return b"".join(self._pieces_of(entry))
