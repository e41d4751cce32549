"""A removed key on a real S3 bucket that locks: what is left is told with its date, and no run makes that later."""

from repository.backup.backup import BackupOptions, backup
from repository.opened.key_change import rewrap
from repository.opened.repository import Repository
from repository.opened.wrappings import left_of_removed, remove_wrappings
from repository.tiers.memory import MemoryObjectStore
from tests.faults.repository.conftest import Tiers
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import key_file

OLD, NEW = key_file(), key_file(1)
KEK = OLD.kek_id().hex()


def _run(repository: Repository, token: str, locking: str) -> None:
    tree = MemoryFolder({b"photo": MemoryFile(token.encode() * 100, inode=7)})
    options = BackupOptions(run_token=token, label="photos", lock_days={locking: 1})
    assert backup(repository, MemorySource(tree), options=options).snapshot_id


def test_what_a_bucket_keeps_is_left_with_its_date_which_no_run_moves(tiers: Tiers) -> None:
    bucket, near = tiers.open("removed-key", locks=True), MemoryObjectStore("near")
    stores = [bucket, near]
    with Repository.init(stores, OLD) as repository:
        rewrap(repository, NEW)
        _run(repository, "before", bucket.name)
    seen = set()
    for token in ("first", "second"):
        with Repository.open(stores, NEW) as repository:
            done = remove_wrappings(repository, KEK, NEW)
            (left,) = done[bucket.name].left.items()
            seen.add(left)
            assert "locked until 20" in left[1]
            assert done["near"].is_complete
            assert [each.object_key for each in left_of_removed(repository)[KEK][bucket.name]] == [left[0]]
            _run(repository, token, bucket.name)
        assert not any(KEK in key for key in near.contents())
    assert len(seen) == 1
