"""What restores to buckets and databases have in common."""

import pytest

from repository.errors import SnapshotNotFound
from repository.restore.options import RestoreOptions
from sources.restoring import Restoring
from tests.support.repositories import Scene, photos


def test_tier_that_was_named_and_has_not_the_snapshot_is_told_as_by_a_restore_to_a_folder() -> None:
    """It was read from nothing at all, and all of it was called damaged."""
    scene = Scene(("a", "b"))
    snapshot = scene.backup(photos(1), "on a alone", only=["a"])
    assert snapshot is not None
    with pytest.raises(SnapshotNotFound, match="does not have the snapshot"):
        Restoring(scene.reopen(), snapshot, RestoreOptions(tiers=("b",)))
    Restoring(scene.repository, snapshot, RestoreOptions(tiers=("a", "b")))
