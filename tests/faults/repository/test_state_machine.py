"""A repository and a model of it, through whatever order of backups, crashes, damage, roll-backs and repairs."""

from random import Random  # noqa: TID251  # seeded by Hypothesis

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from repository.backup.fanout import Delivery
from repository.errors import NoUsableTier
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.rebuild import rebuild_index
from repository.upkeep.repair import repair
from tests.support.crash_scenes import ChangingSource, History, fast_folder, small_packs
from tests.support.recording_store import Objects, Recorder, RecordingStore

TIERS = ("near", "far", "vault")


class RepositoryMachine(RuleBasedStateMachine):
    """The model: of each tier the run tokens that it has to have, and those that it may have.

    A tier with unknown damage (until it is repaired) may miss what it had; nobody may ever get wrong bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.contexts = [small_packs(), fast_folder()]
        self.contexts[0].__enter__()
        self.source = ChangingSource(self.contexts[1].__enter__(), Random(0))
        self.states: dict[str, Objects] = {name: {} for name in TIERS}
        self.older: dict[str, list[Objects]] = {name: [] for name in TIERS}
        self.tokens: dict[str, int] = {}
        self.committed: dict[str, set[str]] = {name: set() for name in TIERS}
        self.attempted: dict[str, set[str]] = {name: set() for name in TIERS}
        self.hurt: set[str] = set()
        self.opened = 0
        self.history = self._open()

    def teardown(self) -> None:
        """Remove the folder."""
        for context in reversed(self.contexts):
            context.__exit__(None, None, None)

    @initialize()
    def init(self) -> None:
        """Create the repository on all tiers, with one backup."""
        self.recorder, self.history = Recorder(), History(self.source, [], 9, {})
        self.history.stores = [RecordingStore(name, self.recorder) for name in TIERS]
        self.history.init()
        self._backup(self.history)
        self._keep()

    # What happens to a repository

    @rule(away=st.sets(st.sampled_from(TIERS), max_size=2))
    def back_up(self, away: set[str]) -> None:
        """A backup while some tiers cannot be reached."""
        if self._can_write(away):
            self._backup(self._open(away=away))
            self._keep(away)

    @rule(away=st.sets(st.sampled_from(TIERS), max_size=1), moment=st.floats(0, 1), seed=st.integers(0, 1 << 30))
    def crash_in_a_backup(self, away: set[str], moment: float, seed: int) -> None:
        """The machine dies at some moment of a backup, and what was not durable is drawn."""
        if self._can_write(away):
            history = self._open(away=away)
            self._backup(history, is_interrupted=True)
            at = int(moment * self.recorder.now)
            names = [store.name for store in history.stores]
            self.states |= self.recorder.after_crash(at, names, Random(seed))

    @rule(name=st.sampled_from(TIERS))
    def catch_up_one(self, name: str) -> None:
        """One tier is brought level with what the others have."""
        history = self._open()
        repository = self._repository(history)
        tier = repository.tier(name)
        if tier.state is not TierState.READY:
            return
        result = catch_up(repository, tier)
        others = [other for other in TIERS if other != name]
        if not self.hurt:
            assert result.is_complete
            for other in others:
                self.committed[name] |= self.committed[other]
        for other in others:
            self.attempted[name] |= self.attempted[other]
        self._keep()

    @rule(name=st.sampled_from(TIERS), seed=st.integers(0, 1 << 30))
    @precondition(lambda self: not self.hurt)
    def damage(self, name: str, seed: int) -> None:
        """One object of one tier is flipped, cut, or lost."""
        chance = Random(seed)
        objects = self.states[name]
        key = chance.choice(sorted(key for key in objects if not key.startswith("pending/")))
        body = bytearray(objects[key])
        match chance.randrange(3):
            case 0:
                body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
                objects[key] = bytes(body)
            case 1:
                objects[key] = bytes(body[: chance.randrange(len(body))])
            case 2:
                del objects[key]
        self.hurt.add(name)

    @rule(name=st.sampled_from(TIERS), age=st.floats(0, 1))
    @precondition(lambda self: not self.hurt)
    def roll_back(self, name: str, age: float) -> None:
        """Somebody puts back an older state of a whole tier."""
        older = self.older[name]
        self.states[name] = dict(older[int(age * (len(older) - 1))])
        self.hurt.add(name)

    @rule()
    @precondition(lambda self: bool(self.hurt))
    def mend(self) -> None:
        """An operator repairs and catches up the tier that was hurt; then it has all again that the others have."""
        (name,) = self.hurt
        history = self._open()
        repository = self._repository(history)
        tier = repository.tier(name)
        if tier.state is TierState.REPLAYED:
            accept_history(repository, tier)
        if tier.state is not TierState.EMPTY:
            result = repair(repository, tier, check(repository, read_percent=100, tiers=[name]), bridge=True)
            lost = [one for one in result.unrepaired if one.repairable_from]
            assert not lost, lost
        self._keep()
        history = self._open()
        others = {token for other in TIERS if other != name for token in self.committed[other]}
        self.committed[name] = {token for token in self.committed[name] if token in others}
        self.hurt.clear()
        history.catch_up_all()
        self._keep()
        for each in TIERS:
            self.committed[each] |= others
            self.attempted[each] |= self.attempted[name]

    @rule(name=st.sampled_from(TIERS))
    @precondition(lambda self: not self.hurt)
    def rebuild(self, name: str) -> None:
        """The index of a tier is made anew from its packs."""
        history = self._open()
        repository = self._repository(history)
        tier = repository.tier(name)
        if tier.state is TierState.READY:
            result = rebuild_index(repository, tier)
            assert not result.damaged
            self._keep()

    # What is always true

    @invariant()
    def everything_committed_is_there_and_whole(self) -> None:
        """Each whole tier has what it has to have, alone and byte for byte; a hurt one gives no wrong bytes."""
        if not self.tokens:
            return
        history = self._open()
        repository = self._repository(history)
        for tier in repository.tiers:
            if tier.name in self.hurt:
                continue
            assert tier.state is TierState.READY, repository.states()
            tokens = [snapshot.manifest.run_token for snapshot in tier.snapshots().values()]
            assert len(tokens) == len(set(tokens)), "a run is committed once"
            assert set(tokens) >= self.committed[tier.name]
            assert set(tokens) <= self.attempted[tier.name] | {
                token for other in TIERS for token in self.attempted[other]
            }
            self.committed[tier.name] |= set(tokens)
            snapshots = list(tier.snapshots().values())
            for snapshot in {snapshots[0].id: snapshots[0], snapshots[-1].id: snapshots[-1]}.values():
                history.expect_restore(snapshot, tier)
        report = check(repository, read_percent=100, tiers=[name for name in TIERS if name not in self.hurt])
        assert not report.damage, report.damage

    # The machinery

    def _open(self, *, away: set[str] | None = None) -> History:
        self.recorder = Recorder()
        self.opened += 1
        history = History(self.source, [], 9, self.tokens)
        stores = [
            RecordingStore(name, self.recorder, objects=self.states[name])
            for name in TIERS
            if name not in (away or set())
        ]
        if self.tokens:
            history.open(stores, seed=self.opened)
        return history

    @staticmethod
    def _repository(history: History) -> Repository:
        assert history.repository is not None
        return history.repository

    def _can_write(self, away: set[str]) -> bool:
        return bool(set(TIERS) - away - self.hurt)

    def _backup(self, history: History, *, is_interrupted: bool = False) -> None:
        token = f"run {len(self.tokens)}"
        self.tokens[token] = self.source.change(files=2)
        history.tokens[token] = self.tokens[token]
        for store in history.stores:
            self.attempted[store.name].add(token)
        try:
            result = history.backup(self.tokens[token], token)
        except NoUsableTier:
            assert self.hurt
            return
        for name, delivery in result.tiers.items():
            if delivery.state is Delivery.COMMITTED and not is_interrupted and name not in self.hurt:
                self.committed[name].add(token)

    def _keep(self, away: set[str] | None = None) -> None:
        for name in TIERS:
            if name not in (away or set()):
                self.states[name] = self.recorder.sure_objects(name, self.recorder.now)
                self.older[name].append(dict(self.states[name]))


RepositoryMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=10,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestRepositoryMachine = RepositoryMachine.TestCase
