"""Repositories that earlier versions wrote are read, checked, restored, repaired and written on by this one."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.errors import WrongKey
from repository.keys.key_file import KeyFile
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.opened.seen import SeenTier
from repository.restore.options import Trouble
from repository.restore.restore import RestoreOptions, restore
from repository.stored.log_entry import entry_object_key
from repository.streams.reading import read_stream
from repository.streams.stream import open_stream
from repository.upkeep.catch_up import catch_up, lag
from repository.upkeep.check import check
from repository.upkeep.repair import repair
from sources.directory import DirectorySource
from tests.compat.make_golden import FAR, GOLDEN, NEAR, STREAM, STREAM_BEGINS, appended, described, digests, stores
from tests.support.file_trees import seen

EXPECTED: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text())
CASES: list[dict[str, Any]] = EXPECTED["broken"]
MISSED_KEYS = sorted(
    [FAR, "key", f"keys/{path.name}"]
    for path in (GOLDEN / NEAR / "keys").iterdir()
    if not (GOLDEN / FAR / "keys" / path.name).exists()
)
"""What the second tier, which was away when they were made, gets with its next catch-up."""


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy of the golden repository to work on, its keys as an owner keeps them."""
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN, folder)
    for key in ("key", "new-key"):
        (folder / key).chmod(0o600)
    return folder


def _open(golden: Path, *names: str, key: str = "new-key") -> Repository:
    chosen = [store for store in stores(golden) if not names or store.name in names]
    return Repository.open(chosen, KeyFile.load(golden / key))


def _restored(repository: Repository, token: str, target: Path, tier: str) -> dict[str, dict[str, object]]:
    """The tree of a snapshot as one tier alone gives it back."""
    snapshot = next(each for each in repository.snapshots() if each.manifest.run_token == token)
    result = restore(repository, snapshot, str(target), options=RestoreOptions(tiers=(tier,), workers=1))
    # Who is not root cannot give files away, and not every file system takes extended attributes.
    assert set(result.trouble_counts) <= {Trouble.OWNER, Trouble.XATTR}
    return described(seen(target))


def test_golden_repository_is_the_one_that_was_committed() -> None:
    """Nobody has touched a byte since: a golden file changes through `make golden` alone."""
    found = digests(GOLDEN)
    del found["expected.json"]
    assert found == EXPECTED["digests"]
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 300_000


def test_golden_repository_opens_with_each_of_its_keys(golden: Path) -> None:
    """The old wrapping still opens what it wrapped; a foreign key opens nothing."""
    for key in ("key", "new-key"):
        repository = _open(golden, key=key)
        assert {tier.name: tier.state for tier in repository.tiers} == {NEAR: TierState.READY, FAR: TierState.READY}
    domains = [(keys.domain, keys.generation) for keys in repository.keys.all()]
    assert domains == [("default", 1), ("default", 2), ("tenant", 1)]
    KeyFile.create(golden / "foreign")
    with pytest.raises(WrongKey):
        _open(golden, key="foreign")


@pytest.mark.parametrize("number", range(3))
def test_golden_snapshot_is_restored_as_it_was(golden: Path, tmp_path: Path, number: int) -> None:
    """Every name, byte, mode, time and link of each snapshot."""
    expected = EXPECTED["snapshots"][number]
    repository = _open(golden, NEAR)
    assert [snapshot.id for snapshot in repository.snapshots()] == [each["id"] for each in EXPECTED["snapshots"]]
    assert _restored(repository, expected["run_token"], tmp_path / "target", NEAR) == expected["tree"]


def test_golden_repository_is_whole(golden: Path) -> None:
    """A check of everything finds no damage, and the orphans of a dead writer; one tier is behind by keys."""
    before = digests(golden)
    repository = _open(golden)
    report = check(repository, read_percent=100)
    assert report.damage == []
    assert sorted(lag(repository, repository.tier(FAR)).keys) == [key for _, _, key in MISSED_KEYS]
    assert [each.problem.value for each in report.findings if not each.is_damage] == ["orphan", "orphan"]
    assert digests(golden) == before


def test_golden_repository_is_written_on(golden: Path, tmp_path: Path) -> None:
    """Orphans are adopted, the tier that was away is caught up, a new backup is deduplicated against the old ones."""
    source = tmp_path / "source"
    repository = _open(golden)
    assert catch_up(repository, repository.tier(FAR)).is_complete
    expected = EXPECTED["snapshots"][2]
    assert _restored(repository, "third", source, FAR) == expected["tree"]
    options = BackupOptions(run_token="fourth", label="golden", workers=1)
    result = backup(repository, DirectorySource(os.fsencode(source)), options=options)
    # The third was written under the second key; a new backup under it knows its chunks again.
    assert result.totals.new_bytes < 10_000
    repository = _open(golden)
    report = check(repository, read_percent=100)
    assert report.findings == []
    assert [len(tier.snapshots()) for tier in repository.tiers] == [4, 4]


def _apply(golden: Path, change: dict[str, Any]) -> None:
    path = golden / change["tier"] / change["object"]
    match change["do"]:
        case "delete":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[: change["length"]])
        case "copy":
            tier, key = change["from"]
            path.write_bytes((golden / tier / key).read_bytes())
        case "flip":
            body = bytearray(path.read_bytes())
            body[change["place"]] ^= 0x04
            path.write_bytes(body)
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_broken_golden_repository_is_named_and_repaired(golden: Path, tmp_path: Path, case: dict[str, Any]) -> None:
    """What is broken is named, exactly; what the other tier has whole is made whole again."""
    for change in case["changes"]:
        _apply(golden, change)
    repository = _open(golden)
    report = check(repository, read_percent=100)
    damage = [[finding.tier, finding.problem.value, finding.object_key] for finding in report.damage]
    found = [each for each in damage if each not in MISSED_KEYS]
    # What follows from the damage (a tree whose index is lost) may be told too, after what caused it.
    assert [each for each in case["finds"] if each not in found] == []
    assert {finding[0] for finding in found} == {finding[0] for finding in case["finds"]}
    result = repair(repository, repository.tier(NEAR), report)
    if result.unrepaired and any(problem == "log-entry" for _, problem, _ in case["finds"]):
        # A snapshot may be in it: it is given up by whoever says so, and nobody else.
        result = repair(repository, repository.tier(NEAR), report, bridge=True)
    assert result.is_complete == case["is_repaired"]
    if case["is_repaired"]:
        alone = _open(golden, NEAR)
        assert check(alone, read_percent=100).damage == []
        first = EXPECTED["snapshots"][0]
        assert _restored(alone, "first", tmp_path / "target", NEAR) == first["tree"]


@pytest.mark.parametrize(("tier", "count"), [(NEAR, 5), (FAR, 3)])
def test_golden_stream_is_read_and_gone_on_with(golden: Path, tier: str, count: int) -> None:
    """From each tier alone; what was appended is found again, byte for byte, and the next piece continues it."""
    repository = _open(golden, tier)
    pieces = list(read_stream(repository, STREAM))
    assert [piece.data for piece in pieces] == [appended(number) for number in range(count)]
    assert pieces[0].position == STREAM_BEGINS
    before = digests(golden)
    stream = open_stream(repository, STREAM)
    assert stream.append(pieces[-1].data, position=pieces[-1].position).number == count
    assert digests(golden) == before
    stream.append(appended(count))
    assert [piece.number for piece in read_stream(_open(golden, tier), STREAM)] == list(range(1, count + 2))


def test_golden_tier_that_was_rolled_back_shows(golden: Path) -> None:
    """The log's end is cut off: another head was seen before."""
    head = _open(golden, NEAR).tier(NEAR).log.state.head
    (golden / NEAR / entry_object_key(head.number)).unlink()
    replayed = Repository.open(
        stores(golden), KeyFile.load(golden / "new-key"), known=lambda _: {NEAR: [SeenTier(None, head)]}
    )
    assert replayed.tier(NEAR).state is TierState.REPLAYED
