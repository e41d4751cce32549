"""One entry of the commit log: its bytes, and what an entry can say.

Promise: `decode_entry` returns what a holder of the signing key wrote as entry `number` of a log of this
repository behind an entry with the digest `previous`; anything else raises `Damaged`. Layout (little endian):

    magic 8 · format u16 · flags u16 · body length u32
    number u64 · repository id 16 · tier id 16 · snapshots u64 · previous 32
    sealed body (kind LOG_BODY, bound to the line above); the key id in its header is that of the root that signs
    signature 64 over label ‖ everything before it
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

import msgspec

from repository.errors import Damaged, UnsupportedFormat
from repository.format import FORMAT_VERSION, Buffer
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys, KeyRing, Rank
from repository.ports import Randomness
from repository.stored.object_reading import check_length_of
from repository.stored.sealed_object import ObjectKind, key_id_in, seal_object, unseal_object

LOG_PREFIX: Final = "log/"
FOLDER_DIGITS: Final = 13
LOG_MAGIC: Final = b"WSBENTRY"
ENTRY_HEADER_LENGTH: Final = 96
DIGEST_LENGTH: Final = 32
TIER_ID_LENGTH: Final = 16
MAY_BE_SKIPPED: Final = 1
"""Flag: who does not know the kind of the entry goes on without it."""
FOLLOWS_CONSEQUENCE: Final = 2
"""Flag: the entry before is, or may be, of consequence; see `Entry.is_of_consequence`."""

_HEADER = struct.Struct("<8sHHIQ16s16sQ32s")
_BOUND_FROM: Final = 16


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag="begun", tag_field="kind"):
    """The log of a tier begins. Always entry 1, and nowhere else."""

    time_ns: int


class SnapshotCommitted(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot", tag_field="kind"):
    """From now on the tier has this snapshot, and all that it references.

    `id` (hex) is derived from the bytes of `manifest`. `segments`: names (hex) of the index segments that came
    with it. `witnesses`: heads of the other tiers as the writer saw them, by tier id (hex): number and
    digest (hex); a tier that later shows less was rolled back. `locked_until`: seconds of Unix time until which
    the writer locked what the snapshot needs on this tier; None: it did not.
    """

    time_ns: int
    id: str
    manifest: msgspec.Raw
    segments: tuple[str, ...] = ()
    witnesses: dict[str, tuple[int, str]] = {}
    locked_until: int | None = None


class IndexChanged(msgspec.Struct, frozen=True, kw_only=True, tag="index", tag_field="kind"):
    """Segments joined the index and others, whose rows they hold, left it."""

    time_ns: int
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    reason: str = ""


class PacksMarked(msgspec.Struct, frozen=True, kw_only=True, tag="mark", tag_field="kind"):
    """These packs (hex) are to be deleted: no later snapshot references them."""

    time_ns: int
    packs: tuple[str, ...]


class PacksUnmarked(msgspec.Struct, frozen=True, kw_only=True, tag="unmark", tag_field="kind"):
    """These packs (hex) stay after all."""

    time_ns: int
    packs: tuple[str, ...]


class PacksSwept(msgspec.Struct, frozen=True, kw_only=True, tag="swept", tag_field="kind"):
    """These packs (hex), which were marked, are gone."""

    time_ns: int
    packs: tuple[str, ...]


class SweepBegun(msgspec.Struct, frozen=True, kw_only=True, tag="sweep", tag_field="kind"):
    """These marked packs (hex) are being deleted: the mark cannot be taken back any more."""

    time_ns: int
    packs: tuple[str, ...]


class SnapshotsForgotten(msgspec.Struct, frozen=True, kw_only=True, tag="forget", tag_field="kind"):
    """The tier has these snapshots (hex) no more, and takes none of their run tokens again."""

    time_ns: int
    snapshots: tuple[str, ...]
    reason: str = ""


class HoldPlaced(msgspec.Struct, frozen=True, kw_only=True, tag="hold", tag_field="kind"):
    """Whatever these snapshots (hex; none: all) need is kept, whoever forgets or prunes, until `release`."""

    time_ns: int
    name: str
    snapshots: tuple[str, ...] = ()
    reason: str = ""


class HoldReleased(msgspec.Struct, frozen=True, kw_only=True, tag="release", tag_field="kind"):
    """The hold of this name is over."""

    time_ns: int
    name: str


class SnapshotsTagged(msgspec.Struct, frozen=True, kw_only=True, tag="tags", tag_field="kind"):
    """From now on these snapshots (hex) have these tags, in place of their manifests' and of a lower `revision`."""

    time_ns: int
    snapshots: tuple[str, ...]
    tags: tuple[str, ...]
    revision: int


class KeysDestroyed(msgspec.Struct, frozen=True, kw_only=True, tag="destroyed", tag_field="kind"):
    """These keys (ids, hex) are destroyed for good: nobody brings their key objects back."""

    time_ns: int
    key_ids: tuple[str, ...]


class KeksEnded(msgspec.Struct, frozen=True, kw_only=True, tag="ended", tag_field="kind"):
    """These key-encryption keys (ids, hex) were removed: no wrapping under them counts, is copied, locked or held."""

    time_ns: int
    keks: tuple[str, ...]


class TierNamed(msgspec.Struct, frozen=True, kw_only=True, tag="tier", tag_field="kind"):
    """The log was copied from another tier's; from this entry on it has the tier id of its header."""

    time_ns: int
    was: str


class CheckpointMade(msgspec.Struct, frozen=True, kw_only=True, tag="checkpoint", tag_field="kind"):
    """There is a checkpoint of the state after entry `number`; `digest` (hex): SHA-256 of its bytes."""

    time_ns: int
    number: int
    digest: str


class StreamAppended(msgspec.Struct, frozen=True, kw_only=True, tag="append", tag_field="kind"):
    """The tier has this stream up to piece `number` (0: it begins), whose bytes have this `digest` (hex).

    `position`: behind the piece's last byte (of 0: nowhere yet). `first`: the lowest number that is kept as an object.
    `locked_from`, `locked_until`: the pieces from this number on were locked until then (seconds of Unix time); None:
    they were not.
    """

    time_ns: int
    stream: str
    number: int
    position: int
    digest: str
    first: int = 1
    locked_from: int = 1
    locked_until: int | None = None


class KeysChanged(msgspec.Struct, frozen=True, kw_only=True, tag="keys", tag_field="kind"):
    """The tier's key objects, by object key, with the SHA-256 (hex) of their bytes."""

    time_ns: int
    objects: dict[str, str]


class HistoryAccepted(msgspec.Struct, frozen=True, kw_only=True, tag="accept", tag_field="kind"):
    """An operator took another tier's older history up to this head (`digest`: hex) for good: what was seen is void."""

    time_ns: int
    tier_id: str
    number: int
    digest: str


class RootChanged(msgspec.Struct, frozen=True, kw_only=True, tag="root", tag_field="kind"):
    """From this entry on, which it signs itself, the root of this id and public key (hex) signs what counts here.

    What came before counts as far as this entry names it: by its previous one, and so on. `bridges`: the bridges that
    were there, each with its SHA-256 (hex), since the entry behind a bridge does not name it. `witnesses`: as of a
    `SnapshotCommitted`; what another tier shows beyond that under an older root is not believed.
    """

    time_ns: int
    key_id: str
    public_key: str
    bridges: tuple[tuple[int, str], ...] = ()
    witnesses: dict[str, tuple[int, str]] = {}


class Bridged(msgspec.Struct, frozen=True, kw_only=True, tag="bridge", tag_field="kind"):
    """An entry with this number was lost and could not be had from elsewhere.

    `stands_for`: digest (hex) that the entry behind it names as its previous one; empty when there is none.
    """

    time_ns: int
    stands_for: str


class Skipped(msgspec.Struct, frozen=True):
    """An entry of a kind that this version does not know, and of which its writer said that it may be skipped."""


Body: TypeAlias = (
    Begun
    | SnapshotCommitted
    | IndexChanged
    | PacksMarked
    | PacksUnmarked
    | SweepBegun
    | PacksSwept
    | SnapshotsForgotten
    | HoldPlaced
    | HoldReleased
    | SnapshotsTagged
    | KeysChanged
    | KeysDestroyed
    | KeksEnded
    | HistoryAccepted
    | TierNamed
    | CheckpointMade
    | StreamAppended
    | RootChanged
    | Bridged
)
_BODY: Final = msgspec.json.Decoder(Body)
_SKIPPABLE: Final = (CheckpointMade, SnapshotsTagged, KeksEnded)
_NOTES: Final = (CheckpointMade, Bridged, Skipped)
_SAID_ELSEWHERE: Final = Begun, SnapshotCommitted, IndexChanged, KeysChanged, HistoryAccepted, TierNamed, *_NOTES
"""The index is made again from the packs, the list of keys from what is there, a tier's id is in each entry behind."""


class Place(NamedTuple):
    """Where an entry stands, as its header says.

    `previous`: digest of the entry before; of entry 1, of the config. `tier_id`: 16 random bytes, the log's own.
    `snapshots`: how many `snapshot` entries there are up to this one, itself included: so what was lost with an
    entry is known from those beside it.
    """

    number: int
    previous: bytes
    tier_id: bytes
    snapshots: int
    follows_consequence: bool = False
    """Whether the entry before says what is known from nowhere else; see `Entry.is_of_consequence`."""


class EntryHeader(NamedTuple):
    """The 96 bytes before an entry's body, in the clear and signed."""

    place: Place
    repository_id: bytes
    flags: int


class Entry(NamedTuple):
    """A decoded entry. `digest`: SHA-256 of its bytes, which the next one names. `signer`: the root that signed it."""

    place: Place
    digest: bytes
    body: Body | Skipped
    signer: Rank = Rank()

    @property
    def number(self) -> int:
        """Its number."""
        return self.place.number

    @property
    def previous(self) -> bytes:
        """The digest that it names as the one of the entry before."""
        return self.place.previous

    @property
    def is_of_consequence(self) -> bool:
        """Whether something is lost with it that nothing else on the tier says, snapshots aside, which are counted."""
        return not isinstance(self.body, _SAID_ELSEWHERE)

    @property
    def snapshots_before(self) -> int:
        """How many snapshots had been committed before this entry."""
        return self.place.snapshots - isinstance(self.body, SnapshotCommitted)


def entry_object_key(number: int) -> str:
    """Where entry `number` lives below a tier's prefix: a thousand in a folder, so that a listing costs the same."""
    digits = f"{number:016d}"
    return f"{LOG_PREFIX}{digits[:FOLDER_DIGITS]}/{digits}"


def entry_number(object_key: str) -> int | None:
    """The number of the entry with this object key, or None where it is no entry's."""
    digits = object_key.rpartition("/")[2]
    if len(digits) == 16 and digits.isascii() and digits.isdigit() and int(digits):
        return int(digits) if object_key == entry_object_key(int(digits)) else None
    return None


def _signed(entry: Buffer) -> bytes:
    return crypto.LABEL + b"log-entry\0" + bytes(entry)


def encode_entry(body: Body, place: Place, root: DomainKeys, randomness: Randomness) -> bytes:
    """The bytes of an entry; no two calls give the same. Raises `LimitExceeded` where it says too much."""
    flags = MAY_BE_SKIPPED if isinstance(body, _SKIPPABLE) else 0
    flags |= FOLLOWS_CONSEQUENCE if place.follows_consequence else 0

    def header_of(length: int) -> bytes:
        number, previous, tier_id, snapshots, _ = place
        return _HEADER.pack(
            LOG_MAGIC, FORMAT_VERSION, flags, length, number, root.repository_id, tier_id, snapshots, previous
        )

    bound = header_of(0)[_BOUND_FROM:]
    sealed = seal_object(msgspec.json.encode(body), root, ObjectKind.LOG_BODY, randomness, context=bound)
    header = header_of(len(sealed))
    check_length_of(LOG_PREFIX, len(header) + len(sealed) + crypto.SIGNATURE_LENGTH)
    return header + sealed + root.signer().sign(_signed(header + sealed))


def decode_entry_header(buffer: Buffer) -> EntryHeader:
    """Read an entry's first 96 bytes. Raises `Damaged`, `UnsupportedFormat`."""
    if len(buffer) < ENTRY_HEADER_LENGTH + crypto.SIGNATURE_LENGTH:
        raise Damaged("log entry is too short", length=len(buffer))
    magic, version, flags, length, number, repository_id, tier_id, snapshots, previous = _HEADER.unpack_from(buffer)
    if magic != LOG_MAGIC:
        raise Damaged("log entry does not start with its magic")
    if version != FORMAT_VERSION or flags & ~(MAY_BE_SKIPPED | FOLLOWS_CONSEQUENCE):
        raise UnsupportedFormat("log entry has an unknown format", version=version, flags=flags)
    if len(buffer) != ENTRY_HEADER_LENGTH + length + crypto.SIGNATURE_LENGTH:
        raise Damaged("log entry has another length than its header says", length=len(buffer))
    place = Place(number, previous, tier_id, snapshots, bool(flags & FOLLOWS_CONSEQUENCE))
    return EntryHeader(place, repository_id, flags)


def split_entries(buffer: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each of several entries one after the other; what is no entry ends them. Proves nothing."""
    view = memoryview(buffer)
    while len(view) >= ENTRY_HEADER_LENGTH:
        magic, _, _, length, number, *_ = _HEADER.unpack_from(view)
        end = ENTRY_HEADER_LENGTH + length + crypto.SIGNATURE_LENGTH
        if magic != LOG_MAGIC or len(view) < end:
            return
        yield number, bytes(view[:end])
        view = view[end:]


def decode_entry(buffer: bytes, number: int | None, ring: KeyRing) -> Entry:
    """Authenticate and read entry `number` (None: whichever it is), signed by a root of this repository.

    Whether `previous` fits, and that root was in force, is for the log to say. Raises `Damaged`, `UnsupportedFormat`,
    `UnknownKey`.
    """
    signed_length = len(buffer) - crypto.SIGNATURE_LENGTH
    root = ring.signing(key_id_in(buffer, ENTRY_HEADER_LENGTH))
    # The signature first: only what is signed may be taken for the work of a later version.
    if root is None or not root.verifier.verifies(buffer[signed_length:], _signed(buffer[:signed_length])):
        raise Damaged("log entry is not signed by the repository's key", number=number)
    header = decode_entry_header(buffer)
    if number not in (None, header.place.number) or header.repository_id != root.repository_id:
        raise Damaged("log entry lies at another entry's place", number=number, says=header.place.number)
    body = unseal_object(
        memoryview(buffer)[ENTRY_HEADER_LENGTH:signed_length],
        ring,
        ObjectKind.LOG_BODY,
        context=buffer[_BOUND_FROM:ENTRY_HEADER_LENGTH],
    )
    try:
        decoded = _BODY.decode(body)
    except msgspec.DecodeError as error:
        # Whoever signed it can encode: this is a kind of entry that a later version writes.
        if header.flags & MAY_BE_SKIPPED:
            return Entry(header.place, crypto.sha256(buffer), Skipped(), root.rank)
        raise UnsupportedFormat("log entry says something that this version does not know", reason=str(error)) from None
    return Entry(header.place, crypto.sha256(buffer), decoded, root.rank)
