"""Seeded histories of a repository on four tiers, against a model of what should be there.

`History(seed).run(steps)` does one after the other what operators, schedules and accidents do: back up, forget, hold,
release, prune, catch up, lock, rotate keys, erase a domain, lose a tier for a while, read for long what others forget
meanwhile, and die in the middle of any of it. After each step everything that should restore has to, from every tier
that says that it has it; at the end all tiers come back, and nothing that was forgotten, and no key that was destroyed,
is left.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random  # noqa: TID251  # seeded

from repository.errors import KeyNotFound, RepositoryError, SnapshotHeld, TierBehind, UnknownKey
from repository.format import pack_object_key
from repository.index.pack_catalog import stored_packs
from repository.keys.key_file import KeyFile
from repository.keys.key_ring import key_id_of
from repository.log.state import LogState
from repository.opened.key_change import add_generation, rewrap
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, prune
from repository.retention.erasure import erase, plan_erasure
from repository.retention.orders import forget, holds_of
from repository.stored.snapshot import Snapshot
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import ObjectStore
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.catch_up import catch_up, lag
from repository.upkeep.check import check
from repository.upkeep.root_change import change_root
from repository.upkeep.store_holds import place, release
from tests.support.dying import Dying
from tests.support.history_readers import Readers
from tests.support.repositories import CountingClock, SeededRandomness, read_back, write_snapshot

TIERS = ("local", "primary", "secondary", "offsite")
FILES = 12


class Clock(CountingClock):
    """One that can be put forward."""

    def pass_by(self, span: timedelta) -> None:
        """So much time passes."""
        self._now_ns += span // timedelta(microseconds=1) * 1000


@dataclass
class Model:
    """What there should be. `made`: by id, the snapshot and its files; `forgotten`, `held`: what was said of them."""

    made: dict[str, tuple[Snapshot, dict[bytes, bytes]]] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    held: dict[str, str] = field(default_factory=dict)
    domain_of: dict[str, str] = field(default_factory=dict)
    erased: dict[str, set[str]] = field(default_factory=dict)
    """By domain, the ids of its keys, of which some log says that they are destroyed: nobody counts on it any more."""
    unsure: set[str] = field(default_factory=set)
    """Whoever was to forget them died: each tier may have been told, or not."""

    @property
    def live(self) -> list[str]:
        """Ids of what has to be there."""
        return [each for each in self.made if each not in self.forgotten | self.unsure]


class History:
    """One history. What it did is in `told`, for whoever has to understand a failure."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        self._clock = Clock()
        self._randomness = SeededRandomness(seed)
        self._keks = [hashlib.sha256(b"kek %d" % seed).digest()]
        self._domains = ["default"]
        locking = self._chance.choice(TIERS)
        self.stores = {name: MemoryObjectStore(name, locks=name == locking, clock=self._clock) for name in TIERS}
        stores = list(self.stores.values())
        Repository.init(stores, self._key, clock=self._clock, randomness=self._randomness)
        self._away: set[str] = set()
        self._serial = 0
        self._readers = Readers(self._chance)
        self.model = Model()
        self.told: list[str] = []

    @property
    def _key(self) -> KeyFile:
        return KeyFile(self._keks, self._randomness)

    def run(self, steps: int) -> None:
        """So many steps, and the end."""
        actions: list[tuple[int, Callable[[], None]]] = [
            (6, self._back_up),
            (3, self._forget),
            (1, self._hold),
            (1, self._release),
            (4, self._prune),
            (3, self._catch_up),
            (2, self._lose_or_find_a_tier),
            (1, self._lock),
            (2, self._rotate),
            (1, self._begin_domain),
            (1, self._erase),
            (1, self._wait),
            (2, self._begin_to_read),
            (2, lambda: self._readers.end(self._tell)),
        ]
        weights, choices = zip(*actions, strict=True)
        for _ in range(steps):
            (action,) = self._chance.choices(choices, weights)
            action()
            self._expect_all_that_should_be()
        self._end()

    # What is done

    def _open(self, *, dies: bool = False) -> Repository:
        """As a process opens it that sees what is not away; one that dies does so at some put or delete."""
        there: list[ObjectStore] = [store for name, store in self.stores.items() if name not in self._away]
        if dies:
            left = [self._chance.randrange(12)]
            there = [Dying(store, left) for store in there]  # type: ignore[misc]
            self.told[-1] += f", dies after {left[0]}"
        repository = Repository.open(there, self._key, clock=self._clock, randomness=self._randomness)
        for tier in repository.tiers if not dies else ():
            if tier.state is TierState.REPLAYED and tier.log.lags:
                # It was away when the root was changed, and nobody bore witness to its last entries: they are its own.
                assert accept_history(repository, tier)
        return repository

    def _tell(self, words: str) -> bool:
        """Note what is done; True where whoever does it dies in the middle."""
        self.told.append(words)
        return self._chance.random() < 0.25

    def _files(self) -> dict[bytes, bytes]:
        names = self._chance.sample(range(FILES), self._chance.randint(1, FILES))
        version = self._chance.randint(0, 3)
        return {b"photo%d" % each: Random(each * 10 + version).randbytes(200 + 150 * each) for each in names}

    def _back_up(self) -> None:
        self._serial += 1
        files, token = self._files(), f"run {self._serial}"
        domain = self._chance.choice(self._domains)
        dies = self._tell(f"back up {token} into {domain}")
        repository = self._open(dies=dies)
        if domain not in {keys.domain for keys in repository.keys.all()}:
            return  # the tiers that have its keys are away
        tiers = repository.ready_tiers()
        if len(tiers) > 1 and self._chance.random() < 0.2:
            tiers = self._chance.sample(tiers, len(tiers) - 1)
        snapshot: Snapshot | None = None
        try:
            snapshot = write_snapshot(
                repository,
                tiers,
                files,
                token,
                self._randomness,
                commit=self._chance.random() < 0.85,
                domain=domain,
            )
        except TierBehind:
            pass  # it stays behind until it is caught up, as after any backup
        except RepositoryError:
            assert dies
        for store in self.stores.values():
            # By its own log: beside tiers that know of a new root, one that was away then is not read as it is.
            for each in self._state_of(store).snapshots.plain().values():
                if each.brief.run_token == token:  # what was committed stays, also where its writer died after it
                    self.model.made[each.id] = (each, files)
                    self.model.domain_of[each.id] = domain
        assert snapshot is None or snapshot.id in self.model.made

    def _forget(self) -> None:
        if not self.model.live:
            return
        chosen = self._chance.sample(self.model.live, min(len(self.model.live), self._chance.randint(1, 3)))
        dies = self._tell(f"forget {[each[:6] for each in chosen]}")
        repository = self._open(dies=dies)
        known = {each.id for each in repository.snapshots()}
        chosen = [each for each in chosen if each in known]
        try:
            done = forget(repository, chosen)
            self.model.forgotten.update(chosen)
            assert dies or not done.failed
        except SnapshotHeld:
            # Those who were told that a hold is over may be away by now.
            over = {name for each in self._away for name in self._state_of(self.stores[each]).released_holds}
            known = {*self.model.held.values(), *(each for name in over for each in holds_of(repository).get(name, ()))}
            assert known.intersection(chosen), self.told
        except RepositoryError:
            assert dies or not repository.ready_tiers()
        if dies:
            told = {each for store in self.stores.values() for each in self._state_of(store).forgotten}
            self.model.unsure.update(each for each in chosen if each in told)
            self.model.forgotten.difference_update(self.model.unsure)

    def _state_of(self, store: MemoryObjectStore) -> LogState:
        repository = Repository.open([store], self._key, clock=self._clock, randomness=self._randomness)
        return repository.tiers[0].log.state

    def _hold(self) -> None:
        if not self.model.live:
            return
        self._serial += 1
        identity, name = self._chance.choice(self.model.live), f"hold {self._serial}"
        self.told.append(f"{name} on {identity[:6]}")
        repository = self._open()
        if any(each.id == identity for each in repository.snapshots()):
            _, stores = place(repository, name, [identity])
            assert not stores.failed, (stores, self.told)
            self.model.held[name] = identity

    def _release(self) -> None:
        if not self.model.held:
            return
        name = self._chance.choice(sorted(self.model.held))
        self.told.append(f"release {name}")
        repository = self._open()
        if name in holds_of(repository):
            _, stores = release(repository, name)
            assert not stores.failed, (stores, self.told)
            del self.model.held[name]

    def _prune(self) -> None:
        dies = self._tell("prune")
        options = PruneOptions(
            unreferenced=self._chance.random() < 0.3,
            max_unused=self._chance.choice((0.0, 0.05, 1.0)),
            dry_run=self._chance.random() < 0.1,
        )
        plans = prune(self._open(dies=dies), options)
        assert dies or all(plan.is_complete for plan in plans.values()), plans

    def _catch_up(self) -> None:
        dies = self._tell("catch up")
        repository = self._open(dies=dies)
        for tier in self._chance.sample(repository.tiers, len(repository.tiers)):
            try:
                catch_up(repository, tier)
            except RepositoryError:
                assert dies or len(repository.ready_tiers()) < 2

    def _rotate(self) -> None:
        """A new key-encryption key, root, or generation of a domain; who dies in the middle has begun one."""
        kind = self._chance.random()
        if kind < 0.2:
            dies = self._tell("change the root")
            work: Callable[[Repository], object] = lambda repository: change_root(repository, self._key)  # noqa: E731
        elif kind < 0.5:
            self._keks.insert(0, self._randomness.token_bytes(32))
            dies = self._tell("rotate the key-encryption key")
            work = lambda repository: rewrap(repository, self._key)  # noqa: E731
        else:
            domain = self._chance.choice(self._domains)
            dies = self._tell(f"rotate the key of {domain}")
            work = lambda repository: add_generation(repository, self._key, domain)  # noqa: E731
        self._attempt(work, dies=dies)

    def _begin_domain(self) -> None:
        self._serial += 1
        domain = f"person {self._serial}"
        dies = self._tell(f"begin {domain}")
        self._attempt(lambda repository: add_generation(repository, self._key, domain), dies=dies)
        if not dies:
            self._domains.append(domain)

    def _attempt(self, work: Callable[[Repository], object], *, dies: bool) -> None:
        try:
            work(self._open(dies=dies))
        except UnknownKey:
            pass  # a key that is on no tier that is there
        except RepositoryError:
            assert dies

    def _erase(self) -> None:
        """A domain, sooner or later of every tier. A hold forbids it."""
        domains = [each for each in (*self._domains, *self.model.erased) if each != "default"]
        if not domains:
            return
        domain = self._chance.choice(domains)
        dies = self._tell(f"erase {domain}")
        repository = self._open(dies=dies)
        own = {keys.key_id.hex() for keys in repository.keys.all() if keys.domain == domain}
        try:
            done = erase(repository, domain, plan_erasure(repository, domain).word)
            assert dies or all(each.failed is None for each in done.tiers.values()), (done, self.told)
        except SnapshotHeld:
            assert any(self.model.domain_of[each] == domain for each in self.model.held.values()), self.told
        except KeyNotFound:
            return  # nothing that is there opens it
        except RepositoryError:
            assert dies or not repository.ready_tiers()
        states = [self._state_of(store) for store in self.stores.values()]
        mine = {identity for identity, named in self.model.domain_of.items() if named == domain}
        if own & set[str]().union(*(state.destroyed_keys for state in states)):
            self.model.erased.setdefault(domain, set()).update(own)
            self._domains = [each for each in self._domains if each != domain]
            self.model.unsure |= mine - self.model.forgotten
        told = {each for state in states for each in state.forgotten}
        self.model.unsure |= mine & told - self.model.forgotten

    def _lose_or_find_a_tier(self) -> None:
        name = self._chance.choice(TIERS)
        if name in self._away:
            self._away.discard(name)
        elif len(self._away) < len(TIERS) - 1:
            self._away.add(name)
        self.told.append(f"away: {sorted(self._away)}")

    def _lock(self) -> None:
        """What a tier has is locked for some days, as a backup with a lock does it."""
        for store in self.stores.values():
            if store.capabilities.locks and store.name not in self._away:
                until = store.now() + timedelta(days=self._chance.randint(1, 5))
                packs = [pack.id for pack in stored_packs(store)]
                for pack in self._chance.sample(packs, len(packs) // 2):
                    store.extend_lock(pack_object_key(pack), until)
                self.told.append(f"lock some of {store.name}")

    def _wait(self) -> None:
        self.told.append("three days pass")
        self._clock.pass_by(timedelta(days=3))

    def _begin_to_read(self) -> None:
        dies = self._tell("begin to read")
        self.told[-1] += f" {self._readers.begin(self._open(dies=dies), dies=dies)}"

    # What is to be seen

    def _files_to_read(self, identity: str) -> dict[bytes, bytes] | None:
        is_erased = self.model.domain_of[identity] in self.model.erased
        return None if is_erased else self.model.made[identity][1]

    def _expect_all_that_should_be(self) -> None:
        self._readers.expect_to_read(self._files_to_read, self.told)
        repository = self._open()
        assert all(tier.state is TierState.READY for tier in repository.tiers), (repository.states(), self.told)
        shown = {each.id for each in repository.snapshots()}
        on_these = {each for tier in repository.tiers for each in tier.snapshots()}
        assert shown <= self.model.made.keys()
        # A tier that was away shows what it has where nobody is there who was told.
        known = {each for tier in repository.tiers for each in tier.log.state.forgotten}
        assert not (shown & self.model.forgotten & known - set(self.model.held.values())), self.told
        assert set(self.model.live) & on_these <= shown, self.told
        for tier in repository.tiers:
            for identity in tier.snapshots():
                snapshot, files = self.model.made[identity]
                if identity in shown:
                    assert read_back(repository, snapshot, tier) == files, (identity, tier.name, self.told)

    def _end(self) -> None:
        """All tiers are back and locks are over: each has what should be there, and no more."""
        self._away.clear()
        self.told.append("the end")
        self._readers.end_all(self._tell)
        prune(self._open())  # the first look at what the dead have left
        self._clock.pass_by(timedelta(days=30))
        repository = self._open()
        for name in holds_of(repository):
            release(repository, name)
        for _ in range(2):
            for tier in repository.tiers:
                catch_up(repository, tier)
        repository = self._open()
        for store in self.stores.values():
            for key_ids in self.model.erased.values():
                assert not [info.key for info in store.list("keys/") if key_id_of(info.key) in key_ids], self.told
        left = [each for each in self.model.unsure if each in {s.id for s in repository.snapshots()}]
        live = {*self.model.live, *left}
        assert not [each for each in left if self.model.domain_of[each] in self.model.erased], self.told
        assert {each.id for each in repository.snapshots()} == live, self.told
        for tier in repository.tiers:
            assert not lag(repository, tier).is_behind, (tier.name, lag(repository, tier), self.told)
        plans = prune(repository, PruneOptions(unreferenced=True, max_unused=0.0))
        assert all(plan.is_complete and not plan.locked for plan in plans.values()), (plans, self.told)
        repository = self._open()
        for tier in repository.tiers:
            assert set(tier.snapshots()) == live, (tier.name, self.told)
            for identity in live:
                snapshot, files = self.model.made[identity]
                assert read_back(repository, snapshot, tier) == files, (identity, tier.name, self.told)
            stored = {pack.id for pack in stored_packs(self.stores[tier.name])}
            assert tier.index.pack_ids() == stored, (tier.name, self.told)
            assert live or not stored, (tier.name, self.told)
        assert not [info.key for store in self.stores.values() for info in store.list("pins/")], self.told
        held = [info.key for store in self.stores.values() for info in store.list("") if store.legal_hold(info.key)]
        assert not held, (held, self.told)
        report = check(repository, read_percent=100)
        assert report.is_ok, (report.damage, self.told)
