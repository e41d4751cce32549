"""Tags that snapshots have got since they were made: an order in each log that replaces those of the manifest.

Promise: of two who tag a snapshot at once one has the last word, and every tier takes the same one for it, whichever
heard of whom first; a tier that was away takes it over.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from repository.errors import SnapshotNotFound, TextInvalid
from repository.log.state import LogState
from repository.opened.repository import Repository
from repository.stored.checkpoint import KeptTags
from repository.stored.log_entry import SnapshotsTagged
from repository.stored.snapshot import Snapshot

AT_ONCE: Final = 10_000
"""Snapshots that one entry names, at most."""


def tags_of(repository: Repository, snapshot: Snapshot) -> tuple[str, ...]:
    """The snapshot's tags: those that the latest order of any readable tier gave it, else its own."""
    kept = [each for tier in repository.readable_tiers() if (each := tier.log.state.tags.get(snapshot.id))]
    return max(kept).tags if kept else snapshot.manifest.tags


def tagging(repository: Repository, tags: Mapping[str, Sequence[str]]) -> list[SnapshotsTagged]:
    """The orders after which these snapshots (by id) have these tags and no others; none where it is so already.

    Raises `SnapshotNotFound`, `TextInvalid`.
    """
    logs = [tier.log.state for tier in repository.readable_tiers()]
    by_tags: dict[tuple[str, ...], list[str]] = {}
    for identity, wanted in tags.items():
        for tag in wanted:
            if not tag or tag.encode(errors="ignore").decode() != tag:
                raise TextInvalid("a tag is text in UTF-8, and not empty", field="tag")
        snapshot = next((each for log in logs if (each := log.snapshots.get(identity))), None)
        if snapshot is None:
            raise SnapshotNotFound("no snapshot has this id", id=identity)
        if tuple(wanted) != tags_of(repository, snapshot):
            by_tags.setdefault(tuple(wanted), []).append(identity)
    last = max((kept.revision for log in logs for kept in log.tags.values()), default=0)
    time_ns = repository.clock.now_ns()
    return [
        SnapshotsTagged(time_ns=time_ns, snapshots=part, tags=wanted, revision=last + 1)
        for wanted, identities in by_tags.items()
        for part in _parts(identities)
    ]


def owed_tags(state: LogState, others: Sequence[LogState], time_ns: int) -> Iterator[SnapshotsTagged]:
    """What other logs say of tags and this one does not; also of snapshots that the tier has not got yet."""
    by_tags: dict[KeptTags, list[str]] = {}
    for identity in sorted(
        {identity for other in others for identity in other.tags if identity not in state.forgotten}
    ):
        kept = max(each for other in (state, *others) if (each := other.tags.get(identity)))
        if state.tags.get(identity) != kept:
            by_tags.setdefault(kept, []).append(identity)
    for kept, identities in by_tags.items():
        for part in _parts(identities):
            yield SnapshotsTagged(time_ns=time_ns, snapshots=part, tags=kept.tags, revision=kept.revision)


def _parts(identities: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(identities), AT_ONCE):
        yield tuple(identities[start : start + AT_ONCE])
