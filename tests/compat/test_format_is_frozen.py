"""Format 1 is frozen (ADR 0080): what changes any byte of it fails here, and what may be added is read as promised."""

import json
import struct
from typing import get_args

import msgspec
import pytest

from repository.errors import Damaged, UnsupportedFormat
from repository.keys import crypto
from repository.keys.key_ring import KeyRing
from repository.stored import log_entry
from repository.stored.log_entry import ENTRY_HEADER_LENGTH, MAY_BE_SKIPPED, Place, Skipped, decode_entry
from repository.stored.pin import Pin, decode_pin
from repository.stored.sealed_object import ObjectKind, decode_sealed_header, seal_object
from repository.stored.snapshot import SnapshotManifest, decode_manifest
from tests.compat.format_1 import FROZEN, REPOSITORY, ROOT, RUN, TIER, all_of_it
from tests.support.repositories import SeededRandomness

RING = KeyRing([ROOT])


def test_no_byte_of_the_format_has_changed() -> None:
    """A change here is another format: see docs/repository-format.md, section 13, for what may be added, and how."""
    frozen, found = json.loads(FROZEN.read_text()), json.loads(json.dumps(all_of_it()))
    changed = {name: (was, found.get(name)) for name, was in frozen.items() if found.get(name) != was}
    assert changed == {}
    assert found.keys() - frozen.keys() == set(), "write down what is new: python -m tests.compat.format_1"


def test_each_kind_is_frozen() -> None:
    """None was left out."""
    frozen = json.loads(FROZEN.read_text())
    for body in get_args(log_entry.Body):
        assert {f"body {body.__name__}", f"entry {body.__name__}", f"fields {body.__name__}"} <= frozen.keys()
    assert {f"sealed {kind.name}" for kind in ObjectKind} <= frozen.keys()


def _entry_to_come(flags: int) -> bytes:
    """An entry, signed as it should be, of a kind that nobody knows today."""
    header = struct.Struct("<8sHHIQ16s16sQ32s")
    place = (7, REPOSITORY, TIER, 4, b"p" * 32)
    bound = header.pack(log_entry.LOG_MAGIC, 1, flags, 0, *place)[16:]
    body = seal_object(b'{"kind":"to-come","time_ns":1}', ROOT, ObjectKind.LOG_BODY, SeededRandomness(), context=bound)
    entry = header.pack(log_entry.LOG_MAGIC, 1, flags, len(body), *place) + body
    return entry + ROOT.signer().sign(crypto.LABEL + b"log-entry\0" + entry)


def test_a_kind_of_entry_to_come_is_skipped_only_where_its_writer_says_so() -> None:
    skipped = decode_entry(_entry_to_come(MAY_BE_SKIPPED), 7, RING)
    assert skipped.body == Skipped()
    assert skipped.place == Place(7, b"p" * 32, TIER, 4)
    with pytest.raises(UnsupportedFormat):
        decode_entry(_entry_to_come(0), 7, RING)
    with pytest.raises(UnsupportedFormat):
        decode_entry(_entry_to_come(4 | MAY_BE_SKIPPED), 7, RING)
    assert len(_entry_to_come(0)) > ENTRY_HEADER_LENGTH


def test_a_field_to_come_is_passed_over_in_a_manifest_and_not_in_a_pin() -> None:
    """A manifest means the same without it; a pin may keep more than is understood."""
    manifest = SnapshotManifest(time_ns=1, run_token="t", label="l", root=("ab" * 32,), domain="cd" * 16)
    assert decode_manifest(manifest.encode()[:-1] + b',"to_come":1}') == manifest
    fields = {"format": 1, "beat": 1, "time_ns": 1, "holder": "x"}
    sealed = [
        seal_object(msgspec.msgpack.encode(each), ROOT, ObjectKind.PIN, SeededRandomness(), context=RUN + b"pin")
        for each in (fields, {**fields, "to_come": 1})
    ]
    assert decode_pin(sealed[0], Pin, RUN, RING) == Pin(beat=1, time_ns=1, holder="x")
    with pytest.raises(UnsupportedFormat):
        decode_pin(sealed[1], Pin, RUN, RING)


def test_a_kind_of_sealed_object_to_come_is_no_other() -> None:
    body = bytearray(seal_object(b"x", ROOT, ObjectKind.PIN, SeededRandomness()))
    body[10] = max(ObjectKind) + 1
    with pytest.raises(Damaged):
        decode_sealed_header(body)
