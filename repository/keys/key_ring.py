"""Keys: the provider of the key-encryption key, wrapped data keys, and the ring of unwrapped ones.

A *domain* (`default`, a tenant, a data subject) has one 32-byte master per generation, and one secret of 32 bytes
for all of them, under which its chunks are identified; everything else is derived from these. A master is stored
only wrapped, as `keys/<key id>.<kek id>`: one object per master and key-encryption key (KEK), so that re-wrapping
adds an object and changes none. The name of the domain is inside the wrapping: the bucket does not say whose keys
it holds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Final, NamedTuple, Protocol

import msgspec

from repository.errors import (
    Damaged,
    KeysNotOpened,
    LimitExceeded,
    UnknownKey,
    UnsupportedFormat,
    WrongKey,
)
from repository.format import FORMAT_VERSION, KEY_ID_LENGTH, Buffer
from repository.keys import crypto
from repository.ports import SYSTEM_RANDOMNESS, Randomness

DEFAULT_DOMAIN: Final = "default"
ROOT_DOMAIN: Final = "root"
"""The masters that took the root's place, one after the other; nothing else is written under them."""
KEY_PREFIX: Final = "keys/"
_PAYLOAD = struct.Struct("<32s32sIH")


class KeyProvider(Protocol):
    """Wraps and unwraps data keys under a KEK that never reaches the repository.

    A key file, OpenBao Transit, a KMS. Calls are idempotent and may be retried; `KeyUnavailable` says
    that the provider does not answer.
    """

    def kek_id(self) -> bytes:
        """The id (16 bytes) of the KEK that wraps now; not secret."""
        ...

    def wrap(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """`plaintext` encrypted and authenticated under the present KEK, with `associated_data`."""
        ...

    def unwrap(self, kek_id: bytes, wrapped: bytes, associated_data: bytes) -> bytes:
        """What was wrapped. Raises `WrongKey` (no such KEK here), `Damaged` (the KEK is right)."""
        ...


class Rank(NamedTuple):
    """Which root this is: of two the later one has the higher rank. The first root has generation 1."""

    generation: int = 0
    key_id: bytes = b""


NO_RANK: Final = Rank()


class DomainKeys:
    """What is derived from one master (keys of packs and of sealed objects) and its domain's secret (ids of chunks).

    Thread-safe and immutable.
    """

    def __init__(self, repository_id: bytes, domain: str, generation: int, master: bytes, identity: bytes) -> None:
        self.repository_id = repository_id
        self.domain = domain
        self.generation = generation
        self._master = master
        self._identity = identity
        self.key_id = crypto.derive(master, repository_id, b"key-id", length=KEY_ID_LENGTH)
        self.identity_id = crypto.derive(identity, repository_id, b"identity-id", length=KEY_ID_LENGTH)
        """Public name of the domain's secret: where it is the same, chunks are recognised."""
        self.chunk_id_key = crypto.derive(identity, repository_id, b"chunk-id")
        self._pack_root = crypto.derive(master, repository_id, b"pack-root")
        self._object_root = crypto.derive(master, repository_id, b"object-root")

    def __repr__(self) -> str:
        return f"DomainKeys({self.key_id.hex()}, generation {self.generation})"

    def next_generation(self, randomness: Randomness) -> DomainKeys:
        """A fresh master of the same domain, nowhere stored yet; what was stored before is recognised under it."""
        master = randomness.token_bytes(crypto.KEY_LENGTH)
        return DomainKeys(self.repository_id, self.domain, self.generation + 1, master, self._identity)

    def wrapped_payload(self) -> bytes:
        """What a key provider wraps. Raises `LimitExceeded`."""
        domain = self.domain.encode("utf-8", "surrogateescape")
        if len(domain) > 0xFFFF:
            raise LimitExceeded("name of a key domain is too long", length=len(domain))
        return _PAYLOAD.pack(self._master, self._identity, self.generation, len(domain)) + domain

    def chunk_id(self, chunk: Buffer) -> bytes:
        """The id of a chunk: keyed BLAKE3-256 of its plaintext."""
        return crypto.keyed_digest(self.chunk_id_key, chunk)

    def pack_key(self, salt: bytes) -> bytes:
        """The AES-256 key of the one pack with this salt (32 random bytes)."""
        return crypto.derive(self._pack_root, salt, b"pack", self.repository_id)

    def object_key(self, salt: bytes, kind: int) -> bytes:
        """The AES-256 key of the one sealed object of this kind with this salt."""
        return crypto.derive(self._object_root, salt, b"object", self.repository_id + bytes((kind,)))

    def salt_key(self, kind: int) -> bytes:
        """The key under which the salt of a sealed object of this kind is digested, where it is not random."""
        return crypto.derive(self._object_root, self.repository_id, b"salt", bytes((kind,)))

    def stream_id(self, name: str) -> bytes:
        """The id (16 bytes) of the stream of this name; the root's counts."""
        return crypto.derive(self._master, self.repository_id, b"stream-id", name.encode(), KEY_ID_LENGTH)

    def config_key(self) -> bytes:
        """The key under which the repository's config is authenticated."""
        return crypto.derive(self._master, self.repository_id, b"config")

    def pack_proof(self, pack_id: bytes, sha256: bytes) -> bytes:
        """What proves beside a pack in a bucket that this is its checksum (32 bytes); the first root's counts."""
        return crypto.keyed_digest(self._pack_proof_key, pack_id + sha256)

    @cached_property
    def _pack_proof_key(self) -> bytes:
        return crypto.derive(self._master, self.repository_id, b"pack-proof")

    @property
    def rank(self) -> Rank:
        """Its place among the roots, where it is one."""
        return Rank(self.generation, self.key_id)

    def signer(self) -> crypto.Signer:
        """The key pair that signs commit log entries."""
        return crypto.Signer(crypto.derive(self._master, self.repository_id, b"signature"))

    @cached_property
    def verifier(self) -> crypto.Verifier:
        """The public half of `signer`."""
        return crypto.Verifier(self.signer().public_key)


class WrappedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON of one key object. All byte fields are lowercase hex."""

    format: int
    repository_id: str
    key_id: str
    kek_id: str
    wrapped: str

    @property
    def object_key(self) -> str:
        """Where it lives below the tier's prefix."""
        return f"{KEY_PREFIX}{self.key_id}.{self.kek_id}"

    def encode(self) -> bytes:
        """The bytes of the object; the same fields always give the same bytes."""
        return msgspec.json.encode(self)


_WRAPPED_KEY = msgspec.json.Decoder(WrappedKey)


class KeyRecord(NamedTuple):
    """One key object as found on a tier: its key and its bytes."""

    object_key: str
    body: bytes


def decode_wrapped_key(record: KeyRecord) -> WrappedKey:
    """Read a key object. Raises `Damaged` (also when it lies under another key's name)."""
    try:
        key = _WRAPPED_KEY.decode(record.body)
        bytes.fromhex(key.repository_id)
        lengths = (len(bytes.fromhex(key.key_id)), len(bytes.fromhex(key.kek_id)), len(bytes.fromhex(key.wrapped)))
    except (msgspec.DecodeError, ValueError):
        raise Damaged("key object cannot be read", object_key=record.object_key) from None
    if key.format != FORMAT_VERSION:
        raise UnsupportedFormat("key object has an unknown format", version=key.format)
    if lengths[:2] != (KEY_ID_LENGTH, KEY_ID_LENGTH) or key.object_key != record.object_key:
        raise Damaged("key object lies under another name", object_key=record.object_key)
    return key


def _associated_data(repository_id: bytes, key_id: bytes, kek_id: bytes) -> bytes:
    return crypto.LABEL + b"master\0" + repository_id + key_id + kek_id


def wrap(keys: DomainKeys, provider: KeyProvider) -> WrappedKey:
    """`keys`' master wrapped under the provider's present KEK."""
    kek_id = provider.kek_id()
    wrapped = provider.wrap(keys.wrapped_payload(), _associated_data(keys.repository_id, keys.key_id, kek_id))
    return WrappedKey(FORMAT_VERSION, keys.repository_id.hex(), keys.key_id.hex(), kek_id.hex(), wrapped.hex())


def unwrap(key: WrappedKey, repository_id: bytes, provider: KeyProvider) -> DomainKeys:
    """The keys of one key object. Raises `WrongKey`, `Damaged`, `KeyUnavailable`."""
    key_id, kek_id = bytes.fromhex(key.key_id), bytes.fromhex(key.kek_id)
    payload = provider.unwrap(kek_id, bytes.fromhex(key.wrapped), _associated_data(repository_id, key_id, kek_id))
    if len(payload) < _PAYLOAD.size:
        raise Damaged("wrapped key is too short", object_key=key.object_key)
    master, identity, generation, length = _PAYLOAD.unpack_from(payload)
    domain = payload[_PAYLOAD.size :].decode("utf-8", "surrogateescape")
    if len(payload) - _PAYLOAD.size != length:
        raise Damaged("wrapped key has another length than it says", object_key=key.object_key)
    keys = DomainKeys(repository_id, domain, generation, master, identity)
    if not crypto.same(keys.key_id, key_id):
        raise Damaged("wrapped key is not the one that its name says", object_key=key.object_key)
    return keys


class KeyRing:
    """The unwrapped keys of a repository, by id and by domain.

    The *root* signs the log and seals log entries and index segments: the first one (domain `default`, lowest
    generation), or the one of the domain `root` that took its place.
    """

    def __init__(self, keys: list[DomainKeys]) -> None:
        if not keys:
            raise WrongKey("the key opens none of the repository's keys")
        self._by_id = {key.key_id: key for key in keys}
        self.shut: set[str] = set()
        """Ids (hex) of keys that lie there and that the provider does not open, in any wrapping."""
        self.damaged: list[str] = []
        """Keys of key objects that the right KEK could not unwrap."""
        self.proven: set[tuple[str, str]] = set()
        """Key objects that were unwrapped or made by us: key and SHA-256 (hex)."""
        self.destroyed: set[str] = set()
        """Ids (hex) of keys that a log calls destroyed: while they can be opened they read, and nothing is written."""
        self.lost: list[str] = []
        """Key objects that a log names, of keys that no tier holds in any wrapping."""
        self.find: Callable[[bytes], None] = lambda _key_id: None
        """Looks on the tiers for a key that was made since, and adds it. Raises `UnknownKey` where it is shut."""
        self._sought: set[bytes] = set()
        self._in_force: DomainKeys | None = None

    @property
    def root(self) -> DomainKeys:
        """The root in force, as far as any log that was read says. Raises `UnknownKey`."""
        return self._in_force or self.first_root

    def advance(self, rank: Rank) -> None:
        """A log says that this root is in force; one that it took the place of is not any more."""
        if rank > self.root.rank:
            self._in_force = self.by_id(rank.key_id)

    @property
    def newest_root(self) -> DomainKeys:
        """The last root that was made, whether or not any log says that it is in force."""
        return self.roots()[0]

    def roots(self) -> list[DomainKeys]:
        """Every root there is or was, the last one first."""
        later = [key for key in self._by_id.values() if key.domain == ROOT_DOMAIN]
        return sorted((self.first_root, *later), key=lambda key: key.rank, reverse=True)

    def signing(self, key_id: bytes) -> DomainKeys | None:
        """The root of this id; None where there is none, or it is the key of something else.

        Raises `UnknownKey` where a key of this id is there and is not opened.
        """
        self._seek(key_id)
        key = self._by_id.get(key_id)
        is_root = key is not None and (key.domain == ROOT_DOMAIN or key is self.first_root)
        return key if is_root else None

    @cached_property
    def first_root(self) -> DomainKeys:
        """The root that the repository began with: it authenticates the config and names the streams.

        Raises `UnknownKey`.
        """
        own = [key for key in self._by_id.values() if key.domain == DEFAULT_DOMAIN]
        if not own:
            raise UnknownKey("the default domain's key is not among the keys that could be opened")
        return min(own, key=lambda key: key.generation)

    def active(self, domain: str = DEFAULT_DOMAIN) -> DomainKeys:
        """The keys under which new packs of a domain are written. Raises `UnknownKey`."""
        self.expect_none_lost()
        if domain == ROOT_DOMAIN:
            raise UnknownKey("nothing is written under the repository's own root", hint="Name another key domain.")
        own = [key for key in self._by_id.values() if key.domain == domain]
        if not own:
            raise UnknownKey("this key domain has no key here")
        newest = max(own, key=lambda key: key.generation)
        if newest.key_id.hex() in self.with_domains(self.destroyed):
            hint = "Nothing is written under it; give what is to be kept a domain of its own."
            raise UnknownKey("this key domain's key was destroyed", hint=hint, key_id=newest.key_id.hex())
        return newest

    def expect_not_destroyed(self, identity_id: bytes, destroyed: Collection[str]) -> None:
        """Raises `UnknownKey` where a key of the domain whose secret has this id is among these (hex): all of it goes,
        also a key that was made beside that.
        """
        own = (key.key_id.hex() for key in self._by_id.values() if key.identity_id == identity_id)
        if gone := next((key_id for key_id in own if key_id in destroyed), None):
            message = "this key domain's key was destroyed: what was written under it is committed nowhere"
            raise UnknownKey(message, hint="Give what is to be kept a domain of its own.", key_id=gone)

    def with_domains(self, key_ids: Collection[str]) -> set[str]:
        """These keys (ids, hex), and every other one that was opened of the same domains."""
        if not key_ids:
            return set()
        opened = list(self._by_id.values())
        identities = {key.identity_id for key in opened if key.key_id.hex() in key_ids}
        return {key.key_id.hex() for key in opened if key.identity_id in identities}.union(key_ids)

    def expect_none_lost(self) -> None:
        """Raises `UnknownKey` where a key is gone: of which domain and generation it was is not known any more."""
        if self.lost:
            hint = "Give a tier that has the key object, or bring it back (`repo repair`): then new backups go on."
            message = "a key that the log names is gone, and an older one is not written under in its place"
            raise UnknownKey(message, hint=hint, object_key=self.lost[0], keys=len(self.lost))

    def by_id(self, key_id: bytes) -> DomainKeys:
        """The keys that a pack names. Raises `UnknownKey`; `KeysNotOpened`, where it is there and shut."""
        self._seek(key_id)
        if key_id not in self._by_id:
            raise UnknownKey("no key with this id could be opened", key_id=key_id.hex())
        return self._by_id[key_id]

    def _seek(self, key_id: bytes) -> None:
        """Look once for a key that others may have made since: what is written under it is no damage.

        Raises `KeysNotOpened` where it is there and shut.
        """
        if key_id in self._by_id:
            return
        name = key_id.hex()
        if name not in self.shut and key_id not in self._sought and name not in self.destroyed:
            try:
                self.find(key_id)
            except KeysNotOpened:
                self.shut.add(name)
                raise
            self._sought.add(key_id)
        if name in self.shut:
            message = "the key that was given does not open the key of what is to be read"
            raise KeysNotOpened(message, hint="Use the key file of the last rotation.", key_id=name)

    def add(self, keys: DomainKeys) -> None:
        """Make a newly created or read key known."""
        self._by_id = {**self._by_id, keys.key_id: keys}  # others may be looking through what there was

    def of_domain(self, identity_id: bytes) -> DomainKeys:
        """The newest keys of the domain whose secret has this id. Raises `UnknownKey`."""
        own = [key for key in self._by_id.values() if key.identity_id == identity_id]
        if not own:
            raise UnknownKey("no key of this domain could be opened", identity=identity_id.hex())
        return max(own, key=lambda key: key.generation)

    def needed_for(self, identity_id: bytes) -> set[str]:
        """Ids (hex) of the keys without which what is of the domain whose secret has this id cannot all be read, or its
        entries not be proven.
        """
        everybodys = (DEFAULT_DOMAIN, ROOT_DOMAIN)
        own = (key for key in self._by_id.values() if key.identity_id == identity_id or key.domain in everybodys)
        return {key.key_id.hex() for key in own} - self.destroyed

    def all(self) -> list[DomainKeys]:
        """Every key that could be opened, by domain and generation."""
        return sorted(self._by_id.values(), key=lambda key: (key.domain, key.generation))


def key_id_of(object_key: str) -> str:
    """The id (hex) of the key that lies wrapped under an object key."""
    return object_key.removeprefix(KEY_PREFIX).partition(".")[0]


def kek_id_of(object_key: str) -> str:
    """The id (hex) of the key-encryption key under which it lies wrapped."""
    return object_key.rpartition(".")[2]


def new_keys(
    repository_id: bytes, domain: str = DEFAULT_DOMAIN, generation: int = 1, randomness: Randomness = SYSTEM_RANDOMNESS
) -> DomainKeys:
    """A fresh domain: a master and a secret, nowhere stored yet."""
    master, identity = (randomness.token_bytes(crypto.KEY_LENGTH) for _ in range(2))
    return DomainKeys(repository_id, domain, generation, master, identity)
