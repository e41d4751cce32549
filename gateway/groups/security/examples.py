"""Examples of the group's answers: typed, so that they cannot drift from what the API gives."""

import base64
import hashlib

from chassis.auditlog.note import Checkpoint, verifier_key
from chassis.auditlog.origins import origin_of
from chassis.auditlog.tree import Edge, leaf_hash, node_hash
from contracts import errors
from gateway.groups.security.resources import (
    Access,
    AuditConsistency,
    AuditEntries,
    AuditEntry,
    AuditLog,
    AuditProof,
    Outcome,
    ProvenEntry,
    RecoveryReceipt,
)
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, EXECUTION_ID, OPERATION_ID, REQUEST_ID, at

_ORIGIN = origin_of("acme-weddings")
_LEAVES = [b'{"type":"gateway.recovery-requested.v1"}', b'{"type":"recovery.recovery-accepted.v1"}']
_HASHES = [leaf_hash(leaf) for leaf in _LEAVES]
_EVENT_ID = "019ab4d6-5e9f-7a88-8c41-8f9a0b1c2d3e"
_PUBLIC = hashlib.sha256(b"an example").digest()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _note(size: int) -> str:
    """A checkpoint, with a signature that nobody has made."""
    edge = Edge()
    edge.append(_HASHES[:size])
    signature = _text(hashlib.sha512(b"an example").digest() + bytes(4))
    return f"{Checkpoint(_ORIGIN, size, edge.root()).text()}\n\N{EM DASH} {_ORIGIN} {signature}\n"


_KEY = verifier_key(_ORIGIN, _PUBLIC)

ASKED = Access(
    index=4711,
    event_id=_EVENT_ID,
    time=at(3600),
    actor=ACTOR,
    action="recovery-requested",
    outcome=Outcome.ALLOWED,
    about=OPERATION_ID,
    request_id=REQUEST_ID,
    assurance="aal2",
    factors=["password", "totp"],
    roles=["owner"],
    second_factor=True,
    factor_at=at(3500),
    address="203.0.113.7",
    agent="Mozilla/5.0",
)

DENIED = Access(
    index=4702,
    event_id=EXECUTION_ID,
    time=at(60),
    actor=ACTOR,
    action="access-denied",
    outcome=Outcome.DENIED,
    code=errors.FORBIDDEN.code,
    route="/api/backup/recovery/initiate",
    method="POST",
    assurance="aal1",
    factors=["password"],
    roles=["viewer"],
    second_factor=False,
    factor_at=at(0),
    address="203.0.113.9",
)

ACCESSES = ListPage[Access](items=[ASKED, DENIED])

LOG = AuditLog(
    origin=_ORIGIN,
    size=2,
    root_hash=_text(node_hash(*_HASHES)),
    checkpoint=_note(2),
    verifier_key=_KEY,
)

ENTRIES = AuditEntries(
    items=[AuditEntry(index=index, leaf=_text(leaf)) for index, leaf in enumerate(_LEAVES)],
    next=None,
    checkpoint=_note(2),
    verifier_key=_KEY,
)

PROOF = AuditProof(
    index=1,
    size=2,
    event_id=_EVENT_ID,
    leaf_hash=_text(_HASHES[1]),
    hashes=[_text(_HASHES[0])],
    checkpoint=_note(2),
)

CONSISTENCY = AuditConsistency(
    first=1, second=2, hashes=[_text(_HASHES[1])], first_checkpoint=_note(1), second_checkpoint=_note(2)
)

RECEIPT = RecoveryReceipt(
    execution_id=EXECUTION_ID,
    checkpoint=_note(2),
    verifier_key=_KEY,
    entries=[
        ProvenEntry(index=index, leaf=_text(leaf), hashes=[_text(_HASHES[1 - index])])
        for index, leaf in enumerate(_LEAVES)
    ],
)
