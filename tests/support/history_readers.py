"""Those who read for long in a seeded history, with what they know since they began; see `histories`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random  # noqa: TID251  # seeded

from repository.opened.repository import Repository
from repository.retention.pins import Pinning, pinned
from repository.stored.snapshot import Snapshot
from tests.support.repositories import read_back


@dataclass
class Reader:
    """Somebody who reads a snapshot for long."""

    repository: Repository
    snapshot: Snapshot
    holder: AbstractContextManager[Pinning]
    pinning: Pinning


class Readers:
    """All of them."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._living: list[Reader] = []

    def begin(self, repository: Repository, *, dies: bool) -> str:
        """One more. Who dies as he begins may leave pins on some tiers. Returns what he reads, in words."""
        snapshots = repository.snapshots()
        if not snapshots:
            return "nothing"
        snapshot = self._chance.choice(snapshots)
        holder = pinned(repository, "restore", [snapshot.id])
        reader = Reader(repository, snapshot, holder, holder.__enter__())
        if dies:
            holder.__exit__(None, None, None)  # nothing of which a dead process does
        else:
            self._living.append(reader)
        return snapshot.id[:6]

    def end(self, dies: Callable[[str], bool]) -> None:
        """One is done, or dies and leaves his pins."""
        if not self._living:
            return
        reader = self._living.pop(self._chance.randrange(len(self._living)))
        if dies(f"end to read {reader.snapshot.id[:6]}"):
            reader.pinning.tiers.clear()  # so that nothing is taken away
        reader.holder.__exit__(None, None, None)

    def end_all(self, dies: Callable[[str], bool]) -> None:
        """None is left."""
        while self._living:
            self.end(dies)

    def expect_to_read(self, files_of: Callable[[str], dict[bytes, bytes] | None], told: list[str]) -> None:
        """Each renews his pins and reads all from each tier where they are, whoever forgets and prunes.

        `files_of`: by the snapshot's id; None where what it has was erased.
        """
        for reader in self._living:
            for tier in reader.pinning.tiers:
                reader.pinning.renew(tier)
                assert not reader.pinning.lapsed, told
                files = files_of(reader.snapshot.id)
                if files is not None and reader.snapshot.id in tier.snapshots():
                    assert read_back(reader.repository, reader.snapshot, tier) == files, (tier.name, told)
