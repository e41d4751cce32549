"""Runs of several organisations in one worker: who has waited longest for memory is not passed for ever."""

from collections import deque
from datetime import datetime

import pytest

from repository.backup.reading import BLOCK_LENGTH
from repository.backup.sharing import Member, Sharing, terms_of
from repository.backup.workshop import Workshop
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.stored.chunker import ChunkerParameters
from repository.stored.memory_budget import MemoryBudget
from repository.tiers.memory import MemoryObjectStore
from tests.support.repositories import CountingClock, SeededRandomness, key_file

BLOCK = BLOCK_LENGTH + ChunkerParameters().maximum
ROUNDS = 500


class _NotYet(Exception):
    """There is no memory for it yet, and it leaves."""


class _Organisation:
    """An open repository of its own in the workshop that all share."""

    def __init__(self, workshop: Workshop, number: int) -> None:
        stores = [MemoryObjectStore("local")]
        self._repository = Repository.init(
            stores, key_file(number), clock=CountingClock(), randomness=SeededRandomness(number)
        )
        self._sharing = Sharing(self._repository, workshop)
        self.runs: deque[Member] = deque()

    def begin(self, on_waiting: object = None) -> None:
        """One run more; `_NotYet` where it would have to wait and nobody says how."""

        def leave() -> None:
            raise _NotYet

        tiers, keys = self._repository.ready_tiers(), self._repository.keys.active()
        member = self._sharing.join(
            keys,
            tiers,
            terms_of(keys, tiers, lock_days={}, levels=None),
            lock_until=_no_lock,
            block_length=BLOCK,
            on_end=lambda _: None,
            on_waiting=on_waiting or leave,  # type: ignore[arg-type]
        )
        self.runs.append(member)

    def end(self) -> None:
        """Its oldest run has come to its end."""
        self.runs.popleft().leave(is_failed=False)


def _no_lock(_tier: OpenTier) -> datetime | None:
    return None


@pytest.mark.parametrize(("memory_mib", "slots", "organisations"), [(976, 50, 4), (512, 21, 3)])
def test_organisation_whose_repository_is_not_open_comes_to_its_turn(
    memory_mib: int, slots: int, organisations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has a queue of short runs, of which the next one comes with each that ends; the others one long run each."""
    monkeypatch.setattr(MemoryBudget, "wait", lambda *_: None)
    workshop = Workshop(memory_mib << 20)
    queue, *others, last = (_Organisation(workshop, number) for number in range(organisations))
    for each in others:
        each.begin()
    for _ in range(slots - len(others) - 1):
        try:
            queue.begin()
        except _NotYet:
            break
    passed, rounds = [0], [0]

    def next_of_the_queue() -> None:
        rounds[0] += 1
        assert rounds[0] < ROUNDS, f"{passed[0]} runs that came later have had their memory first"
        if queue.runs:
            queue.end()
        try:
            queue.begin()
            passed[0] += 1
        except _NotYet:
            pass

    last.begin(next_of_the_queue)
    assert len(last.runs) == 1
    assert rounds[0] > 0, "it had to wait"
    assert passed[0] == 0
    for _ in range(2):
        queue.begin() if not queue.runs else queue.end()  # those that wait and those that run go on
    for each in [queue, *others, last]:
        while each.runs:
            each.end()
    assert workshop.memory.bytes_lent == 0
