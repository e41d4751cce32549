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
    found = _trouble_of_place(words, "tier", Path("/srv/s3"))
    assert found.grade is grade
    assert words in found.reason
    assert ("free space" in found.reason) is (grade is Grade.NEEDS_OPERATOR)
