"""Keys that come and go under the program's hands: what is gone is missed, what is not ours is not signed for."""

import pytest

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.errors import UnknownKey
from repository.opened import key_change
from repository.opened.repository import Repository
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import key_file

STRANGE = f"keys/{'ab' * 16}.{'cd' * 16}"


def _run(repository: Repository, token: str) -> BackupResult:
    tree = MemoryFolder({b"photo": MemoryFile(token.encode() * 100, inode=7)})
    return backup(repository, MemorySource(tree), options=BackupOptions(run_token=token, label="photos"))


def _with_two_generations(*stores: MemoryObjectStore) -> list[str]:
    """Begun, with a second generation under which there is a snapshot; the key objects of that generation."""
    with Repository.init(list(stores), key_file()) as repository:
        key_change.add_generation(repository, key_file())
        newest = repository.keys.active().key_id.hex()
        _run(repository, "1")
    return [key for key in stores[0].contents() if key.startswith(f"keys/{newest}")]


def test_nothing_is_written_under_an_older_key_than_the_log_names() -> None:
    """The key of the second generation is deleted: backups are refused, and so is making a second one again."""
    store = MemoryObjectStore("a")
    (gone,) = _with_two_generations(store)
    body = store.get(gone)
    store.delete(gone)
    before = store.contents()
    repository = Repository.open([store], key_file())
    with pytest.raises(UnknownKey) as caught:
        _run(repository, "2")
    assert caught.value.context["object_key"] == gone
    with pytest.raises(UnknownKey):
        key_change.add_generation(repository, key_file())
    assert store.contents() == before
    store.put(gone, body)
    assert _run(Repository.open([store], key_file()), "2").snapshot_id


def test_key_that_another_tier_holds_is_not_lost() -> None:
    """The tiers together have it: writing goes on under it, and repair brings it back to the tier without."""
    stores = [MemoryObjectStore("a"), MemoryObjectStore("b")]
    (gone,) = _with_two_generations(*stores)
    stores[0].delete(gone)
    repository = Repository.open(stores, key_file())
    assert repository.keys.active().generation == 2
    _run(repository, "2")
    assert repair(repository, repository.tier("a")).is_complete
    assert stores[0].get(gone) == stores[1].get(gone)


def test_repair_does_not_forget_a_lost_key() -> None:
    """What no tier has any more stays named by the log, and each check after the repair says that it is gone."""
    store = MemoryObjectStore("a")
    (gone,) = _with_two_generations(store)
    store.delete(gone)
    for _ in range(2):
        repository = Repository.open([store], key_file())
        result = repair(repository, repository.tier("a"))
        assert gone in {finding.object_key for finding in result.unrepaired}
    findings = check(Repository.open([store], key_file())).findings
    assert (Problem.KEY, gone) in {(finding.problem, finding.object_key) for finding in findings}


def test_strange_key_object_is_neither_signed_for_nor_copied() -> None:
    """Anybody may put an object below `keys/`: no log names it, and a new tier does not get it."""
    stores = [MemoryObjectStore("a"), MemoryObjectStore("b")]
    Repository.init(stores[:1], key_file()).close()
    stores[0].put(STRANGE, b"anything")
    repository = Repository.open(stores, key_file())
    key_change.add_generation(repository, key_file())
    catch_up(repository, repository.tier("b"))
    for name in "ab":
        assert STRANGE not in repository.tier(name).log.state.key_objects
        assert len(repository.tier(name).log.state.key_objects) == 2
    assert STRANGE not in stores[1].contents()


def test_old_wrapping_may_go_when_the_key_has_another() -> None:
    """After a change of the KEK the old key object is deleted: nothing is lost, and the log names the new one alone."""
    store = MemoryObjectStore("a")
    Repository.init([store], key_file()).close()
    (old,) = [key for key in store.contents() if key.startswith("keys/")]
    key_change.rewrap(Repository.open([store], key_file()), key_file(1))
    store.delete(old)
    repository = Repository.open([store], key_file(1))
    assert _run(repository, "1").snapshot_id
    key_change.rewrap(repository, key_file(1))
    assert list(repository.tier("a").log.state.key_objects) == [
        key for key in store.contents() if key.startswith("keys/")
    ]
