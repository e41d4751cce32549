"""What writers of one snapshot in parts leave for each other: the plan, and what each part came to.

Promise: both are sealed under the root and bound to their run and place; nobody who has not the root reads names or
makes one. They lie under `pending/<run id>/` until the snapshot is committed, and no snapshot depends on them.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from repository.errors import Damaged, UnsupportedFormat
from repository.format import FORMAT_VERSION, ID_LENGTH
from repository.keys.key_ring import DomainKeys, KeyRing
from repository.ports import Randomness
from repository.stored.object_reading import check_length_of
from repository.stored.sealed_object import ObjectKind, key_id_in, seal_object, unseal_object

PENDING_PREFIX: Final = "pending/"
PLAN: Final = "plan"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot that several make. `parts`: the names of what is below its root, each made by one of them.

    `parent`: id (hex) of the snapshot that unchanged files are recognised against. `lock_days`: by tier. Else as in the
    manifest.
    """

    format: int = FORMAT_VERSION
    time_ns: int
    run_token: str
    label: str
    parts: tuple[bytes, ...]
    domain: str
    tags: tuple[str, ...] = ()
    lock_days: dict[str, int] = {}
    parent: str | None = None


class PartMade(msgspec.Struct, frozen=True, kw_only=True):
    """One part is on this tier, and all that it references. `manifest`: its own, as if it were a snapshot.

    `packs`: all that it references, 32 bytes each.
    """

    format: int = FORMAT_VERSION
    name: bytes
    manifest: bytes
    packs: bytes

    def pack_ids(self) -> list[bytes]:
        """The packs, one by one."""
        return [self.packs[start : start + ID_LENGTH] for start in range(0, len(self.packs), ID_LENGTH)]


Left = TypeVar("Left", Plan, PartMade)
_DECODERS: Final[dict[type, msgspec.msgpack.Decoder[Any]]] = {
    kind: msgspec.msgpack.Decoder(kind) for kind in (Plan, PartMade)
}


def pending_object_key(run_id: bytes, place: str) -> str:
    """Where a plan (`plan`) or a part (its number, four digits) lies below a tier's prefix."""
    return f"{PENDING_PREFIX}{run_id.hex()}/{place}"


def part_place(number: int) -> str:
    """The place of the part with this number, from 0 on."""
    return f"{number:04d}"


def encode_left(left: Plan | PartMade, run_id: bytes, place: str, root: DomainKeys, randomness: Randomness) -> bytes:
    """The object's bytes. Raises `LimitExceeded`."""
    body = msgspec.msgpack.encode(left)
    sealed = seal_object(body, root, ObjectKind.PART, randomness, context=run_id + place.encode())
    check_length_of(PENDING_PREFIX, len(sealed))
    return sealed


def decode_left(
    buffer: bytes, kind: type[Left], run_id: bytes, place: str, ring: KeyRing, *, by_any_root: bool = False
) -> Left:
    """Authenticate and read. Raises `Damaged`, `UnsupportedFormat`, `UnknownKey`.

    `by_any_root`: also what was left under a root that was replaced since, by which anybody may have made it who has
    that one.
    """
    root = ring.signing(key_id_in(buffer))
    if not by_any_root and root is not None and root.rank < ring.root.rank:
        hint = "The repository's root was changed since: begin the snapshot in parts anew."
        raise Damaged("what a writer of a part left is sealed under a root that was replaced", hint=hint)
    plain = unseal_object(buffer, ring, ObjectKind.PART, context=run_id + place.encode())
    try:
        left: Left = _DECODERS[kind].decode(plain)
    except msgspec.DecodeError as error:
        raise Damaged("what a writer of a part left cannot be read", reason=str(error)) from None
    if left.format != FORMAT_VERSION:
        raise UnsupportedFormat("what a writer of a part left has an unknown format", version=left.format)
    return left
