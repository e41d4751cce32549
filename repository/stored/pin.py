"""A pin: what somebody reads is kept as long as he renews it; and the note of when somebody looked at one.

Promise: both are sealed under the root and bound to their pin: nobody who has not the root makes one, or moves one.
What a reader does not wholly understand raises, so that it is never taken for less than it keeps.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec

from repository.errors import Damaged, UnsupportedFormat
from repository.format import FORMAT_VERSION
from repository.keys.key_ring import DomainKeys, KeyRing
from repository.ports import Randomness
from repository.stored.object_reading import check_length_of
from repository.stored.sealed_object import ObjectKind, seal_object, unseal_object

PIN_PREFIX: Final = "pins/"
PIN_ID_LENGTH: Final = 16
_KEY: Final = re.compile(f"{PIN_PREFIX}([0-9a-f]{{32}})(\\.seen)?")


class Pin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is held. `beat`: one more with each renewal. `time_ns`: when it was taken, by the holder's clock, and
    `holder`: who that is, in words; both are for people.

    `snapshots`: ids, 16 bytes each, all of whose packs are kept. `everything`: whatever lies on the tier is.
    `is_over`: it keeps nothing any more; it could not be deleted.
    """

    format: int = FORMAT_VERSION
    beat: int
    time_ns: int
    holder: str
    snapshots: tuple[bytes, ...] = ()
    everything: bool = False
    is_over: bool = False


class PinSeen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Since when, by the tier's own time (`at_ns`), a pin was seen with this beat."""

    format: int = FORMAT_VERSION
    beat: int
    at_ns: int


Note = TypeVar("Note", Pin, PinSeen)
_DECODERS: Final[dict[type, msgspec.msgpack.Decoder[Any]]] = {
    kind: msgspec.msgpack.Decoder(kind) for kind in (Pin, PinSeen)
}


def pin_object_key(pin_id: bytes) -> str:
    """Where a pin lies below a tier's prefix."""
    return PIN_PREFIX + pin_id.hex()


def seen_object_key(pin_id: bytes) -> str:
    """Where the note of a look at it lies."""
    return f"{PIN_PREFIX}{pin_id.hex()}.seen"


def pin_of(object_key: str) -> tuple[bytes, bool] | None:
    """The pin's id in an object key, and whether it is the note of a look; None where it is neither's."""
    found = _KEY.fullmatch(object_key)
    return (bytes.fromhex(found[1]), found[2] is not None) if found else None


def encode_pin(note: Pin | PinSeen, pin_id: bytes, root: DomainKeys, randomness: Randomness) -> bytes:
    """The object's bytes. Raises `LimitExceeded`."""
    body = msgspec.msgpack.encode(note)
    sealed = seal_object(body, root, ObjectKind.PIN, randomness, context=_context(pin_id, type(note)))
    check_length_of(PIN_PREFIX, len(sealed))
    return sealed


def decode_pin(buffer: bytes, kind: type[Note], pin_id: bytes, ring: KeyRing) -> Note:
    """Authenticate and read. Raises `Damaged`, `UnsupportedFormat`, `UnknownKey`."""
    plain = unseal_object(buffer, ring, ObjectKind.PIN, context=_context(pin_id, kind))
    try:
        note: Note = _DECODERS[kind].decode(plain)
    except msgspec.DecodeError as error:
        raise UnsupportedFormat("a pin says something that this version does not know", reason=str(error)) from None
    if note.format != FORMAT_VERSION:
        raise UnsupportedFormat("a pin has an unknown format", version=note.format)
    if isinstance(note, Pin) and any(len(each) != PIN_ID_LENGTH for each in note.snapshots):
        raise Damaged("a pin names what is no snapshot's id")
    return note


def _context(pin_id: bytes, kind: type) -> bytes:
    return pin_id + (b"pin" if kind is Pin else b"seen")
