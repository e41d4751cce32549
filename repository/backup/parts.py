"""One snapshot of a source that several read: threads, processes or machines, each a part of it.

Promise: the snapshot is committed with all parts or not at all, to a tier only when that has all that the parts
reference. A part is made once; whoever makes it again finds it, or makes it anew after a writer that died. Which parts
are missing is told by name. Everything that several processes need of each other lies on the tiers, sealed; what is
passed between them is a small token without a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.part_run import RUN_ID_LENGTH, Joined, PartsRun, Token
from repository.backup.sharing import Sharing
from repository.backup.source import Source
from repository.errors import LimitExceeded, NoUsableTier, RepositoryError, Retry, TextInvalid, TierBehind
from repository.index.segments import SealedSegment
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.repository import Repository
from repository.stored.part import PLAN, PartMade, Plan, encode_left, part_place, pending_object_key
from repository.stored.snapshot import Snapshot, SnapshotManifest, decode_manifest

PARTS_MAX: Final = 9999


class PartsMissing(RepositoryError):
    """Not every part has been made. `parts`: the names of those that were not; they are personal data."""

    code = "parts-missing"
    retry = Retry.LATER
    hint = "Make the parts that are missing (again), then join: what the others have made stays."

    def __init__(self, message: str, parts: Sequence[bytes]) -> None:
        super().__init__(message, missing=len(parts))
        self.parts = tuple(parts)


def begin_partitioned(repository: Repository, parts: Sequence[bytes], *, options: BackupOptions) -> bytes:
    """Plan one snapshot whose root has these parts; returns the token (JSON) for those who make and join them.

    `options`: token, label, tags, domain, `lock_days`; the rest is for each who makes a part to say. Raises
    `TextInvalid` (no part, one twice, or a name that is none), `LimitExceeded`, `NoUsableTier`.
    """
    names = tuple(sorted(parts))
    if not names or len(set(names)) != len(names):
        raise TextInvalid("there is no part, or one is named twice", field="parts")
    if any(name in (b"", b".", b"..") or b"/" in name or b"\0" in name for name in names):
        raise TextInvalid("the name of a part is none of a folder", field="parts")
    if len(names) > PARTS_MAX:
        raise LimitExceeded("there are too many parts", parts=len(names), parts_max=PARTS_MAX)
    identity = repository.keys.active(options.domain).identity_id.hex()
    parent = next(
        (
            each
            for each in reversed(repository.snapshots())
            if each.brief.label == options.label and each.brief.domain == identity
        ),
        None,
    )
    plan = Plan(
        time_ns=repository.clock.now_ns(),
        run_token=options.run_token,
        label=options.label,
        parts=names,
        domain=options.domain,
        tags=options.tags,
        lock_days=dict(options.lock_days),
        parent=parent.id if parent is not None else None,
    )
    run_id = repository.randomness.token_bytes(RUN_ID_LENGTH)
    body = encode_left(plan, run_id, PLAN, repository.keys.root, repository.randomness)
    errors: dict[str, RepositoryError] = {}
    ready = repository.ready_tiers()
    for tier in ready:
        try:
            tier.store.put(pending_object_key(run_id, PLAN), body)
        except RepositoryError as error:
            errors[tier.name] = error
    if len(errors) == len(ready):
        raise NoUsableTier.because("no tier takes the plan of the parts", errors.values(), tiers=repository.states())
    return msgspec.json.encode(Token(1, repository.id.hex(), run_id.hex(), options.run_token))


def back_up_part(
    repository: Repository,
    token: bytes,
    name: bytes,
    source: Source,
    *,
    options: BackupOptions | None = None,
    sharing: Sharing | None = None,
) -> BackupResult:
    """Make one part out of `source`: it is on each tier whose result says `committed`, and no snapshot yet.

    `options`: how it is read and sent; what the plan says is taken from there. `sharing`: as of `backup`. A part that
    has been made is not made again; once all are joined, the result has their snapshot. Raises as `backup`,
    `TextInvalid` (no part has this name), `ObjectMissing` (the plan is gone).
    """
    run = PartsRun(repository, token)
    required = options.required if options is not None else ()
    joined = run.committed_before()
    if joined is not None:
        tiers = run.results_of(joined.errors, required)
        return BackupResult(joined.snapshot, tiers, [], {}, 0.0, was_committed_before=True)
    plan = run.plan()
    if name not in plan.parts:
        raise TextInvalid("no part of the plan has this name", field="name")
    number = plan.parts.index(name)
    made = run.made(number)
    if made:
        # Of two that were made on different tiers, the one counts that the join takes.
        part = the_one_that_counts(made)
        lacking = {
            tier.name: TierBehind("tier does not have the part", tier=tier.name)
            for tier in repository.ready_tiers()
            if made.get(tier.name) != part
        }
        snapshot, tiers = run.as_snapshot(decode_manifest(part.manifest)), run.results_of(lacking, required)
        return BackupResult(snapshot, tiers, [], {}, 0.0, was_committed_before=True)

    def commit(
        tier: OpenTier,
        manifest: SnapshotManifest,
        *,
        packs: frozenset[bytes] | set[bytes],
        new_segments: Sequence[SealedSegment] = (),
        lock_until: datetime | None = None,
    ) -> Snapshot:
        return run.commit_part(tier, number, manifest, packs, new_segments, lock_until)

    given = options or BackupOptions(run_token=plan.run_token, label=plan.label)
    made_of = replace(
        given,
        run_token=f"{run.id.hex()}/{part_place(number)}",
        label=plan.label,
        tags=plan.tags,
        domain=plan.domain,
        lock_days=plan.lock_days,
        parent=run.parent_of(plan, name),
        commit=commit,
    )
    return backup(repository, source, options=made_of, sharing=sharing)


def join_parts(repository: Repository, token: bytes) -> Joined:
    """Commit the snapshot of all parts, to each ready tier that has them. May be repeated.

    Raises `PartsMissing`, `NoUsableTier` (no tier has all that the parts reference: catch-up brings together what was
    made on different ones), `ObjectMissing` (the plan is gone), `SnapshotNotFound` (it was forgotten).
    """
    run = PartsRun(repository, token)
    earlier = run.committed_before()
    if earlier is not None:
        return earlier
    plan = run.plan()
    found = [run.made(number) for number in range(len(plan.parts))]
    missing = [name for name, made in zip(plan.parts, found, strict=True) if not made]
    if missing:
        raise PartsMissing("parts of the snapshot have not been made", missing)
    return run.commit(plan, [the_one_that_counts(made) for made in found])


def the_one_that_counts(made: Mapping[str, PartMade]) -> PartMade:
    """Of two writers that made one part on different tiers, the one on more tiers counts; the other's is left out."""
    return max(made.values(), key=list(made.values()).count)


def abandon_parts(repository: Repository, token: bytes) -> dict[str, RepositoryError]:
    """Take away what the writers left for each other; what they uploaded is of use to the next backup.

    Returns the tiers, by name, on which the plan may still be, and why: it is to be abandoned again once they answer.
    """
    run = PartsRun(repository, token)
    away = {
        tier.name: tier.error or NoUsableTier("tier is not ready", tier=tier.name, state=tier.state.value)
        for tier in repository.tiers
        if not tier.is_ready and tier.state not in (TierState.EMPTY, TierState.FOREIGN)
    }
    return away | run.tidy(repository.ready_tiers())
