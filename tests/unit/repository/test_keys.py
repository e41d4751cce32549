"""Keys: what is derived from what, and how a wrong key differs from a damaged one."""

import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from repository.errors import (
    Damaged,
    KeyFileInvalid,
    KeyFileNotMade,
    KitInvalid,
    LimitExceeded,
    UnknownKey,
    UnsupportedFormat,
    WrongKey,
)
from repository.keys import crypto
from repository.keys.key_file import KeyFile, kek_id
from repository.keys.key_ring import (
    DomainKeys,
    KeyRecord,
    KeyRing,
    WrappedKey,
    decode_wrapped_key,
    new_keys,
    unwrap,
    wrap,
)
from repository.keys.kit import read_share
from repository.keys.ring_opening import open_ring
from tests.support.repositories import SeededRandomness, key_file

REPOSITORY = b"R" * 16
KEYS = DomainKeys(REPOSITORY, "default", 1, b"m" * 32, b"M" * 32)


def _record(keys: DomainKeys = KEYS, seed: int = 0) -> KeyRecord:
    wrapped = wrap(keys, key_file(seed))
    return KeyRecord(wrapped.object_key, wrapped.encode())


def _changed(record: KeyRecord, **fields: object) -> KeyRecord:
    changed = msgspec.structs.replace(msgspec.json.decode(record.body, type=WrappedKey), **fields)
    return KeyRecord(changed.object_key, changed.encode())


def test_derivations_are_the_ones_of_the_specification() -> None:
    """What format 1 derives never changes: these figures come from an independent HKDF (RFC 5869)."""
    import hashlib
    import hmac

    def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
        pseudo_random = hmac.new(salt, key, hashlib.sha256).digest()
        return hmac.new(pseudo_random, info + b"\1", hashlib.sha256).digest()[:length]

    prefix = b"wedsync-backup/v1/"
    assert KEYS.key_id == hkdf(b"m" * 32, REPOSITORY, prefix + b"key-id\0", 16)
    assert KEYS.chunk_id_key == hkdf(b"M" * 32, REPOSITORY, prefix + b"chunk-id\0", 32)
    assert KEYS.identity_id == hkdf(b"M" * 32, REPOSITORY, prefix + b"identity-id\0", 16)
    pack_root = hkdf(b"m" * 32, REPOSITORY, prefix + b"pack-root\0", 32)
    assert KEYS.pack_key(b"s" * 32) == hkdf(pack_root, b"s" * 32, prefix + b"pack\0" + REPOSITORY, 32)
    object_root = hkdf(b"m" * 32, REPOSITORY, prefix + b"object-root\0", 32)
    assert KEYS.object_key(b"s" * 32, 2) == hkdf(object_root, b"s" * 32, prefix + b"object\0" + REPOSITORY + b"\2", 32)
    assert KEYS.config_key() == hkdf(b"m" * 32, REPOSITORY, prefix + b"config\0", 32)
    seed = hkdf(b"m" * 32, REPOSITORY, prefix + b"signature\0", 32)
    assert KEYS.signer().public_key == crypto.Signer(seed).public_key
    assert kek_id(b"k" * 32) == hkdf(b"k" * 32, bytes(32), prefix + b"kek-id\0", 16)
    assert KEYS.key_id.hex() == "1a7522cda9378090c83fe9274b637ce8"


def test_keys_of_different_uses_differ() -> None:
    """No key serves two purposes, two packs, two kinds, two repositories or two domains."""
    other = DomainKeys(b"S" * 16, "default", 1, b"m" * 32, b"M" * 32)
    derived = [
        KEYS.chunk_id_key,
        KEYS.pack_key(b"a" * 32),
        KEYS.pack_key(b"b" * 32),
        KEYS.object_key(b"a" * 32, 1),
        KEYS.object_key(b"a" * 32, 2),
        KEYS.config_key(),
        KEYS.signer().public_key,
        other.chunk_id_key,
        other.pack_key(b"a" * 32),
        other.object_key(b"a" * 32, 1),
        other.config_key(),
    ]
    assert all(left != right for left, right in itertools.combinations(derived, 2))


def test_chunk_id_is_keyed() -> None:
    """The id of a known plaintext says nothing to who has no key, and is the same for who has it."""
    other = DomainKeys(REPOSITORY, "tenant", 1, b"n" * 32, b"N" * 32)
    assert KEYS.chunk_id(b"photo") == KEYS.chunk_id(bytearray(b"photo"))
    assert KEYS.chunk_id(b"photo") != other.chunk_id(b"photo")
    assert KEYS.chunk_id(b"photo") != crypto.keyed_digest(b"\0" * 32, b"photo")


def test_keys_do_not_show_their_secret() -> None:
    """A representation in a log holds ids only."""
    shown = repr(KEYS) + repr(key_file())
    assert KEYS.key_id.hex() in shown
    assert (b"m" * 32).hex() not in shown


def test_wrapped_key_round_trips() -> None:
    """Domain and generation come back with the master, and are not in the object in the clear."""
    keys = DomainKeys(REPOSITORY, "bride & groom", 7, b"x" * 32, b"X" * 32)
    record = _record(keys)
    assert b"bride" not in record.body
    assert record.object_key == f"keys/{keys.key_id.hex()}.{key_file().kek_id().hex()}"
    back = unwrap(decode_wrapped_key(record), REPOSITORY, key_file())
    assert (back.domain, back.generation, back.key_id) == ("bride & groom", 7, keys.key_id)
    assert back.chunk_id_key == keys.chunk_id_key


def test_payload_and_associated_data_are_the_ones_of_the_specification() -> None:
    """What a provider wraps, and what it binds, never changes."""
    calls: list[tuple[bytes, bytes]] = []

    class Recording(_Lying):
        def wrap(self, plaintext: bytes, associated_data: bytes) -> bytes:
            calls.append((plaintext, associated_data))
            return plaintext

        def unwrap(self, kek_id: bytes, wrapped: bytes, associated_data: bytes) -> bytes:
            calls.append((wrapped, associated_data))
            return wrapped

    provider = Recording(b"")
    wrapped = wrap(KEYS, provider)
    unwrap(wrapped, REPOSITORY, provider)
    bound = b"wedsync-backup/v1/master\0" + REPOSITORY + KEYS.key_id + b"k" * 16
    assert calls == [(b"m" * 32 + b"M" * 32 + b"\1\0\0\0\7\0default", bound)] * 2
    assert new_keys(REPOSITORY).generation == 1
    longest = wrap(DomainKeys(REPOSITORY, "x" * 0xFFFF, 1, b"m" * 32, b"M" * 32), key_file())
    assert unwrap(longest, REPOSITORY, key_file()).domain == "x" * 0xFFFF
    nameless = wrap(DomainKeys(REPOSITORY, "", 1, b"m" * 32, b"M" * 32), key_file())
    assert unwrap(nameless, REPOSITORY, key_file()).domain == ""


def test_wrong_key_is_told_apart_from_damage() -> None:
    """Another key file is a wrong key; a flipped bit under the right one is damage."""
    record = _record()
    with pytest.raises(WrongKey):
        open_ring([record], REPOSITORY, key_file(1))
    wrapped = msgspec.json.decode(record.body)["wrapped"]
    for place in range(0, len(wrapped), 2):
        flipped = wrapped[:place] + f"{int(wrapped[place : place + 2], 16) ^ 1:02x}" + wrapped[place + 2 :]
        with pytest.raises(Damaged):
            open_ring([_changed(record, wrapped=flipped)], REPOSITORY, key_file())
    with pytest.raises(Damaged):
        open_ring([_changed(record, wrapped="00")], REPOSITORY, key_file())


def test_wrapped_key_is_refused_when_moved_to_another_name() -> None:
    """Key id, KEK id and repository are bound: a swapped object is damage, another repository's is not ours."""
    record, other = _record(), _record(DomainKeys(REPOSITORY, "default", 2, b"y" * 32, b"Y" * 32))
    with pytest.raises(Damaged):
        open_ring([KeyRecord(other.object_key, record.body)], REPOSITORY, key_file())
    with pytest.raises(Damaged):
        open_ring([_changed(record, key_id=other.object_key[5:37])], REPOSITORY, key_file())
    with pytest.raises(WrongKey):
        open_ring([record], b"Q" * 16, key_file())
    with pytest.raises(Damaged):
        open_ring([_changed(record, repository_id=(b"Q" * 16).hex())], b"Q" * 16, key_file())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"format":1}',
        b'{"format":1,"repository_id":"zz","key_id":"00","kek_id":"00","wrapped":"00"}',
        b'{"format":1,"repository_id":"00","key_id":"00","kek_id":"00","wrapped":"00"}',
        b'{"format":1,"repository_id":"00","key_id":"00","kek_id":"00","wrapped":"00","more":1}',
    ],
)
def test_key_object_is_damaged_when_it_cannot_be_read(body: bytes) -> None:
    """Malformed JSON, missing fields and odd lengths are damage."""
    with pytest.raises(Damaged):
        decode_wrapped_key(KeyRecord("keys/00.00", body))


def test_key_object_of_a_later_format_is_told() -> None:
    """A later version's key object is no damage."""
    with pytest.raises(UnsupportedFormat):
        decode_wrapped_key(_changed(_record(), format=2))


class _Lying:
    """A provider that returns another payload than was wrapped."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    def kek_id(self) -> bytes:
        return b"k" * 16

    def wrap(self, plaintext: bytes, associated_data: bytes) -> bytes:
        return plaintext

    def unwrap(self, kek_id: bytes, wrapped: bytes, associated_data: bytes) -> bytes:
        return self._payload


@pytest.mark.parametrize(
    "payload",
    [b"short", b"m" * 32 + b"\1\0\0\0\x09\0default", b"n" * 32 + b"\1\0\0\0\7\0default"],
)
def test_unwrapped_payload_is_checked(payload: bytes) -> None:
    """Whatever a provider answers, a master counts only when its id is the one that the name says."""
    wrapped = WrappedKey(1, REPOSITORY.hex(), KEYS.key_id.hex(), (b"k" * 16).hex(), "00")
    with pytest.raises(Damaged):
        unwrap(wrapped, REPOSITORY, _Lying(payload))


def test_domain_name_has_a_limit() -> None:
    """A name that does not fit its length field is refused."""
    with pytest.raises(LimitExceeded):
        wrap(DomainKeys(REPOSITORY, "x" * 70_000, 1, b"m" * 32, b"M" * 32), key_file())


def test_ring_finds_keys_by_id_domain_and_age() -> None:
    """The root is the oldest key of the default domain; the newest of a domain writes."""
    second = DomainKeys(REPOSITORY, "default", 2, b"2" * 32, b"2" * 32)
    tenant = DomainKeys(REPOSITORY, "tenant", 1, b"t" * 32, b"T" * 32)
    ring = KeyRing([tenant, second, KEYS])
    assert ring.root is KEYS
    assert ring.active() is second
    assert ring.active("tenant") is tenant
    assert ring.by_id(tenant.key_id) is tenant
    assert ring.all() == [KEYS, second, tenant]
    newest = new_keys(REPOSITORY, "tenant", 2, SeededRandomness())
    ring.add(newest)
    assert ring.active("tenant") is newest
    for missing in (lambda: ring.by_id(b"?" * 16), lambda: ring.active("nobody"), lambda: KeyRing([tenant]).root):
        with pytest.raises(UnknownKey):
            missing()


def test_ring_opens_when_one_of_two_wrappings_is_damaged() -> None:
    """A damaged key object beside a whole one of the same master does no harm, and is named."""
    whole, damaged = _record(), KeyRecord("keys/broken", b"junk")
    ring = open_ring([damaged, whole, _record(seed=1)], REPOSITORY, key_file())
    assert ring.root.key_id == KEYS.key_id
    assert ring.damaged == ["keys/broken"]


def test_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask, never overwritten, and read back as the same key."""
    path = tmp_path / "key"
    mask = os.umask(0)
    try:
        made = KeyFile.create(path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(KeyFileInvalid, match="exists"):
        KeyFile.create(path)
    assert path.read_bytes() == before
    assert KeyFile.load(path).kek_id() == made.kek_id()
    assert open_ring([_wrapped_by(made)], REPOSITORY, KeyFile.load(path)).root.key_id == KEYS.key_id


def _wrapped_by(provider: KeyFile) -> KeyRecord:
    wrapped = wrap(KEYS, provider)
    return KeyRecord(wrapped.object_key, wrapped.encode())


def test_key_file_rotates_into_a_new_file(tmp_path: Path) -> None:
    """The new key wraps, the old one still opens, and the old file is left as it is."""
    old = KeyFile.create(tmp_path / "old", SeededRandomness(1))
    new = KeyFile.rotate(tmp_path / "old", tmp_path / "new", SeededRandomness(2))
    assert new.kek_id() != old.kek_id()
    record = _wrapped_by(old)
    assert open_ring([record], REPOSITORY, KeyFile.load(tmp_path / "new")).root.key_id == KEYS.key_id
    with pytest.raises(WrongKey):
        open_ring([_wrapped_by(new)], REPOSITORY, KeyFile.load(tmp_path / "old"))


def _line(kek: bytes) -> str:
    return f"wsbkek1-{kek.hex()}-{crypto.sha256(b'wedsync-backup/v1/kek', kek)[:4].hex()}"


def test_key_file_that_a_stopped_rotation_made_is_gone_on_with(tmp_path: Path) -> None:
    """And no other file is taken for it."""
    old = KeyFile.create(tmp_path / "old")
    made = old.successor(tmp_path / "new")
    assert old.successor(tmp_path / "new").kek_id() == made.kek_id()
    KeyFile.create(tmp_path / "another")
    for name in ("another", "old"):
        with pytest.raises(KeyFileNotMade):
            old.successor(tmp_path / name)


def test_key_file_may_be_typed_from_paper(tmp_path: Path) -> None:
    """Comments, blank lines, spaces at the ends and capitals do no harm."""
    path = tmp_path / "key"
    path.write_text(f"# a comment\n\n  {_line(b'k' * 32).upper().replace('WSBKEK', 'wsbkek')} \r\n")
    path.chmod(0o600)
    assert KeyFile.load(path).kek_id() == kek_id(b"k" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "secret",
        _line(b"k" * 32)[:-1],
        _line(b"k" * 32).replace("6b", "6c", 1),  # a mistyped digit
        _line(b"k" * 32) + "\nwsbkek1-",
        _line(b"k" * 32) + "\n" + "#" * 70_000,
        "\xff",
    ],
)
def test_key_file_is_invalid_when_a_line_is_no_key(tmp_path: Path, text: str) -> None:
    """Check digits tell a mistyped key from the key of another repository."""
    path = tmp_path / "key"
    path.write_text(text, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(KeyFileInvalid):
        KeyFile.load(path)


def test_key_file_is_invalid_when_everybody_may_read_it(tmp_path: Path) -> None:
    """A key that all users of the machine can read is refused, with what to do."""
    path = tmp_path / "key"
    KeyFile.create(path)
    path.chmod(0o604)
    with pytest.raises(KeyFileInvalid) as caught:
        KeyFile.load(path)
    assert "chmod 600" in caught.value.hint


def test_key_file_is_invalid_when_it_cannot_be_opened_or_made(tmp_path: Path) -> None:
    """A missing file and a missing folder are told as such."""
    with pytest.raises(KeyFileInvalid, match="cannot be read"):
        KeyFile.load(tmp_path / "absent")
    with pytest.raises(KeyFileInvalid, match="cannot be created"):
        KeyFile.create(tmp_path / "absent" / "key")


def test_signature_is_verified() -> None:
    """A signature holds for its message and its key alone."""
    signer = KEYS.signer()
    verifier = crypto.Verifier(signer.public_key)
    signature = signer.sign(b"message")
    assert verifier.verifies(signature, b"message")
    assert not verifier.verifies(signature, b"massage")
    assert not crypto.Verifier(crypto.Signer(b"z" * 32).public_key).verifies(signature, b"message")


def test_unsealing_refuses_what_is_too_short_to_be_authentic() -> None:
    """Fifteen bytes hold no tag; an odd nonce is no nonce."""
    with pytest.raises(Damaged, match="too short"):
        crypto.unseal(b"k" * 32, b"n" * 12, b"x" * 15, b"", "thing")
    with pytest.raises(Damaged, match="too short"):
        crypto.unseal(b"k" * 32, b"n" * 11, b"x" * 16, b"", "thing")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
@pytest.mark.timeout(60)
def test_key_file_that_is_no_regular_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Nobody waits for ever for a key that a pipe will never give."""
    make(tmp_path / "k.key")
    with pytest.raises(KeyFileInvalid):
        KeyFile.load(tmp_path / "k.key")
    with pytest.raises(KitInvalid, match="cannot be read"):
        read_share(tmp_path / "k.key")
