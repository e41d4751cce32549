"""Each pack is locked until the latest date that a snapshot on it needs, and what else lies in it not for long."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random  # noqa: TID251  # seeded

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.format import pack_object_key
from repository.opened.pack_access import ChunkReader
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, prune
from repository.retention.orders import forget
from repository.stored.tree_visit import TreeVisitor
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.lock_check import locked_packs
from tests.support.crash_scenes import small_packs
from tests.support.histories import Clock
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import key_file


class _Years:
    """One repository whose tiers lock, over simulated time. Each source has a lock of its own."""

    def __init__(self, *names: str) -> None:
        self.clock = Clock()
        self.stores = [MemoryObjectStore(name, locks=True, clock=self.clock) for name in names]
        Repository.init(self.stores, key_file(), clock=self.clock)
        self.sources: dict[str, dict[bytes, bytes]] = defaultdict(dict)

    def open(self, *names: str) -> Repository:
        """The tiers of these names, or all."""
        stores = [store for store in self.stores if not names or store.name in names]
        return Repository.open(stores, key_file(), clock=self.clock)

    def run(self, label: str, days: int, *names: str) -> str:
        """One backup of a source with a lock; its snapshot's id."""
        files = {
            name: MemoryFile(body, inode=number + 1, mtime_ns=int.from_bytes(body[:4], "big"))
            for number, (name, body) in enumerate(sorted(self.sources[label].items()))
        }
        repository = self.open(*names)
        options = BackupOptions(
            run_token=f"{label} {self.clock.now_ns()}",
            label=label,
            lock_days={tier.name: days for tier in repository.tiers} if days else {},
            workers=1,
        )
        with small_packs():
            return backup(repository, MemorySource(MemoryFolder(files)), options=options).snapshot.id  # type: ignore[arg-type]

    def byte_days(self, name: str) -> tuple[float, float]:
        """What the packs' locks keep beyond now: as long as a snapshot needs each chunk, and longer than any does."""
        repository = self.open(name)
        (tier,) = repository.tiers
        store, state = tier.store, tier.log.state
        needed_until: dict[bytes, datetime] = {}
        for identity, seconds in state.locked_until.items():
            until = datetime.fromtimestamp(seconds, UTC)
            visitor = TreeVisitor(ChunkReader([tier], repository.keys).chunk)
            for chunk_id in visitor.chunks(state.snapshots[identity].manifest.root):
                needed_until[chunk_id] = max(until, needed_until.get(chunk_id, until))
        now = store.now()
        needed = too_long = 0.0
        for segment in tier.index.segments():
            for row in range(segment.rows):
                location = segment.location(row)
                found = store.head(pack_object_key(location.pack_id))
                locked = found.lock_until if found is not None else None
                if locked is None or locked <= now:
                    continue
                chunk_id = _id_of(segment, row)
                wanted = min(locked, max(now, needed_until.get(chunk_id, now)))
                needed += location.chunk_length * (wanted - now) / timedelta(days=1)
                # The entry names whole seconds, and a snapshot's date is that of its own backup.
                over = locked - wanted
                too_long += location.chunk_length * (over / timedelta(days=1) if over > timedelta(minutes=10) else 0)
        return needed, too_long


def _id_of(segment: object, row: int) -> bytes:
    from repository.stored.index_segment import columns_of

    return columns_of(segment).ids[row].tobytes()  # type: ignore[arg-type]


def _bytes(seed: object, length: int) -> bytes:
    return Random(f"{seed}").randbytes(length)


def _files(name: str, count: int, length: int = 20_000) -> dict[bytes, bytes]:
    return {f"{name} {number}".encode(): _bytes((name, number), length) for number in range(count)}


def test_nothing_is_locked_too_long_where_sources_share_nothing() -> None:
    """A year of backups of three sources with locks of their own: no byte is kept for a day longer than asked for."""
    years = _Years("vault")
    for label, days in (("mail", 7), ("photos", 30), ("books", 365)):
        years.sources[label] = _files(label, 12)
        for _ in range(4):
            years.run(label, days)
            years.clock.pass_by(timedelta(days=3))
            assert years.byte_days("vault")[1] == 0
    assert years.byte_days("vault")[0] > 0
    assert check(years.open()).is_ok


@pytest.mark.parametrize("days", [0, 7])
def test_little_of_a_pack_that_is_locked_for_less_is_stored_again(days: int) -> None:
    """One file of many is needed for a year: it alone is locked so long, and not the pack of the others with it."""
    years = _Years("vault")
    years.sources["mail"] = _files("mail", 40)
    years.run("mail", days)
    years.sources["books"] = dict(sorted(years.sources["mail"].items())[:1])
    snapshot = years.run("books", 365)
    needed, too_long = years.byte_days("vault")
    assert too_long < needed / 100
    assert check(years.open(), read_percent=100).is_ok
    # And nothing is listed as locked for longer than it is needed, before what needed it so long is forgotten.
    opened = years.open()
    assert locked_packs(opened, opened.tier("vault"), lambda: None).longer == []
    if days:
        forget(opened, [snapshot])
        (longer,) = {each.until for each in locked_packs(opened, opened.tier("vault"), lambda: None).longer}
        assert longer > opened.tier("vault").store.now() + timedelta(days=364)
        return
    # Where it stays alone, it is whole.
    forget(years.open(), [each.id for each in years.open().snapshots() if each.id != snapshot])
    years.clock.pass_by(timedelta(days=8))
    prune(years.open(), PruneOptions(max_unused=0))
    assert check(years.open(), read_percent=100).is_ok


def test_a_pack_of_which_most_is_needed_is_locked_for_longer_and_not_stored_again() -> None:
    """A source whose lock is made longer, or that was not backed up for long, is not uploaded a second time."""
    years = _Years("vault")
    years.sources["mail"] = _files("mail", 40)
    years.run("mail", 7)
    years.clock.pass_by(timedelta(days=60))
    before = sum(info.size for info in years.stores[0].list("packs/"))
    years.run("mail", 365)
    assert sum(info.size for info in years.stores[0].list("packs/")) < before * 1.1
    assert years.byte_days("vault")[1] == 0


@pytest.mark.parametrize("seed", range(4))
def test_what_is_locked_too_long_is_bounded_whatever_sources_share(seed: int) -> None:
    """What backups of other sources need of a pack never makes them lock more of others' bytes than of their own."""
    chance, years = Random(seed), _Years("vault")
    years.sources["mail"] = _files("mail", 40)
    years.run("mail", 7)
    for number, days in enumerate((60, 400)):
        label = f"copy {number}"
        years.sources[label] = {
            name: body for name, body in years.sources["mail"].items() if chance.random() < (0.1, 0.3, 0.6, 0.9)[seed]
        }
        years.run(label, days)
        needed, too_long = years.byte_days("vault")
        assert too_long <= needed
    assert check(years.open(), read_percent=100).is_ok


def test_what_a_prune_writes_again_gets_no_lock_of_other_snapshots() -> None:
    """Another source is locked for a year: what was mostly waste, and locked by nobody, is free as before."""
    years = _Years("vault")
    years.sources["books"] = _files("books", 6)
    years.run("books", 365)
    years.sources["mail"] = _files("mail", 40)
    gone = years.run("mail", 0)
    years.sources["mail"] = dict(sorted(years.sources["mail"].items())[::10])
    years.run("mail", 0)
    forget(years.open(), [gone])
    done = prune(years.open(), PruneOptions(max_unused=0))["vault"]
    assert done.stored_bytes > 0
    assert years.byte_days("vault")[1] == 0
    assert check(years.open(), read_percent=100).is_ok


def test_catch_up_locks_no_pack_for_longer_than_the_tier_that_has_it() -> None:
    """Snapshots with short locks come to a tier beside one with a long lock."""
    years = _Years("vault", "second")
    for label, days in (("mail", 7), ("books", 365), ("photos", 30)):
        years.sources[label] = _files(label, 12)
        years.run(label, days, "vault")
    repository = years.open()
    assert catch_up(repository, repository.tier("second")).is_complete
    assert years.byte_days("second")[1] == years.byte_days("vault")[1] == 0
    assert check(years.open()).is_ok


def test_catch_up_locks_of_two_places_the_one_that_is_locked_where_it_comes_from() -> None:
    """What was stored apart for a long lock is found there, not in the packs around which others have short ones."""
    years = _Years("vault", "second")
    for number in range(6):
        years.sources[f"mail {number}"] = _files(f"mail {number}", 12)
        years.run(f"mail {number}", 7, "vault")
    for number in range(6):
        shared = min(years.sources[f"mail {number}"])
        years.sources["books"][b"%d" % number] = years.sources[f"mail {number}"][shared]
    years.run("books", 365, "vault")
    assert years.byte_days("vault")[1] == 0
    repository = years.open()
    assert catch_up(repository, repository.tier("second")).is_complete
    assert years.byte_days("second")[1] == 0
    assert check(years.open()).is_ok
