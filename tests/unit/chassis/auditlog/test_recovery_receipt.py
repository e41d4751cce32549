"""`docs/examples/verify_recovery_receipt.py`: a receipt verifies with the platform off, and nothing else does."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.auditlog.note import Checkpoint, public_bytes, signed, verifier_key
from chassis.auditlog.tree import Edge, TileId, inclusion, leaf_hash, roots
from contracts.dr_execution_events import DrExecutionFailed
from contracts.event import Event
from contracts.recovery_events import RecoveryFailed, TroubleCount
from contracts.sample_values import EXECUTION, OPERATION
from tests.support.recovery_receipts import (
    ACCEPTED,
    ASKED,
    ENDED,
    SCRIPT,
    STARTED,
    STORY,
    TOTALS,
    VERIFIED,
    WHOLE,
    of,
    subject_of,
    verify_receipt,
)

ORIGIN = "wedsync-backup.audit/organisation/a"
KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a key for tests").digest())
OTHER = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"another key").digest())
VERIFIER = verifier_key(ORIGIN, public_bytes(KEY.public_key()))
GENUINE, NOT_PROVEN, FORGED = 0, 2, 1

_UNOWNED = msgspec.structs.replace(TOTALS, troubles=(TroubleCount(reason="owner", entries=1),))
ELSEWHERE = b'{"of": "others"}'


def receipt(story: Sequence[Event] = STORY, key: Ed25519PrivateKey = KEY) -> dict[str, Any]:
    """A receipt of these events, from a log that has others between them."""
    counts: dict[str, int] = {}
    leaves: list[bytes] = []
    for event in story:
        owner, subject = event.NAME.partition(".")[0], str(subject_of(event))
        counts[subject] = counts.get(subject, 0) + 1
        envelope = {"source": f"/wedsync-backup/{owner}", "type": event.NAME, "subject": subject}
        data = msgspec.to_builtins(event)
        leaves += [ELSEWHERE, json.dumps(envelope | {"sequence": counts[subject], "data": data}).encode()]
    edge = Edge()
    tiles: dict[TileId, bytes] = edge.append(map(leaf_hash, leaves))
    entries = [
        {
            "index": index,
            "leaf": base64.b64encode(leaf).decode(),
            "hashes": [base64.b64encode(each).decode() for each in roots(inclusion(index, len(leaves)), tiles)],
        }
        for index, leaf in enumerate(leaves)
        if leaf != ELSEWHERE
    ]
    note = signed(Checkpoint(ORIGIN, edge.size, edge.root()), key)
    return {"executionId": EXECUTION, "checkpoint": note, "verifierKey": VERIFIER, "entries": entries}


def verify(folder: Path, given: object, key: str = VERIFIER) -> tuple[int, str]:
    """Exit code and all that was said."""
    return verify_receipt(folder, given, key)


def test_script_is_read_in_one_sitting() -> None:
    """Less than 150 lines, and nothing of ours."""
    text = SCRIPT.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert not any(name in text for name in ("chassis", "contracts", "gateway.", "services"))


def test_receipt_tells_point_snapshot_times_and_places(tmp_path: Path) -> None:
    """All of it is said by somebody who has the receipt and the key alone."""
    code, said = verify(tmp_path, receipt())
    assert code == GENUINE, said
    for wanted in ("point point, snapshot 1234", "12 files, 4096 bytes read back in 2.5 s", "[1, 3, 5, 7, 9, 11]"):
        assert wanted in said


def _less(**fields: Any) -> Event:
    return msgspec.structs.replace(WHOLE, **fields)


@pytest.mark.parametrize(
    "story",
    [
        (STARTED, ASKED, ACCEPTED, VERIFIED, _less(degraded=True, code="recovery-incomplete"), ENDED),
        (STARTED, ASKED, ACCEPTED, VERIFIED, _less(missing_in_point=1), ENDED),
        (STARTED, ASKED, ACCEPTED, VERIFIED, _less(totals=_UNOWNED), ENDED),
        (STARTED, ASKED, ACCEPTED, VERIFIED, _less(totals=msgspec.structs.replace(TOTALS, files=11)), ENDED),
        (STARTED, ASKED, ACCEPTED, WHOLE, ENDED),
        (STARTED, ASKED, ACCEPTED, of(RecoveryFailed, operation_id=OPERATION), ENDED),
        (STARTED, ASKED, ACCEPTED, msgspec.structs.replace(VERIFIED, recovery_point_id="other"), WHOLE, ENDED),
        (STARTED, ASKED, ACCEPTED, VERIFIED, WHOLE, of(DrExecutionFailed, execution_id=EXECUTION)),
        (STARTED, ENDED),
    ],
)
def test_what_was_not_restored_whole_is_not_proven(story: Sequence[Event], tmp_path: Path) -> None:
    """A receipt of a restore that lacked a file, an attribute or its end is genuine, and no proof."""
    assert verify(tmp_path, receipt(story))[0] == NOT_PROVEN


def _changed(leaf: str) -> str:
    body = base64.b64decode(leaf)
    assert b'"bytes": 4096' in body
    return base64.b64encode(body.replace(b'"bytes": 4096', b'"bytes": 8192')).decode()


def _tell_more(given: dict[str, Any]) -> None:
    given["entries"][3]["leaf"] = _changed(given["entries"][3]["leaf"])


def _leave_out(given: dict[str, Any]) -> None:
    del given["entries"][2]


def _tell_twice(given: dict[str, Any]) -> None:
    given["entries"].insert(1, given["entries"][0])


def _lose_a_hash(given: dict[str, Any]) -> None:
    given["entries"][0]["hashes"].pop()


def _move(given: dict[str, Any]) -> None:
    given["entries"][0]["index"] += 1


def _lose_the_signature(given: dict[str, Any]) -> None:
    given["checkpoint"] = given["checkpoint"].partition("\n\n")[0] + "\n\n"


@pytest.mark.parametrize("forge", [_tell_more, _leave_out, _tell_twice, _lose_a_hash, _move, _lose_the_signature])
def test_forged_receipt_does_not_verify(forge: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    """Another byte, an event that is left out or told twice, another place, no signature."""
    given = receipt()
    forge(given)
    assert verify(tmp_path, given)[0] == FORGED


def test_receipt_of_another_key_does_not_verify(tmp_path: Path) -> None:
    """Neither one that somebody else has signed, nor one that brings its own key."""
    theirs = verifier_key(ORIGIN, public_bytes(OTHER.public_key()))
    assert verify(tmp_path, receipt(key=OTHER))[0] == FORGED
    assert verify(tmp_path, receipt(key=OTHER) | {"verifierKey": theirs})[0] == FORGED
    assert verify(tmp_path, receipt(), key="nonsense")[0] == FORGED
