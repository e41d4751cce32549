"""A long history that was written in a moment opens like one that was made, and costs as few requests."""

from collections import Counter
from typing import Any

import pytest

from benchmarks.history import make_history, segments_of
from benchmarks.opening_probe import commit_once, small_index
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.stored.index_runs import runs_of
from repository.tiers.memory import MemoryObjectStore
from tests.support.repositories import key_file


class _Asked(MemoryObjectStore):
    """Counts what it is asked."""

    def __init__(self, name: str, objects: dict[str, bytes]) -> None:
        super().__init__(name, objects=objects)
        self.asked: Counter[str] = Counter()

    def put(self, *words: Any, **options: Any) -> None:
        self.asked["put"] += 1
        super().put(*words, **options)

    def get(self, *words: Any, **options: Any) -> bytes:
        self.asked["get"] += 1
        return super().get(*words, **options)

    def list(self, *words: Any, **options: Any) -> Any:
        self.asked["list"] += 1
        return super().list(*words, **options)

    def delete(self, *words: Any, **options: Any) -> None:
        self.asked["delete"] += 1
        super().delete(*words, **options)


@pytest.mark.parametrize("snapshots", [1, 1_600])
def test_opening_and_committing_cost_as_few_requests_with_a_long_history(snapshots: int) -> None:
    """Under thirty to open, under ten to commit, whatever came before."""
    store = MemoryObjectStore("a")
    make_history(store, key_file(), snapshots, 10 * snapshots)
    requests: list[int] = []
    for number in range(40):
        again = _Asked("a", store.contents())
        with Repository.open([again], key_file()) as repository:
            (tier,) = repository.tiers
            assert tier.state is TierState.READY
            assert len(tier.snapshots()) == snapshots + number
            assert again.asked.total() < 30
            before = again.asked.total()
            commit_once(repository, snapshots + number)
            requests.append(again.asked.total() - before)
        store = MemoryObjectStore("a", objects=again.contents())
    assert sorted(requests)[len(requests) // 2] < 10
    # Checkpoints, the tail and merged segments included.
    assert sum(requests) / len(requests) < 12


def test_index_is_one_run_of_segments_with_the_rows_that_were_asked_for() -> None:
    """As merging leaves it."""
    segments = list(segments_of(1000))
    assert sum(segment.rows for segment in segments) == 1000
    assert len(runs_of(segments)) == 1
    packs = {pack for segment in segments for pack in segment.packs}
    assert len(packs) == 4
    assert len(small_index(b"x" * 32)) == 1
