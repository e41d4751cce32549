"""`repo ls`, `find`, `diff` and `stats`: looking, without changing anything."""

import argparse
import os
import stat as stat_bits
import sys
from collections.abc import Iterator

from cli.exit_codes import ExitCode
from cli.output import columns, moment, name_fields, percent_saved, say, say_json, shown, size, timestamp
from cli.repo_session import opened, tier_states
from cli.repo_snapshots import certainty_of, completeness_of
from cli.snapshot_tree import Change, ChangeKind, Found, SnapshotTree, differences
from cli.streams import heard
from repository.errors import RepositoryError, SnapshotNotFound
from repository.opened.pack_access import ChunkReader
from repository.opened.repository import Repository
from repository.stored.snapshot import ClassTotals, Snapshot
from repository.stored.tree import Entry, Flag


def ls(arguments: argparse.Namespace) -> int:
    """The entries of a folder of a snapshot, or of all folders below it."""
    with opened(arguments, only_reads=True) as repository:
        damage = _Damage(arguments.json)
        snapshot = repository.find_snapshot(arguments.snapshot)
        certainty = certainty_of(repository, {arguments.snapshot: snapshot})
        tree = _tree(repository, snapshot, damage)
        path = os.fsencode(arguments.path or "").strip(b"/")
        entry = tree.at(path)
        if entry is None:
            raise SnapshotNotFound(
                "the snapshot has nothing at this path",
                hint="List its root with `repo ls`.",
                snapshot=snapshot.id[:12],
                path=shown(path),
            )
        found: Iterator[Found]
        if not entry.is_directory:
            found = iter((Found(path, entry),))
        elif arguments.recursive:
            found = tree.walk(entry, path)
        else:
            found = (Found(path + b"/" + each.name if path else each.name, each) for each in tree.below(entry, path))
        if arguments.json:
            entries = [entry_document(each) for each in found]
            is_newest = {"is_newest_known": certainty is ExitCode.OK}
            say_json({"snapshot": snapshot.id, **is_newest, "entries": entries, "damage": damage.documents})
        else:
            for each in heard(found):
                say(_long(each) if arguments.long else shown(each.path) + ("/" if each.entry.is_directory else ""))
        return damage.exit_code or certainty


def find(arguments: argparse.Namespace) -> int:
    """Entries by name, in one snapshot or in all of them, newest first."""
    with opened(arguments, only_reads=True) as repository:
        damage = _Damage(arguments.json)
        wanted = arguments.snapshot
        chosen = [repository.find_snapshot(wanted)] if wanted else repository.snapshots()[::-1]
        pattern = os.fsencode(arguments.pattern)
        matches: list[dict[str, object]] = []
        count = 0
        for snapshot in chosen:
            for found in heard(_tree(repository, snapshot, damage).find(pattern)):
                count += 1
                if arguments.json:
                    matches.append({"snapshot": snapshot.id, **entry_document(found)})
                else:
                    say(f"{snapshot.id[:12]}  {_long(found)}")
        if arguments.json:
            say_json({"matches": matches, "damage": damage.documents})
        if damage.documents:
            return damage.exit_code
        code = certainty_of(repository, {wanted: chosen[0]}) if wanted else completeness_of(repository)
        if code is not ExitCode.OK:
            return code
        return ExitCode.OK if count else ExitCode.NOT_FOUND


def diff(arguments: argparse.Namespace) -> int:
    """What differs between two snapshots. Exit code 10 where something does."""
    with opened(arguments, only_reads=True) as repository:
        damage = _Damage(arguments.json)
        before, after = (repository.find_snapshot(each) for each in (arguments.before, arguments.after))
        changes = differences(_tree(repository, before, damage), _tree(repository, after, damage))
        counts = dict.fromkeys(ChangeKind, 0)
        documents: list[dict[str, object]] = []
        for change in heard(changes):
            counts[change.kind] += 1
            if arguments.json:
                documents.append(_change_document(change))
            else:
                say(f"{_MARKS[change.kind]} {shown(change.path) or '.'}")
        if arguments.json:
            names = {"before": before.id, "after": after.id}
            say_json({**names, "changes": documents, "counts": counts, "damage": damage.documents})
        else:
            say(", ".join(f"{count:,} {kind}" for kind, count in counts.items()))
        certainty = certainty_of(repository, {arguments.before: before, arguments.after: after})
        if damage.documents or certainty is not ExitCode.OK:
            return damage.exit_code or certainty
        return ExitCode.DIFFERENT if any(counts.values()) else ExitCode.OK


_STATES = {Flag.CHANGED: "changed-while-saved", Flag.UNREADABLE: "not-saved"}
_MARKS = {ChangeKind.ADDED: "+", ChangeKind.REMOVED: "-", ChangeKind.CONTENT: "M", ChangeKind.METADATA: "m"}


def stats(arguments: argparse.Namespace) -> int:
    """What each tier holds, and what each class of content took."""
    with opened(arguments, only_reads=True) as repository:
        kept = repository.snapshots()
        by_class: dict[str, ClassTotals] = {}
        for snapshot in kept:
            for name, totals in snapshot.manifest.by_class.items():
                by_class[name] = _added(by_class.get(name, ClassTotals()), totals)
        tiers = {tier.name: _stored(repository, tier.name) for tier in repository.readable_tiers()}
        newest = kept[-1].manifest.by_class if kept else {}
        if arguments.json:
            classes = {
                name: {**_class_document(totals), "newest_source_bytes": newest.get(name, ClassTotals()).source_bytes}
                for name, totals in by_class.items()
            }
            states = tier_states(repository)
            say_json({"snapshots": len(kept), "classes": classes, "tiers": tiers, "states": states})
        code = completeness_of(repository)
        if any(not tier.is_ready for tier in repository.tiers):
            code = ExitCode.DEGRADED
        if arguments.json:
            return code
    say(f"{len(kept)} snapshots")
    rows = [("CLASS", "IN NEWEST", "NEW IN ALL", "STORED", "SAVED")]
    for name, totals in sorted(by_class.items()):
        in_newest = newest.get(name, ClassTotals()).source_bytes
        sizes = (size(in_newest), size(totals.new_bytes), size(totals.stored_bytes))
        rows.append((name, *sizes, _percent_saved(totals)))
    for line in columns(rows, right=(1, 2, 3, 4)):
        say(line)
    say("\nSAVED is what compression saves of new bytes, encryption and headers counted. Per tier:")
    tier_rows = [("TIER", "PACKS", "IN PACKS", "INDEX", "LOG", "STREAMS", "CHUNKS")]
    for name, figures in tiers.items():
        packs, index, log, streams = (size(figures[f"{each}_bytes"]) for each in ("packs", "index", "log", "streams"))
        chunks = f"{figures['chunks']:,}"
        tier_rows.append((name, f"{figures['packs_objects']:,}", packs, index, log, streams, chunks))
    for line in columns(tier_rows, right=(1, 2, 3, 4, 5, 6)):
        say(line)
    return code


def _added(one: ClassTotals, other: ClassTotals) -> ClassTotals:
    return ClassTotals(
        chunks=one.chunks + other.chunks,
        source_bytes=one.source_bytes + other.source_bytes,
        new_bytes=one.new_bytes + other.new_bytes,
        stored_bytes=one.stored_bytes + other.stored_bytes,
    )


def _class_document(totals: ClassTotals) -> dict[str, object]:
    saved = 1 - totals.stored_bytes / totals.new_bytes if totals.new_bytes else None
    return {"new_bytes": totals.new_bytes, "stored_bytes": totals.stored_bytes, "saved": saved}


def _percent_saved(totals: ClassTotals) -> str:
    saved = percent_saved(totals.new_bytes, totals.stored_bytes)
    return f"{saved}%" if saved else ""


def _stored(repository: Repository, name: str) -> dict[str, int]:
    """Objects and bytes of a tier by what they are."""
    tier = repository.tier(name)
    figures = {"chunks": len(tier.index)}
    for prefix in ("packs", "index", "log", "streams", "keys", "pending", "pins"):
        objects = total = 0
        for info in tier.store.list(f"{prefix}/"):
            objects += 1
            total += info.size
        figures[f"{prefix}_objects"], figures[f"{prefix}_bytes"] = objects, total
    return figures


class _Damage:
    """Pages that could not be read: said at once to people, collected for machines."""

    def __init__(self, for_machines: bool) -> None:
        self.documents: list[dict[str, object]] = []
        self._for_machines = for_machines

    def __call__(self, path: bytes, error: RepositoryError) -> None:
        self.documents.append({**name_fields("path", path), "code": error.code, "message": str(error)})
        if not self._for_machines:
            print(f"{shown(path) or '.'}: {error} [{error.code}]", file=sys.stderr)

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.DAMAGED if self.documents else ExitCode.OK


def _tree(repository: Repository, snapshot: Snapshot, damage: _Damage) -> SnapshotTree:
    # Tiers that have the snapshot first, then the others: an object may be whole on any of them.
    tiers = repository.tiers_with(snapshot)
    tiers += [tier for tier in repository.readable_tiers() if tier not in tiers]
    return SnapshotTree(ChunkReader(tiers, repository.keys), snapshot, damage)


def entry_document(found: Found) -> dict[str, object]:
    """An entry as JSON."""
    entry, stat = found.entry, found.entry.stat
    document: dict[str, object] = {
        **name_fields("path", found.path),
        "kind": kind_of(entry),
        "size": stat.size,
        "mode": f"{stat_bits.S_IMODE(stat.mode):04o}",
        "uid": stat.uid,
        "gid": stat.gid,
        "mtime": timestamp(stat.mtime_ns),
    }
    if entry.is_symlink:
        document |= name_fields("target", entry.extra.target)
    if states := _states_of(entry):
        document["states"] = states
    if entry.extra.attributes:
        document["attributes"] = entry.extra.attributes
    return document


def _states_of(entry: Entry) -> list[str]:
    """What happened to it while it was saved, where that makes it less than it was."""
    return [word for flag, word in _STATES.items() if entry.extra.flags & flag]


def _change_document(change: Change) -> dict[str, object]:
    document: dict[str, object] = {"change": change.kind, **name_fields("path", change.path)}
    for field, entry in (("before", change.before), ("after", change.after)):
        if entry is not None:
            document[field] = {"kind": kind_of(entry), "size": entry.stat.size, "mtime": timestamp(entry.stat.mtime_ns)}
    return document


def kind_of(entry: Entry) -> str:
    """The kind of an entry in a word."""
    kinds = {
        stat_bits.S_IFDIR: "folder",
        stat_bits.S_IFREG: "file",
        stat_bits.S_IFLNK: "symlink",
        stat_bits.S_IFIFO: "fifo",
        stat_bits.S_IFSOCK: "socket",
        stat_bits.S_IFBLK: "block-device",
        stat_bits.S_IFCHR: "character-device",
    }
    return kinds.get(stat_bits.S_IFMT(entry.stat.mode), "unknown")


def _long(found: Found) -> str:
    stat = found.entry.stat
    target = f" -> {shown(found.entry.extra.target)}" if found.entry.is_symlink else ""
    mode = stat_bits.filemode(stat.mode)
    owner = f"{stat.uid}:{stat.gid}"
    states = "".join(f"  [{state}]" for state in _states_of(found.entry))
    return f"{mode} {owner:>11} {stat.size:>14,} {moment(stat.mtime_ns)} {shown(found.path)}{target}{states}"
