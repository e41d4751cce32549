"""The second copies of manifests: checked, made again, and what is committed again from them.

Promise: a snapshot of which the log lost the entry, and whose manifest lies on the tier, is found; it is committed
again where all that it references is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from repository.errors import Damaged, RepositoryError
from repository.index.pack_catalog import each_in_parallel, is_fault_of_object
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.stored.manifest_object import MANIFEST_PREFIX, manifest_id, manifest_object_key
from repository.stored.snapshot import Snapshot
from repository.stored.tree_visit import TreeVisitor
from repository.upkeep.catch_up import packs_of, sources_for
from repository.upkeep.check_report import Finding, Problem

if TYPE_CHECKING:
    from repository.opened.repository import Repository

READS_AT_A_TIME: Final = 8


def manifest_findings(tier: OpenTier) -> Iterator[Finding]:
    """Manifests that are not there as the log has them. Raises the store's errors."""

    def look(snapshot: Snapshot) -> tuple[str, RepositoryError | None]:
        key = manifest_object_key(snapshot.id)
        try:
            if tier.log.manifest(snapshot.id) != snapshot.body:
                raise Damaged("manifest is not the one that the log has", tier=tier.name, object_key=key)
        except RepositoryError as error:
            if not is_fault_of_object(error):
                raise
            return key, error
        return key, None

    for key, error in each_in_parallel(look, tier.snapshots().values(), READS_AT_A_TIME):
        if error is not None:
            yield Finding(tier.name, Problem.MANIFEST, key, f"{error.code}: {error}", (tier.name,))


def unclaimed(tier: OpenTier) -> list[Snapshot]:
    """Whole manifests of which the log knows nothing, the oldest first: of lost entries, or of a writer that died.

    Raises the store's errors.
    """
    state = tier.log.state
    found: list[Snapshot] = []
    for info in tier.store.list(MANIFEST_PREFIX):
        identity = manifest_id(info.key)
        if identity is None or identity in state.entry_of:
            continue
        try:
            snapshot = Snapshot(identity, tier.log.manifest(identity))
            known = snapshot.manifest.run_token in state.by_token
        except RepositoryError as error:
            if not is_fault_of_object(error):
                raise
            continue
        if not known:
            found.append(snapshot)
    return sorted(found, key=lambda snapshot: (snapshot.manifest.time_ns, snapshot.id))


def commit_again(repository: Repository, tier: OpenTier) -> tuple[list[Snapshot], list[Snapshot]]:
    """Commit what `unclaimed` finds; returns what is committed now, and what cannot be since chunks are missing.

    Raises this tier's errors.
    """
    done: list[Snapshot] = []
    incomplete: list[Snapshot] = []
    reader = ChunkReader(nearest_first([tier, *sources_for(repository, tier)]), repository.keys)
    for snapshot in unclaimed(tier):
        packs = packs_of(snapshot, tier, TreeVisitor(reader.chunk))
        if packs is None:
            incomplete.append(snapshot)
            continue
        tier.commit_snapshot(snapshot.body, packs=packs)
        done.append(snapshot)
    return done, incomplete
