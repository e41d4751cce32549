"""Backups over one open repository that know of each other: what one stores, the others do not store again.

Promise: a `Member` leans only on packs that went to all the tiers of its group; a tier that failed is out of the group
for good, and who comes later makes a new one. A member that ends early leaves what it claimed to the others' packs.
Nobody is admitted whose least memory is not free, nor before who has waited for longer, whichever repository that one
backs up to; and nobody waits for memory that another one holds beyond its least.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

from repository.backup.fanout import Fanout
from repository.backup.session import ChunkSession, ChunkStore
from repository.backup.workshop import Workshop
from repository.format import ContentClass
from repository.keys.key_ring import DomainKeys
from repository.opened.open_tier import LockUntil, OpenTier
from repository.opened.repository import Repository
from repository.stored.memory_budget import MemoryShare, SharePool

PATIENCE_SECONDS: Final = 60.0


class Terms(NamedTuple):
    """What backups have in common that share packs: equal ones are in one group."""

    key_id: bytes
    identity_id: bytes
    tiers: tuple[str, ...]
    lock_days: tuple[int, ...]
    levels: tuple[tuple[ContentClass, int], ...] | None
    patience_seconds: float
    is_paranoid: bool


def terms_of(
    keys: DomainKeys,
    tiers: Sequence[OpenTier],
    *,
    lock_days: Mapping[str, int],
    levels: Mapping[ContentClass, int] | None,
    patience_seconds: float = PATIENCE_SECONDS,
    is_paranoid: bool = False,
) -> Terms:
    """The terms of a backup to these tiers."""
    return Terms(
        keys.key_id,
        keys.identity_id,
        tuple(tier.name for tier in tiers),
        tuple(lock_days.get(tier.name, 0) for tier in tiers),
        None if levels is None else tuple(sorted(levels.items())),
        patience_seconds,
        is_paranoid,
    )


class Sharing:
    """The backups over one open repository. Thread-safe. `workshop`: what they have in common with all others."""

    def __init__(self, repository: Repository, workshop: Workshop) -> None:
        self.repository = repository
        self.workshop = workshop
        self._lock = threading.Lock()
        self._groups: dict[Terms, _Group] = {}

    def join(
        self,
        keys: DomainKeys,
        tiers: Sequence[OpenTier],
        terms: Terms,
        *,
        gone: Collection[bytes] = (),
        required: Collection[str] = (),
        lock_until: LockUntil,
        block_length: int,
        on_end: Callable[[BaseException], None],
        on_waiting: Callable[[], None],
    ) -> Member:
        """Take part, in the group of these terms or in a new one, once there is memory and nobody waits for longer.

        `gone`: packs that some tier's index has and the tier has not, or not whole. `on_end` gets the error that
        ends all of the group. `on_waiting` is called while there is no memory; what it raises leaves.
        Raises `LimitExceeded` where there can never be enough.
        """
        memory = self.workshop.memory
        with memory.arrival() as arrival:
            while True:
                blocks = MemoryShare(memory, self.workshop.least_of_backup(block_length))
                with self._lock:
                    group = self._groups.get(terms)
                    if group is not None and not group.takes_members:
                        group = None
                    if group is not None:
                        if memory.try_admit([blocks], arrival):
                            return self._member(group, tiers, gone, required, blocks, block_length, lock_until, on_end)
                    else:
                        packs = MemoryShare(memory, self.workshop.least_of_group(block_length))
                        if memory.try_admit([blocks, packs], arrival):
                            try:
                                group = _Group(self.repository, keys, tiers, terms, self.workshop, packs)
                            except BaseException:
                                blocks.close()
                                raise
                            self._groups[terms] = group
                            return self._member(group, tiers, gone, required, blocks, block_length, lock_until, on_end)
                on_waiting()
                memory.wait()

    def _member(
        self,
        group: _Group,
        tiers: Sequence[OpenTier],
        gone: Collection[bytes],
        required: Collection[str],
        blocks: MemoryShare,
        block_length: int,
        lock_until: LockUntil,
        on_end: Callable[[BaseException], None],
    ) -> Member:
        try:
            group.follow(tiers, gone, lock_until)
            member = Member(self, group, blocks, blocks.pool(block_length), required, on_end)
            group.fanout.require(required)
            group.members.add(member)
        except BaseException:
            blocks.close()
            if not group.members:
                self._end(group)
                group.close(is_failed=True)
            raise
        return member

    def leave(self, member: Member, *, is_failed: bool) -> None:
        """See `Member.leave`."""
        group = member.group
        if is_failed:
            with self._lock:
                has_others = not self._is_last(group, member)
            if has_others and member.session is not None:
                # What keeps it from that was told to all of the group, and the caller has an error of its own.
                with suppress(Exception):
                    group.store.leave_to_others(member.session)
        with self._lock:
            group.members.discard(member)
            group.fanout.require(member.required, -1)
            is_last = not group.members
            if is_last:
                self._end(group)
        if member.session is not None:
            group.store.forget(member.session)
        member.blocks_share.close()
        if is_last:
            group.close(is_failed=is_failed)

    def end_alone(self, member: Member, error: BaseException) -> None:
        """A member failed: nobody waits for the packs' memory any more, unless others are there."""
        group = member.group
        with self._lock:
            is_last = self._is_last(group, member)
        if is_last:
            group.packs.fail(error)

    def _is_last(self, group: _Group, member: Member) -> bool:
        """Whether nobody else is in the group, and from now on nobody can be."""
        if group.members - {member}:
            return False
        self._end(group)
        return True

    def _end(self, group: _Group) -> None:
        group.is_over = True
        if self._groups.get(group.terms) is group:
            del self._groups[group.terms]


class _Group:
    """Backups on equal terms: one index, one store of chunks, one queue for each tier."""

    def __init__(
        self,
        repository: Repository,
        keys: DomainKeys,
        tiers: Sequence[OpenTier],
        terms: Terms,
        workshop: Workshop,
        packs: MemoryShare,
    ) -> None:
        self.terms = terms
        self.packs = packs
        self.members: set[Member] = set()
        self.is_over = False
        self._repository = repository
        self._locks: dict[str, datetime | None] = {}
        self._gone: set[bytes] = set()
        try:
            self.index = repository.session_index(tiers)
            self.fanout = Fanout(
                tiers,
                patience_seconds=terms.patience_seconds,
                lock_until=lambda tier: self._locks.get(tier.name),
            )
            self.store = ChunkStore(
                keys,
                self.index,
                data_pool=packs.pool(workshop.pack_length, self.fanout.relieve),
                tree_pool=packs.pool(workshop.tree_pack_length, self.fanout.relieve),
                randomness=repository.randomness,
                on_pack=self.fanout.submit,
            )
            self.store.on_broken = self.fail
            self.fanout.on_no_tier_left = self.fail
            self.fanout.start()
        except BaseException:
            packs.close()
            raise

    @property
    def takes_members(self) -> bool:
        """Whether who comes now would have all of its packs on all tiers."""
        return not self.is_over and self.fanout.is_whole

    def follow(self, tiers: Sequence[OpenTier], gone: Collection[bytes], lock_until: LockUntil) -> None:
        """Take over what tiers have by now, and the dates of one more backup: the later ones count.

        `gone`: packs that some tier's index has and the tier has not, or not whole.
        """
        self._gone.update(gone)
        newest = self._repository.session_index(tiers) if self.members else self.index
        if self.members:
            self.index.set_segments(newest.segments())
        self.index.exclude_packs(newest.excluded_packs() | self._gone)
        for tier in tiers:
            until, before = lock_until(tier), self._locks.get(tier.name)
            self._locks[tier.name] = until if before is None or (until is not None and until > before) else before

    def fail(self, error: BaseException) -> None:
        """No tier is left, or a chunk that somebody may lean on was lost: it is over for all."""
        self.is_over = True
        self.packs.fail(error)
        for member in tuple(self.members):
            member.on_end(error)

    def close(self, *, is_failed: bool) -> None:
        """The last one has left."""
        if is_failed:
            self.fanout.abort()
        else:
            self.fanout.close()
        # Also where the last one has ended well: what one that broke off has left in an open pack is nobody's now.
        self.store.discard()
        self.packs.close()


class Member:
    """One backup in its group. `session` is set by the backup before it stores anything."""

    def __init__(
        self,
        sharing: Sharing,
        group: _Group,
        blocks_share: MemoryShare,
        blocks: SharePool,
        required: Collection[str],
        on_end: Callable[[BaseException], None],
    ) -> None:
        self._sharing = sharing
        self.group = group
        self.index = group.index
        self.fanout = group.fanout
        self.store = group.store
        self.blocks_share = blocks_share
        self.blocks = blocks
        self.required = required
        self.on_end = on_end
        self.session: ChunkSession | None = None

    def fail(self, error: BaseException) -> None:
        """The backup is over: end its threads' waiting for memory."""
        self.blocks_share.fail(error)
        self._sharing.end_alone(self, error)

    def leave(self, *, is_failed: bool) -> None:
        """The backup's threads have ended. What others lean on is left to them."""
        self._sharing.leave(self, is_failed=is_failed)
