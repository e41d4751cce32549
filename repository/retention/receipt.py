"""The receipt of an erasure: what was destroyed where, what is left, and what nobody can promise; signed.

Promise: whoever has the repository's public key proves the receipt offline, with nothing running. The document is one
JSON object, `{"receipt": R, "signature": "<128 hex>"}`: Ed25519 by the repository's signing key of
`wedsync-backup/v1/erasure-receipt` ‖ 0 ‖ the very bytes of R as they stand in the document.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import msgspec

from repository.errors import Damaged
from repository.keys import crypto
from repository.opened.repository import Repository
from repository.retention.erasure import Erasure

NOT_PROMISED: Final = (
    "A wrapped key that an object lock keeps, listed as left, opens with its key-encryption key until the lock ends "
    "and the erasure is run again; until then the data is unreadable only for those who have none of the key files.",
    "A tier that is listed as away, or was not given, has its wrapped keys still, until it is caught up.",
    "Copies of the tiers that somebody else made (snapshots of a disk, replicas of a bucket, older versions that "
    "these credentials must not see) are not known here; whoever has a key file opens "
    "what wrapped keys they have.",
    "Copies of key files and recovery kits are not ended by this: they open whatever wrapped key is left.",
    "What was restored or dumped before, and database dumps and write-ahead logs of other key domains in which the "
    "same person occurs, are not erased by this.",
    "The log keeps the snapshots' manifests: labels, times, counts and sizes; no names and no contents of files.",
    "A process that had the repository open may have the key in its memory until it ends.",
)
OTHER_KEY_HINT: Final = (
    "It is not genuine, or the repository's root was changed (`repo key rotate --root`) between the receipt and the "
    "key that was given: a receipt is signed by the root in force, whose key `repo key list` shows."
)
_LABEL: Final = crypto.LABEL + b"erasure-receipt\0"
LENGTH_MAX: Final = 16 << 20


class TierReceipt(msgspec.Struct, frozen=True, rename="camel"):
    """One tier. `log_number` and `log_digest`: its log's head behind the order; `left`: object key → why."""

    name: str
    state: str
    tier_id: str = ""
    log_number: int = 0
    log_digest: str = ""
    removed: tuple[str, ...] = ()
    left: dict[str, str] = {}
    why: str = ""


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    """What is signed. `snapshots`: ids of those of the domain that were there; times are UTC. `is_complete`: of the
    tiers that were given, and none is known that was not.
    """

    format: int
    repository_id: str
    domain: str
    key_ids: tuple[str, ...]
    snapshots: tuple[str, ...]
    time: str
    is_complete: bool
    tiers: tuple[TierReceipt, ...]
    not_promised: tuple[str, ...]


class _Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    receipt: msgspec.Raw
    signature: str


_SIGNED: Final = msgspec.json.Decoder(_Signed)
_RECEIPT: Final = msgspec.json.Decoder(Receipt)


def receipt_of(repository: Repository, erased: Erasure, not_given: Collection[str] = ()) -> bytes:
    """The document of what was done just now. `not_given`: where other tiers of the repository were seen."""
    tiers: list[TierReceipt] = []
    for name, each in erased.tiers.items():
        state = repository.tier(name).log.state
        word = "failed" if each.failed else "erased" if each.is_complete else "partly"
        tiers.append(
            TierReceipt(
                name,
                word,
                (state.tier_id or b"").hex(),
                state.head.number,
                state.head.digest.hex(),
                tuple(each.removed),
                each.left,
                f"{each.failed.message} [{each.failed.code}]" if each.failed else "",
            )
        )
    tiers += [
        TierReceipt(name, "away", why=f"{error.message} [{error.code}]" if error else "")
        for name, error in erased.away.items()
    ]
    tiers += [TierReceipt(place, "not-given", why="it was seen before, and keeps what it has") for place in not_given]
    plan = erased.plan
    moment = datetime.fromtimestamp(repository.clock.now_ns() // 10**9, UTC).isoformat()
    body = msgspec.json.encode(
        Receipt(
            1,
            repository.id.hex(),
            plan.domain,
            plan.key_ids,
            plan.snapshots,
            moment,
            erased.is_complete and not not_given,
            tuple(tiers),
            NOT_PROMISED,
        )
    )
    signature = repository.keys.root.signer().sign(_LABEL + body).hex()
    return msgspec.json.encode(_Signed(msgspec.Raw(body), signature))


def verified(document: bytes, public_key: bytes) -> Receipt:
    """What the document says, if the repository's key signed it. Raises `Damaged`."""
    try:
        signed = _SIGNED.decode(document)
        signature = bytes.fromhex(signed.signature)
        if not crypto.Verifier(public_key).verifies(signature, _LABEL + bytes(signed.receipt)):
            raise Damaged("the receipt is not signed by the key that was given", hint=OTHER_KEY_HINT)
        return _RECEIPT.decode(signed.receipt)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Damaged("the document is no receipt of an erasure") from None
