"""The snapshot manifest: what one backup kept, in one struct.

Its encoding is JSON with the fields in the order below. The snapshot's id is derived from the encoded
bytes, so it is the same on every tier and the bytes prove it; a manifest is therefore never re-encoded.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from repository.errors import Damaged, UnsupportedFormat
from repository.format import FORMAT_VERSION
from repository.keys import crypto

SNAPSHOT_ID_LENGTH: Final = 16
STREAMS: Final = "streams"
"""Key of `extra`: the streams that the snapshot leans on."""
HOST: Final = "host"
"""Key of `extra`: the name of the machine that the source is of, as a string."""
TORN: Final = "changed"
"""Key of `extra`: how many files were written to while they were saved."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds and what it added. Bytes, but for the counts.

    `source_bytes` is the plaintext of all files, `new_bytes` the plaintext of chunks that were not there
    before, `stored_bytes` what these take in packs (compressed, encrypted, with headers). `files` are those that were
    saved; `failed` counts the entries of every kind that are missing or without content although they were asked for.
    """

    files: int = 0
    folders: int = 0
    others: int = 0
    failed: int = 0
    unchanged_files: int = 0
    chunks: int = 0
    new_chunks: int = 0
    source_bytes: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0


class ClassTotals(msgspec.Struct, frozen=True, kw_only=True):
    """`Totals`' byte counts for one content class."""

    chunks: int = 0
    source_bytes: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0


class SnapshotManifest(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot.

    `time_ns`: when the backup began, by the writer's clock. `run_token`: chosen by the caller; a token is
    committed at most once per tier. `label`: the caller's name for the source. `root`: chunk ids (hex) of the
    tree's root pages, in order. `domain`: id (hex) of the secret under which its chunks are identified.
    `parent`: id (hex) of the snapshot that unchanged files were recognised against. `extra`: what few snapshots have:
    `parts` (see `backup.parts`), `streams` (see `streams_of`), `host` (see `host_of`), `changed` (see `torn_of`);
    readers ignore what they do not know.
    """

    format: int = FORMAT_VERSION
    time_ns: int
    run_token: str
    label: str
    root: tuple[str, ...]
    domain: str
    parent: str | None = None
    tags: tuple[str, ...] = ()
    totals: Totals = Totals()
    by_class: dict[str, ClassTotals] = {}
    extra: dict[str, msgspec.Raw] = {}

    def encode(self) -> bytes:
        """The bytes that the snapshot's id is derived from."""
        return msgspec.json.encode(self)


# Made here, before threads are there: two that complete a type of msgspec's at once crash the process.
_MANIFEST: Final = msgspec.json.Decoder(SnapshotManifest)
_STREAMS: Final = msgspec.json.Decoder(dict[str, tuple[int, str, int]])


_TEXT: Final = msgspec.json.Decoder(str)
_COUNT: Final[msgspec.json.Decoder[int]] = msgspec.json.Decoder(Annotated[int, msgspec.Meta(ge=0)])


def decode_manifest(body: bytes) -> SnapshotManifest:
    """Read a manifest. Raises `Damaged`, `UnsupportedFormat`."""
    try:
        manifest = _MANIFEST.decode(body)
    except msgspec.DecodeError as error:
        raise Damaged("snapshot manifest cannot be read", reason=str(error)) from None
    if manifest.format != FORMAT_VERSION:
        raise UnsupportedFormat("snapshot has an unknown format", version=manifest.format)
    return manifest


def streams_of(manifest: SnapshotManifest) -> dict[str, tuple[int, str, int]]:
    """The streams that a snapshot leans on: by name, the number of a piece, its digest (hex), the position behind it.

    Raises `Damaged`.
    """
    if STREAMS not in manifest.extra:
        return {}
    try:
        return _STREAMS.decode(manifest.extra[STREAMS])
    except msgspec.DecodeError as error:
        raise Damaged("snapshot manifest cannot be read", reason=str(error)) from None


def of_host(name: str) -> dict[str, msgspec.Raw]:
    """What a manifest says of the machine; nothing where it has no name."""
    return {HOST: msgspec.Raw(msgspec.json.encode(name))} if name else {}


def host_of(manifest: SnapshotManifest) -> str:
    """The name of the machine that the source is of; empty where nobody gave it. Raises `Damaged`."""
    if HOST not in manifest.extra:
        return ""
    try:
        return _TEXT.decode(manifest.extra[HOST])
    except msgspec.DecodeError as error:
        raise Damaged("snapshot manifest cannot be read", reason=str(error)) from None


def of_torn(count: int) -> dict[str, msgspec.Raw]:
    """What `extra` has of so many files that were written to while they were saved."""
    return {TORN: msgspec.Raw(msgspec.json.encode(count))} if count else {}


def torn_of(manifest: SnapshotManifest) -> int:
    """How many files were written to while they were saved, as far as the snapshot says it. Raises `Damaged`."""
    if TORN not in manifest.extra:
        return 0
    try:
        return _COUNT.decode(manifest.extra[TORN])
    except msgspec.DecodeError as error:
        raise Damaged("snapshot manifest cannot be read", reason=str(error)) from None


def snapshot_id(repository_id: bytes, body: bytes) -> bytes:
    """The id (16 bytes) of the snapshot with this encoded manifest."""
    return crypto.sha256(crypto.LABEL, b"snapshot\0", repository_id, body)[:SNAPSHOT_ID_LENGTH]


class _Brief(msgspec.Struct, frozen=True):
    """The few fields that many snapshots are looked through by."""

    time_ns: int
    run_token: str
    label: str
    domain: str
    parent: str | None = None


_BRIEF: Final = msgspec.json.Decoder(_Brief)


class Snapshot:
    """A committed snapshot: its id (hex, 32 digits), the manifest's own bytes, and what they say when it is asked for.

    Thread-safe.
    """

    __slots__ = ("_brief", "_manifest", "body", "id")

    def __init__(self, identity: str, body: bytes, manifest: SnapshotManifest | None = None) -> None:
        self.id = identity
        self.body = body
        self._manifest = manifest
        self._brief: SnapshotManifest | _Brief | None = manifest

    @property
    def manifest(self) -> SnapshotManifest:
        """What the backup kept. Raises `Damaged`, `UnsupportedFormat`."""
        if self._manifest is None:
            self._manifest = self._brief = decode_manifest(self.body)
        return self._manifest

    @property
    def brief(self) -> SnapshotManifest | _Brief:
        """Time, token, label, domain and parent, without the cost of the rest. Raises `Damaged`."""
        if self._brief is None:
            try:
                self._brief = _BRIEF.decode(self.body)
            except msgspec.DecodeError as error:
                raise Damaged("snapshot manifest cannot be read", reason=str(error)) from None
        return self._brief

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and (self.id, self.body) == (other.id, other.body)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Snapshot({self.id})"
