"""A repository with every kind of object and entry of format 1, written once, is read whole by this version."""

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest

from repository.keys.key_file import KeyFile
from repository.log.commit_log import CommitLog
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, prune
from repository.restore.restore import RestoreOptions, restore
from repository.retention import pin_watch
from repository.retention.orders import holds_of
from repository.retention.pin_watch import look
from repository.stored import log_entry
from repository.stored.log_entry import Entry
from repository.stored.pin import Pin
from repository.stored.sealed_object import SEALED_MAGIC, ObjectKind
from repository.streams.reading import read_stream
from repository.tiers.folder.store import DirectoryObjectStore
from repository.upkeep.check import check
from tests.compat.make_golden import digests
from tests.compat.make_golden_life import COPY, FAR, LIFE, NEAR, PIN_ID, SALES, STREAM

EXPECTED: dict[str, Any] = json.loads((LIFE / "expected.json").read_text())
IDS: dict[str, str] = EXPECTED["snapshots"]
TIERS = (NEAR, FAR, COPY)
LIVE = ("daily", "yearly", "after")
PREFIXES = "checkpoints config index keys log packs pending pins snapshots streams"


@pytest.fixture
def life(tmp_path: Path) -> Path:
    """A copy to work on, its keys as an owner keeps them."""
    folder = tmp_path / "life"
    shutil.copytree(LIFE, folder)
    for key in ("key", "new-key"):
        (folder / key).chmod(0o600)
    return folder


def _open(life: Path, *names: str) -> Repository:
    stores = [DirectoryObjectStore(str(life / name), name) for name in names or TIERS]
    return Repository.open(stores, KeyFile.load(life / "new-key"))


ADDED_SINCE = {"KeksEnded"}
"""Kinds of entry that came after it was written (docs/repository-format.md, section 13)."""


def _bodies(log: CommitLog) -> set[str]:
    entries = (log.entry(number) for number in range(1, log.state.head.number + 1))
    return {type(each.body).__name__ for each in entries if isinstance(each, Entry)}


def test_it_is_the_one_that_was_committed() -> None:
    """Nobody has touched a byte since."""
    found = digests(LIFE)
    del found["expected.json"]
    assert found == EXPECTED["digests"]
    assert sum(path.stat().st_size for path in LIFE.rglob("*") if path.is_file()) < 300_000


def test_every_kind_of_object_and_entry_is_in_it(life: Path) -> None:
    repository = _open(life)
    assert (
        set().union(*(_bodies(tier.log) for tier in repository.tiers))
        == {kind.__name__ for kind in get_args(log_entry.Body)} - ADDED_SINCE
    )
    assert sorted({path.name for path in (life / NEAR).iterdir()}) == PREFIXES.split()
    bodies = [path.read_bytes() for path in life.rglob("*") if path.is_file()]
    kinds = {body[at + 10] for body in bodies if (at := body.find(SEALED_MAGIC)) >= 0}
    assert kinds == set(ObjectKind)


@pytest.mark.parametrize("tier", TIERS)
def test_each_tier_alone_gives_back_every_byte(life: Path, tmp_path: Path, tier: str) -> None:
    repository = _open(life, tier)
    assert {each.manifest.run_token: each.id for each in repository.snapshots()} == {each: IDS[each] for each in LIVE}
    for snapshot in repository.snapshots():
        token = snapshot.manifest.run_token
        restore(repository, snapshot, str(tmp_path / token), options=RestoreOptions(workers=1))
        assert {path.name.encode(): path.read_bytes() for path in (tmp_path / token / "album").iterdir()} == SALES[
            token
        ]
    pieces = list(read_stream(repository, STREAM))
    assert pieces[0].position == 1 << 24
    assert [piece.data for piece in pieces] == [b"commit %d\n" % number * 50 for number in range(3)]


def test_what_was_ordered_holds(life: Path) -> None:
    """Forgotten, held, tagged, erased, swept, locked, pinned, and a root that took the place of the first."""
    before = digests(life)
    repository = _open(life)
    assert {tier.name: tier.state for tier in repository.tiers} == dict.fromkeys(TIERS, TierState.READY)
    assert check(repository, read_percent=100).damage == []
    assert holds_of(repository) == {"court": (IDS["yearly"],)}
    assert repository.keys.root.domain == "root"
    # On the tier that locks, the erased key lies until its lock ends.
    assert "person" not in {keys.domain for keys in _open(life, FAR).keys.all()}
    assert repository.keys.active().generation == 3
    daily = repository.find_snapshot(IDS["daily"])
    assert sorted(repository.tier(NEAR).log.state.tags[daily.id].tags) == ["florist", "kept"]
    for tier in repository.tiers:
        state = tier.log.state
        assert {IDS["gone"], IDS["personal"]} <= set(state.forgotten), tier.name
        assert state.destroyed_keys, tier.name
        assert state.released_holds == {"over"}, tier.name
        (found,) = look(repository, tier, is_noted=False)
        assert found.id == PIN_ID
        assert isinstance(found.pin, Pin)
        assert found.pin.snapshots == (bytes.fromhex(IDS["yearly"]),)
    locked = repository.tier(NEAR).log.state.locked_until
    assert locked[IDS["yearly"]] - locked[IDS["daily"]] > 300 * 86_400
    assert digests(life) == before


def test_it_is_pruned(life: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader is dead by now; its pin goes, and nothing else that is needed."""
    monkeypatch.setattr(pin_watch, "WATCH_SECONDS", 0.0)
    (plan,) = prune(_open(life, NEAR), PruneOptions(max_unused=1.0)).values()
    assert plan.is_complete
    assert not list((life / NEAR / "pins").iterdir())
    assert check(_open(life, NEAR), read_percent=100).damage == []
