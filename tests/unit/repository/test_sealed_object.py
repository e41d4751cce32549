"""Sealed objects: only what was sealed for this place comes out."""

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from repository.errors import Damaged, LimitExceeded, UnknownKey, UnsupportedFormat
from repository.keys.key_ring import DomainKeys, KeyRing
from repository.stored.sealed_object import (
    RAW_LENGTH_MAX,
    SEALED_HEADER_LENGTH,
    ObjectKind,
    decode_sealed_header,
    seal_object,
    unseal_in_steps,
    unseal_object,
    unseal_to_memory,
)
from tests.support.repositories import SeededRandomness

KEYS = DomainKeys(b"R" * 16, "default", 1, b"m" * 32, b"M" * 32)
RING = KeyRing([KEYS])


def _seal(plaintext: bytes, *, context: bytes = b"", kind: ObjectKind = ObjectKind.LOG_BODY, seed: int = 0) -> bytes:
    return seal_object(plaintext, KEYS, kind, SeededRandomness(seed), context=context)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=3000), st.binary(max_size=80), st.sampled_from(ObjectKind))
def test_sealed_object_round_trips(plaintext: bytes, context: bytes, kind: ObjectKind) -> None:
    """What was sealed comes back, compressible or not."""
    sealed = seal_object(plaintext * 3, KEYS, kind, SeededRandomness(), context=context)
    assert unseal_object(sealed, RING, kind, context=context) == plaintext * 3


def test_sealed_object_shrinks_when_that_pays() -> None:
    """Text is compressed, random bytes are kept as they are, and neither is in the clear."""
    assert len(_seal(b"wedding " * 1000)) < 200
    noise = SeededRandomness(7).token_bytes(1000)
    sealed = _seal(noise)
    assert len(sealed) == 1000 + SEALED_HEADER_LENGTH + 16
    assert noise[:16] not in sealed


def test_every_flipped_bit_is_noticed() -> None:
    """No byte of a sealed object can be changed."""
    sealed = _seal(b"the bytes of a log entry, the bytes of a log entry", context=b"3")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 0x10
        with pytest.raises((Damaged, UnsupportedFormat, UnknownKey)):
            unseal_object(changed, RING, ObjectKind.LOG_BODY, context=b"3")


def test_every_truncation_is_noticed() -> None:
    """No end of a sealed object can be cut off, and nothing can be appended."""
    sealed = _seal(b"the bytes of a log entry")
    for length in range(len(sealed)):
        with pytest.raises(Damaged):
            unseal_object(sealed[:length], RING, ObjectKind.LOG_BODY)
    with pytest.raises(Damaged):
        unseal_object(sealed + b"\0", RING, ObjectKind.LOG_BODY)


def test_sealed_object_is_refused_at_another_place() -> None:
    """Kind, context, repository and key are bound."""
    sealed = _seal(b"body", context=b"3")
    with pytest.raises(Damaged, match="another kind"):
        unseal_object(sealed, RING, ObjectKind.INDEX_SEGMENT, context=b"3")
    with pytest.raises(Damaged, match="not authentic"):
        unseal_object(sealed, RING, ObjectKind.LOG_BODY, context=b"4")
    with pytest.raises(UnknownKey):
        unseal_object(
            sealed,
            KeyRing([DomainKeys(b"S" * 16, "default", 1, b"m" * 32, b"M" * 32)]),
            ObjectKind.LOG_BODY,
            context=b"3",
        )


def test_two_seals_of_the_same_bytes_share_nothing_but_the_header() -> None:
    """Each object has a key of its own."""
    first, second = _seal(b"body" * 8, seed=1), _seal(b"body" * 8, seed=2)
    assert first[:32] == second[:32]
    assert first[32:64] != second[32:64]
    assert first[64:] != second[64:]


def test_header_says_what_it_is() -> None:
    """Kind, key, length and salt are readable without the key."""
    header = decode_sealed_header(_seal(b"body", kind=ObjectKind.PENDING_MARKER))
    assert (header.kind, header.raw_length, header.key_id) == (ObjectKind.PENDING_MARKER, 4, KEYS.key_id)


@pytest.mark.parametrize(("place", "error"), [(0, Damaged), (8, UnsupportedFormat), (10, Damaged), (11, Damaged)])
def test_header_is_refused_when_unknown(place: int, error: type[Exception]) -> None:
    """Magic, format, kind and compression are checked before anything is decrypted."""
    changed = bytearray(_seal(b"body"))
    changed[place] = 99
    with pytest.raises(error):
        decode_sealed_header(changed)


def test_numbers_are_the_ones_of_the_specification() -> None:
    """Codes and limits of format 1 never change."""
    kinds = {kind.name: kind.value for kind in ObjectKind}
    assert kinds == {
        "INDEX_SEGMENT": 1,
        "LOG_BODY": 2,
        "PENDING_MARKER": 3,
        "CHECKPOINT": 5,
        "STREAM_PIECE": 6,
        "PART": 7,
        "PIN": 8,
    }
    assert RAW_LENGTH_MAX == 1024 * 1024 * 1024
    assert SEALED_HEADER_LENGTH == 64
    # A context that is not given is empty.
    assert unseal_object(_seal(b"body"), RING, ObjectKind.LOG_BODY, context=b"") == b"body"
    default = seal_object(b"body", KEYS, ObjectKind.LOG_BODY, SeededRandomness())
    assert unseal_object(default, RING, ObjectKind.LOG_BODY, context=b"") == b"body"


def test_sealed_object_has_a_greatest_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plaintext that the length field or a reader's memory could not hold is refused."""
    monkeypatch.setattr("repository.stored.sealed_object.RAW_LENGTH_MAX", 10)
    assert unseal_object(_seal(b"ten  bytes"), RING, ObjectKind.LOG_BODY) == b"ten  bytes"
    with pytest.raises(LimitExceeded):
        _seal(b"eleven byte")


def _forged(payload: bytes, raw_length: int, *, is_compressed: bool) -> bytes:
    """An object that a holder of the key made wrongly."""
    import struct

    from repository.format import nonce
    from repository.keys import crypto

    salt = b"s" * 32
    header = struct.pack("<8sHBBI16s32s", b"WSBSEAL1", 1, 2, int(is_compressed), raw_length, KEYS.key_id, salt)
    bound = b"wedsync-backup/v1/sealed\0" + header + b"R" * 16
    return header + crypto.seal(KEYS.object_key(salt, 2), nonce(3, 0), payload, bound)  # type: ignore[arg-type]


def test_sealed_object_is_refused_when_its_length_is_not_the_one_it_says() -> None:
    """Even an authentic object is checked: the specification's layout, built by hand, and its errors."""
    assert unseal_object(_forged(b"body", 4, is_compressed=False), RING, ObjectKind.LOG_BODY) == b"body"
    for forged in (_forged(b"body", 5, is_compressed=False), _forged(b"body", 4, is_compressed=True)):
        with pytest.raises(Damaged):
            unseal_object(forged, RING, ObjectKind.LOG_BODY)
        with pytest.raises(Damaged):
            list(unseal_in_steps(forged, RING, ObjectKind.LOG_BODY))


@pytest.mark.parametrize("wrong", [-1, 1])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_large_object_is_refused_when_its_length_is_not_the_one_it_says(wrong: int, is_compressed: bool) -> None:
    """Memory is asked for by what the header says, and exactly that has to come out."""
    plain = SeededRandomness(7).token_bytes(1 << 20) * 5
    payload = zstandard.ZstdCompressor().compress(plain) if is_compressed else plain
    right = _forged(payload, len(plain), is_compressed=is_compressed)
    assert bytes(unseal_to_memory(right, RING, ObjectKind.LOG_BODY)) == plain
    with pytest.raises(Damaged, match="another length"):
        unseal_to_memory(_forged(payload, len(plain) + wrong, is_compressed=is_compressed), RING, ObjectKind.LOG_BODY)
    with pytest.raises(Damaged, match="cannot be decompressed"):
        unseal_to_memory(_forged(plain, len(plain), is_compressed=True), RING, ObjectKind.LOG_BODY)


@pytest.mark.parametrize(
    "plaintext",
    [b"", b"w", b"wedding " * 700_000, SeededRandomness(7).token_bytes(5 << 20)],
    ids=["empty", "short", "compressed", "as it is"],
)
def test_object_that_is_opened_in_steps_is_the_same(plaintext: bytes) -> None:
    """Piece by piece, or into memory; nothing of one that is damaged."""
    sealed = _seal(plaintext, kind=ObjectKind.INDEX_SEGMENT)
    assert bytes(unseal_to_memory(sealed, RING, ObjectKind.INDEX_SEGMENT)) == plaintext
    with pytest.raises(Damaged):
        unseal_to_memory(sealed[:-1] + bytes([sealed[-1] ^ 1]), RING, ObjectKind.INDEX_SEGMENT)
    with pytest.raises(Damaged):
        unseal_to_memory(sealed, RING, ObjectKind.LOG_BODY)
    assert b"".join(bytes(piece) for piece in unseal_in_steps(sealed, RING, ObjectKind.INDEX_SEGMENT)) == plaintext
    with pytest.raises(Damaged):
        next(iter(unseal_in_steps(sealed[:-1] + bytes([sealed[-1] ^ 1]), RING, ObjectKind.INDEX_SEGMENT)))
    with pytest.raises(Damaged):
        next(iter(unseal_in_steps(sealed, RING, ObjectKind.LOG_BODY)))
