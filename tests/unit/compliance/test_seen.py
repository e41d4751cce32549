"""What was signed last, in a file: the newest note of it stays, whoever comes to write when."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.auditlog.files import SEEN
from chassis.auditlog.note import Checkpoint, signed
from chassis.auditlog.origins import origin_of
from services.compliance.adapters.seen import SignedLast

_KEY = Ed25519PrivateKey.generate()


def _note(size: int, since: str = "") -> str:
    return signed(Checkpoint(origin_of("", since), size, bytes(32)), _KEY)


@pytest.mark.parametrize(
    ("first", "second", "stays"),
    [
        (_note(5), _note(9), _note(9)),
        (_note(10), _note(9), _note(10)),
        (_note(2, "2026-01-02"), _note(9, "2026-01-01"), _note(2, "2026-01-02")),
        (_note(9, "2026-01-01"), _note(2, "2026-01-02"), _note(2, "2026-01-02")),
    ],
    ids=["grown", "older", "older-generation", "newer-generation"],
)
async def test_older_note_does_not_take_the_place_of_a_newer_one(
    tmp_path: Path, first: str, second: str, stays: str
) -> None:
    """Of two replicas the slower one has signed less: by its note a database that was put back would pass."""
    await SignedLast(tmp_path).keep(first)
    slower = SignedLast(tmp_path)
    await slower.keep(second)
    assert (slower.trouble, (tmp_path / SEEN).read_text()) == (None, stays)
