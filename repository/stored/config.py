"""The repository's config: the same bytes on every tier, authenticated under the root key.

Promise: all of it follows from the root key and the chunker's parameters, so a lost config can be made again
and proven by the first log entry, which names its digest. Layout: one JSON object

    {"config": {…}, "mac": "<64 hex>"}

`mac` is keyed BLAKE3 of the very bytes of the inner object.
"""

from __future__ import annotations

from typing import Final

import msgspec

from repository.errors import Damaged, LimitExceeded, UnsupportedFormat
from repository.format import FORMAT_VERSION, KEY_ID_LENGTH, REPOSITORY_ID_LENGTH
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys
from repository.stored.chunker import ChunkerParameters

CONFIG_KEY: Final = "config"


class RepositoryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader has to know before anything else. Byte fields are lowercase hex."""

    format: int = FORMAT_VERSION
    repository_id: str
    root_key_id: str
    public_key: str
    chunk_length_min: int
    chunk_length_average: int
    chunk_length_max: int

    @property
    def chunker(self) -> ChunkerParameters:
        """How files are cut into chunks."""
        return ChunkerParameters(self.chunk_length_min, self.chunk_length_average, self.chunk_length_max)


class _Authenticated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    config: msgspec.Raw
    mac: str


_AUTHENTICATED: Final = msgspec.json.Decoder(_Authenticated)
_CONFIG: Final = msgspec.json.Decoder(RepositoryConfig)


class ReadConfig(msgspec.Struct, frozen=True):
    """A config as found on a tier: not to be believed before `verify_config`."""

    config: RepositoryConfig
    authenticated: bytes
    mac: bytes
    digest: bytes
    """SHA-256 of the whole object: what the first log entry names as its previous one."""


def make_config(keys: DomainKeys, chunker: ChunkerParameters) -> RepositoryConfig:
    """The config of the repository whose root key this is."""
    return RepositoryConfig(
        repository_id=keys.repository_id.hex(),
        root_key_id=keys.key_id.hex(),
        public_key=keys.signer().public_key.hex(),
        chunk_length_min=chunker.minimum,
        chunk_length_average=chunker.average,
        chunk_length_max=chunker.maximum,
    )


def encode_config(config: RepositoryConfig, keys: DomainKeys) -> bytes:
    """The object's bytes; the same fields always give the same bytes."""
    inner = msgspec.json.encode(config)
    mac = crypto.keyed_digest(keys.config_key(), inner).hex()
    return msgspec.json.encode(_Authenticated(msgspec.Raw(inner), mac))


def decode_config(body: bytes) -> ReadConfig:
    """Read a config that is not authenticated yet. Raises `Damaged`, `UnsupportedFormat`."""
    try:
        outer = _AUTHENTICATED.decode(body)
        config = _CONFIG.decode(outer.config)
        mac = bytes.fromhex(outer.mac)
        lengths = (
            len(bytes.fromhex(config.repository_id)),
            len(bytes.fromhex(config.root_key_id)),
            len(bytes.fromhex(config.public_key)),
        )
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Damaged("repository config cannot be read", object_key=CONFIG_KEY) from None
    if config.format != FORMAT_VERSION:
        raise UnsupportedFormat("repository has an unknown format", version=config.format)
    if lengths != (REPOSITORY_ID_LENGTH, KEY_ID_LENGTH, crypto.PUBLIC_KEY_LENGTH):
        raise Damaged("repository config has a field of the wrong length", object_key=CONFIG_KEY)
    return ReadConfig(config, bytes(outer.config), mac, crypto.sha256(body))


def is_authentic(body: bytes, keys: DomainKeys) -> bool:
    """Whether the holder of the root key wrote this config, of whatever format."""
    try:
        outer = _AUTHENTICATED.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return crypto.same(crypto.keyed_digest(keys.config_key(), outer.config).hex().encode(), outer.mac.encode())


def verify_config(read: ReadConfig, keys: DomainKeys) -> None:
    """Raises `Damaged` unless the holder of the root key wrote this config for this repository."""
    if not crypto.same(crypto.keyed_digest(keys.config_key(), read.authenticated), read.mac):
        raise Damaged("repository config is not authentic", object_key=CONFIG_KEY)
    # Bytes around what is authenticated: whoever added them is told, and not the tiers that have the config as it was.
    if (
        crypto.sha256(msgspec.json.encode(_Authenticated(msgspec.Raw(read.authenticated), read.mac.hex())))
        != read.digest
    ):
        raise Damaged("repository config is not as it was written", object_key=CONFIG_KEY)
    try:
        read.config.chunker  # noqa: B018 - checks its own limits
    except LimitExceeded as error:
        raise Damaged("repository config has impossible chunk lengths", object_key=CONFIG_KEY) from error
