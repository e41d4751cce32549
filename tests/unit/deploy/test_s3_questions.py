"""What the answers of an S3 server's master mean."""

from pathlib import Path

import pytest

from deploy.stack.probes import Grade
from deploy.stack.s3_questions import _trouble_of_place


@pytest.mark.parametrize(
    ("words", "grade"),
    [
        ("master is warming up, topology is still loading", Grade.NOT_READY),
        ("raft.Server: Not current leader", Grade.NOT_READY),
        ("no free volumes left for {}", Grade.NEEDS_OPERATOR),
        ("failed to find writable volumes for collection:tier", Grade.NEEDS_OPERATOR),
    ],
)
def test_server_that_starts_is_not_taken_for_a_full_disk(words: str, grade: Grade) -> None:
    """Whoever is told to free space looks at a disk that has enough of it; waiting is all that is needed."""
    found = _trouble_of_place(words, "tier", Path("/srv/s3"), 10 << 20)
    assert found.grade is grade
    assert words in found.reason
    assert ("free space" in found.reason) is (grade is Grade.NEEDS_OPERATOR)


@pytest.mark.parametrize(("free", "is_told"), [(None, True), (10 << 20, True), (61 << 30, False)])
def test_disk_is_told_as_full_only_where_it_is(free: int | None, is_told: bool) -> None:
    """A server that has not counted its volumes yet says the same as one that has no room for any."""
    words = "failed to find writable volumes for collection:tier: No writable volumes and no free volumes left"
    found = _trouble_of_place(words, "tier", Path("/srv/s3"), free)
    assert ("has no room" in found.reason) is is_told
    assert (found.grade is Grade.NEEDS_OPERATOR) is is_told
