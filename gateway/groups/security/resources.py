"""What the API tells of accesses and of the audit log."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.http.fields import Timestamp
from gateway.http.resources import Resource


class Outcome(StrEnum):
    """Whether somebody was let do what they asked for. What its owner decided about it is at its request."""

    ALLOWED = "allowed"
    DENIED = "denied"


class Access(Resource, frozen=True, kw_only=True):
    """One thing that a person asked for, or was denied.

    `index`: its place in the audit log, by which it is proven. `action`: the event that tells of it, without its owner
    and version. `about`: the id of what it is about. `code`, `route`, `method`: of a denial; `repeats`: so many of it
    are counted. `assurance`, `factors`, `roles`, `secondFactor`: as the token proved them; null and empty of what is
    counted alone. `address`, `agent`: null where they were not kept, or their key was destroyed; where it is missing,
    `unreadableFields` names them.
    """

    index: int
    event_id: str
    time: Timestamp
    actor: str
    action: str
    outcome: Outcome
    about: str | None = None
    request_id: str | None = None
    code: str | None = None
    route: str | None = None
    method: str | None = None
    repeats: int = 1
    assurance: str | None = None
    factors: list[str] = msgspec.field(default_factory=list)
    roles: list[str] = msgspec.field(default_factory=list)
    second_factor: bool | None = None
    factor_at: Timestamp | None = None
    address: str | None = None
    agent: str | None = None
    unreadable_fields: list[str] = msgspec.field(default_factory=list)


Base64 = Annotated[str, Meta(description="Base64, with padding")]


class AuditGeneration(Resource, frozen=True, kw_only=True):
    """A name under which the log goes on since its record was put back to an earlier time, or its key was begun anew.

    `since`: when. `start`: so many entries of the log as it was signed before are in it; later ones of then are not.
    `checkpoint`: the signed note of these entries under the name. `verifierKey`: of whoever signs since.
    """

    origin: str
    since: Timestamp
    start: int
    checkpoint: str
    verifier_key: str


class AuditLog(Resource, frozen=True, kw_only=True):
    """The organisation's audit log as it is now.

    `origin`: what it is called. `size`: how many entries it has. `checkpoint`: the signed note about them, null while
    there are none. `verifierKey`: the public key, as C2SP's signed notes write it; keep it somewhere else.
    `generations`: the later ones, where the record was put back once; empty of a log that only grew.
    """

    origin: str
    size: int
    root_hash: Base64
    checkpoint: str | None
    verifier_key: str | None
    generations: list[AuditGeneration] = msgspec.field(default_factory=list)


class AuditEntry(Resource, frozen=True, kw_only=True):
    """One entry: the bytes of the event as it was published."""

    index: int
    leaf: Base64


class AuditEntries(Resource, frozen=True, kw_only=True):
    """Entries in the order of the log. `next`: where the next page begins; null where the log ends.

    `checkpoint`, `verifierKey`, `generations`: as of the log. Pages one after the other, a line each, are an export.
    """

    items: list[AuditEntry]
    next: int | None
    checkpoint: str | None
    verifier_key: str | None
    generations: list[AuditGeneration] = msgspec.field(default_factory=list)


class AuditProof(Resource, frozen=True, kw_only=True):
    """That an entry is in the log: by these hashes, from its leaf upwards (RFC 6962, 2.1.1), to the checkpoint's root.

    `eventId`, `leafHash`: of the entry at `index`.
    """

    index: int
    size: int
    event_id: str
    leaf_hash: Base64
    hashes: list[Base64]
    checkpoint: str


class AuditConsistency(Resource, frozen=True, kw_only=True):
    """That nothing was changed between two sizes of the log, by these hashes (RFC 6962, 2.1.2)."""

    first: int
    second: int
    hashes: list[Base64]
    first_checkpoint: str
    second_checkpoint: str


class ProvenEntry(AuditEntry, frozen=True, kw_only=True):
    """An entry of the audit log, and that it is in it: by these hashes (RFC 6962, 2.1.1) to the checkpoint's root."""

    hashes: list[Base64]


class RecoveryReceipt(Resource, frozen=True, kw_only=True):
    """Of an execution or test of a disaster recovery plan all that is in the audit log, and that it is in it.

    `entries`: the events of the execution and of each recovery that it has asked for, none left out. `checkpoint`: the
    signed note that all of them are proven by. `verifierKey` proves nothing by itself: compare it with the one you
    were given. `docs/examples/verify_recovery_receipt.py` says whether it is a proof that all was restored.
    """

    execution_id: str
    checkpoint: str
    verifier_key: str
    entries: list[ProvenEntry]
