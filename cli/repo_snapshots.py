"""`repo snapshots`: what there is to restore, and whether that is all.

It is what people type first and most often, so that nothing is loaded here that only the looking into one needs.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

from cli.exit_codes import ExitCode
from cli.output import columns, moment, say, say_json, shown, size, timestamp
from cli.repo_session import opened, tier_states
from repository.opened.repository import LATEST, Repository
from repository.opened.tier_state import TierState
from repository.retention.tags import tags_of
from repository.stored.snapshot import Snapshot, host_of, torn_of


def snapshots(arguments: argparse.Namespace) -> int:
    """All snapshots, oldest first."""
    with opened(arguments, only_reads=True) as repository:
        found = [
            each for each in repository.snapshots() if each.manifest.label == (arguments.label or each.manifest.label)
        ]
        tags = {each.id: tags_of(repository, each) for each in found}
        if arguments.host is not None:
            found = [each for each in found if host_of(each.manifest) == arguments.host]
        found = [each for each in found if set(arguments.tags).issubset(tags[each.id])]
        on_tiers = {each.id: [tier.name for tier in repository.tiers_with(each)] for each in found}
        if arguments.json:
            listed = [snapshot_document(each, on_tiers[each.id], tags[each.id]) for each in found]
            say_json({"snapshots": listed, "tiers": tier_states(repository)})
            return completeness_of(repository)
        code = completeness_of(repository)
    rows = [("ID", "TIME (UTC)", "FILES", "MISSING", "SIZE", "NEW", "STORED", "TIERS", "TAGS", "LABEL")]
    for each in found:
        manifest, totals = each.manifest, each.manifest.totals
        sizes = (size(totals.source_bytes), size(totals.new_bytes), size(totals.stored_bytes))
        tiers = ",".join(on_tiers[each.id])
        label = shown(manifest.label.encode("utf-8", "surrogatepass"))
        counts = (f"{totals.files:,}", f"{totals.failed:,}" if totals.failed else "")
        words = ",".join(shown(tag.encode("utf-8", "surrogatepass")) for tag in tags[each.id])
        rows.append((each.id[:12], moment(manifest.time_ns), *counts, *sizes, tiers, words, label))
    for line in columns(rows, right=(2, 3, 4, 5, 6)):
        say(line)
    for each in found:
        if torn := torn_of(each.manifest):
            say(f"{each.id[:12]}: {torn:,} files were written to while they were saved (`repo ls --recursive --long`)")
    if any(each.manifest.totals.failed for each in found):
        say("\nMISSING: entries of the source that could not be read when the snapshot was made; it is incomplete")
    return code


def completeness_of(repository: Repository) -> ExitCode:
    """Whether the snapshots are all that the given tiers ever had; where nobody can say that, it is said."""
    hiding = [tier.name for tier in repository.may_hide_snapshots()]
    away = _away(repository)
    missing = "snapshots may be missing from the list"
    if hiding:
        print(f"{missing}: not all that {', '.join(hiding)} had is known", file=sys.stderr)
    if away:
        print(f"{missing}: {', '.join(away)} cannot be read", file=sys.stderr)
    return ExitCode.DEGRADED if hiding or away else ExitCode.OK


def _away(repository: Repository) -> list[str]:
    """The tiers of which nobody knows what they have."""
    # One that holds nothing of this repository has nothing; where it should hold something it has VANISHED.
    return [tier.name for tier in repository.tiers if not tier.is_readable and tier.state is not TierState.EMPTY]


def certainty_of(repository: Repository, asked: Mapping[str, Snapshot]) -> ExitCode:
    """Whether what was asked for as `latest` is the newest, and committed; where nobody can say that, it is said.

    `asked`: what was found, by what was asked for.
    """
    lost = [snapshot.id[:12] for snapshot in asked.values() if not repository.is_committed(snapshot)]
    if lost:
        print(
            f"no log has the entry of snapshot {', '.join(lost)}, whose second copy is whole: it was lost, or its "
            "writer died before the end, and not all of it may be there; `repo repair` puts back what was lost",
            file=sys.stderr,
        )
    if LATEST not in asked:
        return ExitCode.DEGRADED if lost else ExitCode.OK
    hiding = [tier.name for tier in repository.may_hide_snapshots(newest=True)]
    unknown = "whether this is the newest snapshot is not known"
    if hiding:
        print(
            f"{unknown}: {', '.join(hiding)} may have had a newer one; "
            "`repo repair` looks for what was lost, and a snapshot that is named by its id is what it is",
            file=sys.stderr,
        )
    away = _away(repository)
    if away:
        print(
            f"{unknown}: {', '.join(away)} cannot be read, and may have a newer one; "
            "a snapshot that is named by its id is what it is",
            file=sys.stderr,
        )
    return ExitCode.DEGRADED if lost or hiding or away else ExitCode.OK


def snapshot_document(snapshot: Snapshot, tiers: list[str], tags: Sequence[str] | None = None) -> dict[str, object]:
    """A snapshot as JSON. `tags`: those that it has by now."""
    import msgspec

    manifest = snapshot.manifest
    return {
        "id": snapshot.id,
        "time": timestamp(manifest.time_ns),
        "label": manifest.label,
        "host": host_of(manifest),
        "tags": list(manifest.tags if tags is None else tags),
        "parent": manifest.parent,
        "run_token": manifest.run_token,
        "totals": msgspec.to_builtins(manifest.totals),
        "changed_files": torn_of(manifest),
        "by_class": msgspec.to_builtins(manifest.by_class),
        "tiers": tiers,
    }
