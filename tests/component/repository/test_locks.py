"""Locks that were asked for: a tier that does not lock is not given a copy in silence."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.fanout import Delivery
from repository.errors import AccessDenied, LockNotProven, RepositoryError
from repository.opened import compaction, locking
from repository.opened.key_change import add_generation, rewrap
from repository.opened.repository import Repository
from repository.stored.log_entry import entry_object_key
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import Capabilities, KnownCapabilities
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.check_report import CheckReport, Problem
from repository.upkeep.rebuild import rebuild_index
from repository.upkeep.repair import repair
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import CountingClock, key_file


class _Careless(MemoryObjectStore):
    """Says that it locks, and forgets the locks of some objects; or must not tell whether it does."""

    def __init__(self, name: str, forgets: str, *, says: bool | None = True) -> None:
        super().__init__(name, locks=True)
        self.forgets = forgets
        self._says = says

    @property
    def capabilities(self) -> Capabilities:
        """What it says."""
        return KnownCapabilities(locks=self._says)

    def _lock(self, key: str, until: datetime | None) -> None:
        if not key.startswith(self.forgets):
            super()._lock(key, until)


class _Refusing(MemoryObjectStore):
    """Its credentials have no right to lock."""

    def extend_lock(self, key: str, until: datetime, *, sha256: bytes | None = None) -> None:
        """Refuse."""
        raise AccessDenied("the server refuses access", tier=self.name, key=key)


def _run(repository: Repository, token: str = "1", *, days: int = 30, required: Iterable[str] = ()) -> BackupResult:
    tree = MemoryFolder({f"photo {token}".encode(): MemoryFile(token.encode() * 5000, inode=len(token))})
    options = BackupOptions(
        run_token=token,
        label="photos",
        lock_days=dict.fromkeys((tier.name for tier in repository.tiers if tier.name != "free"), days),
        required=frozenset(required),
    )
    return backup(repository, MemorySource(tree), options=options)


def _new(*stores: MemoryObjectStore) -> Repository:
    return Repository.init(list(stores), key_file())


def _uploaded(store: MemoryObjectStore) -> list[str]:
    return [key for key in store.contents() if key.startswith(("packs/", "index/", "pending/"))]


UNFIT = [
    MemoryObjectStore("unfit"),
    _Careless("unfit", ""),
    _Careless("unfit", "", says=None),
    _Refusing("unfit", locks=True),
]


@pytest.mark.parametrize("number", range(len(UNFIT)))
def test_tier_that_does_not_lock_gets_nothing_and_says_so(number: int) -> None:
    """It cannot lock, ignores it, or may not: nothing is uploaded to it, its result has the code; the others go on."""
    unfit = UNFIT[number]
    result = _run(_new(MemoryObjectStore("free"), unfit, MemoryObjectStore("vault", locks=True)))
    assert {name: each.state for name, each in result.tiers.items()} == {
        "free": Delivery.COMMITTED,
        "vault": Delivery.COMMITTED,
        "unfit": Delivery.FAILED,
    }
    assert isinstance(result.tiers["unfit"].error, LockNotProven)
    assert result.is_degraded
    assert _uploaded(unfit) == []


def test_required_tier_that_does_not_lock_ends_the_backup_before_anything_is_uploaded() -> None:
    """The other tiers get nothing either: the run is refused, and can be repeated when the tier is put right."""
    free, unfit = MemoryObjectStore("free"), MemoryObjectStore("unfit")
    with pytest.raises(LockNotProven):
        _run(_new(free, unfit), required=["unfit"])
    assert _uploaded(free) == _uploaded(unfit) == []


def test_backup_that_no_tier_locks_is_refused_by_that_name() -> None:
    """The error is that of the locks, not that no tier answers: trying again later changes nothing."""
    with pytest.raises(LockNotProven):
        _run(_new(MemoryObjectStore("unfit")))


def test_tier_that_must_not_tell_whether_it_locks_is_judged_by_its_locks() -> None:
    """What it locks is locked, and it is committed."""
    vault = _Careless("vault", "nothing", says=None)
    result = _run(_new(vault))
    assert result.tiers["vault"].state is Delivery.COMMITTED
    assert {key.partition("/")[0] for key in vault.contents() if not _is_locked(vault, key)} == {"log"}
    number = max(key for key in vault.contents() if key.startswith("log/"))
    assert _is_locked(vault, number)


def _is_locked(store: MemoryObjectStore, key: str, days: int = 29) -> bool:
    found = store.head(key)
    return found is not None and found.lock_until is not None and found.lock_until > store.now() + timedelta(days=days)


@pytest.mark.parametrize("forgets", ["packs/", "index/", "log/"])
def test_lock_that_is_lost_on_the_way_is_noticed(forgets: str) -> None:
    """A store that locks the config and not what comes after has no committed snapshot, nor when repeated."""
    careless, free = _Careless("vault", forgets), MemoryObjectStore("free")
    repository = _new(careless, free)
    for _ in range(2):
        result = _run(repository)
        assert result.tiers["free"].state is Delivery.COMMITTED
        assert result.tiers["vault"].state is not Delivery.COMMITTED
        assert result.is_degraded
    assert (result.tiers["vault"].state is Delivery.FAILED) == (forgets == "log/")


def test_pack_under_other_bytes_gives_no_commit() -> None:
    """Who finds other bytes where a needed pack should be does not lock them, and says that the tier is damaged."""
    vault, free = MemoryObjectStore("vault", locks=True), MemoryObjectStore("free")
    repository = _new(vault, free)
    _run(repository, days=0)
    pack = max((key for key in vault.contents() if key.startswith("packs/")), key=lambda key: len(vault.get(key)))
    vault.put(pack, b"garbage")
    again = Repository.open([vault, free], key_file())
    tree = MemoryFolder({b"photo 1": MemoryFile(b"1" * 5000, inode=1)})
    options = BackupOptions(run_token="2", label="photos", lock_days={"vault": 30})
    result = backup(again, MemorySource(tree), options=options)
    error = result.tiers["vault"].error
    assert isinstance(error, RepositoryError)
    assert error.code == "damaged"
    assert not _is_locked(vault, pack)


# Catching up, and what writers do beside


def test_catch_up_locks_what_the_snapshot_asked_for() -> None:
    """What is copied is locked as long as the snapshot's entry is on the tier that has it."""
    vault, second = MemoryObjectStore("vault", locks=True), MemoryObjectStore("second", locks=True)
    free = MemoryObjectStore("free")
    _new(vault, second, free)
    _run(Repository.open([vault], key_file()))
    repository = Repository.open([vault, second, free], key_file())
    for name in ("second", "free"):
        assert catch_up(repository, repository.tier(name)).is_complete
    (snapshot,) = repository.tier("second").snapshots()
    number = repository.tier("second").log.state.entry_of[snapshot]
    needed = [key for key in second.contents() if not key.startswith("log/")]
    assert len(needed) >= 4
    assert [key for key in [*needed, entry_object_key(number)] if not _is_locked(second, key)] == []
    assert not any(_is_locked(free, key) for key in free.contents())


def test_catch_up_that_is_asked_for_a_lock_copies_nothing_without() -> None:
    """The tier refuses before a pack is copied, with the code."""
    source, unfit = MemoryObjectStore("free"), MemoryObjectStore("unfit")
    _new(source, unfit)
    _run(Repository.open([source], key_file()))
    repository = Repository.open([source, unfit], key_file())
    tier = repository.tier("unfit")
    with pytest.raises(LockNotProven):
        catch_up(repository, tier, lock_until=locking.lock_date(unfit, 30))
    assert _uploaded(unfit) == []


def test_compacted_index_is_locked_like_what_it_replaces() -> None:
    """After many locked backups each live segment, and the entry that names it, is locked."""
    vault = MemoryObjectStore("vault", locks=True)
    _new(vault)
    state, runs = Repository.open([vault], key_file()).tier("vault").log.state, 0
    while not state.replaced_segments:  # When it is due depends on sizes that a random salt has a part in.
        runs += 1
        assert runs < 100
        _run(Repository.open([vault], key_file()), "x" * runs)
        state = Repository.open([vault], key_file()).tier("vault").log.state
    assert all(_is_locked(vault, f"index/{name}") for name in state.segments)
    assert all(_is_locked(vault, entry_object_key(number)) for number in state.segments.values())


# Checking


def _check(*stores: MemoryObjectStore) -> CheckReport:
    return check(Repository.open(list(stores), key_file()))


@pytest.mark.parametrize("prefix", ["packs/", "index/", "keys/", "config"])
@pytest.mark.parametrize("days", [0, 10])
def test_check_names_what_is_not_locked_as_long_as_its_snapshot(prefix: str, days: int) -> None:
    """Without a lock, or with a shorter one, each object that a snapshot needs is a finding; repair locks it again."""
    vault = MemoryObjectStore("vault", locks=True)
    repository = _new(vault)
    _run(repository, "1", days=20)
    _run(repository, "2", days=30)
    assert _check(vault).findings == []
    keys = [key for key in vault.contents() if key.startswith(prefix)]
    for key in keys:
        vault._locked_until.pop(key)
        if days:
            vault.extend_lock(key, vault.now() + timedelta(days=days))
    report = _check(vault)
    assert {finding.problem for finding in report.findings} == {Problem.UNLOCKED}
    assert {finding.object_key for finding in report.findings} == set(keys)
    assert not report.is_ok
    opened = Repository.open([vault], key_file())
    assert repair(opened, opened.tier("vault"), report).is_complete
    assert _check(vault).is_ok
    assert all(_is_locked(vault, key, 19) for key in keys)


def test_check_says_where_locks_cannot_be_known() -> None:
    """A tier that must not tell, or shows none, is not said to be well locked; one that cannot lock is not asked."""
    silent = _Careless("silent", "", says=None)
    shows_none, free = MemoryObjectStore("none", locks=True), MemoryObjectStore("free")
    repository = _new(silent, shows_none, free)
    _run(repository, days=0)
    report = _check(silent, shows_none, free)
    assert [(finding.tier, finding.problem) for finding in report.findings] == [
        ("silent", Problem.LOCKS_UNKNOWN),
        ("none", Problem.LOCKS_UNKNOWN),
    ]
    assert report.is_ok


def test_lock_that_has_run_out_is_no_finding() -> None:
    """What was to be kept until yesterday may lie open today."""
    clock = CountingClock()
    vault = MemoryObjectStore("vault", locks=True, clock=clock)
    _run(_new(vault), days=1)
    clock._now_ns += 2 * 86_400 * 10**9
    for key in [key for key in vault.contents() if key.startswith("packs/")]:
        vault._locked_until.pop(key, None)
    assert _check(vault).findings == []


def _open(*stores: MemoryObjectStore) -> Repository:
    return Repository.open(list(stores), key_file())


def test_what_takes_the_place_of_locked_objects_is_locked_as_long() -> None:
    """A new index, a merged one, a new wrapping, a new key: whoever makes them asks for no lock of his own."""
    vault = MemoryObjectStore("vault", locks=True)
    repository = _new(vault)
    for number in range(4):
        _run(repository, str(number), days=10 * number)
    assert _check(vault).is_ok
    rebuild_index(repository, repository.tier("vault"))
    assert _check(vault).is_ok
    repository = _open(vault)
    _run(repository, "5", days=1)
    assert compaction.compact_indexes(repository, 1)
    assert _check(vault).is_ok
    assert rewrap(repository, key_file(3)) == {"vault": None}
    assert add_generation(repository, key_file()) == {"vault": None}
    assert _check(vault).is_ok


def test_entry_that_repair_puts_back_is_locked_again() -> None:
    """Lost on the medium, whatever its lock."""
    vault = MemoryObjectStore("vault", locks=True)
    _run(_new(vault), days=100)
    (number,) = _open(vault).tier("vault").log.state.entry_of.values()
    objects = vault.contents()
    del objects[entry_object_key(number)]
    again = MemoryObjectStore("vault", objects=objects, locks=True)
    for key in objects:
        found = vault.head(key)
        assert found is not None
        if found.lock_until is not None:
            again.extend_lock(key, found.lock_until)
    repository = _open(again)
    assert repair(repository, repository.tier("vault")).is_complete
    found = again.head(entry_object_key(number))
    assert found is not None
    assert found.lock_until is not None
    assert _check(again).is_ok
