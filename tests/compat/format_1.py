"""What format 1 is, as digests of fixed inputs: constants, layouts, derivations and encodings, each by name.

Nothing here depends on chance, on a clock or on the version of the compressor. `frozen-1.json` beside it has what they
were when the format was frozen (ADR 0080). `python -m tests.compat.format_1` writes down what is not there yet, and
never changes what is.
"""

import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import msgspec

from repository import format as layouts
from repository.format import (
    Compression,
    ContentClass,
    FrameEntry,
    FrameHeader,
    PackHeader,
    PackKind,
    Purpose,
    chunks_digest,
    encode_footer,
    encode_pack_header,
    is_named,
    nonce,
    pack_object_key,
)
from repository.index.segments import segment_object_key
from repository.keys import crypto, key_ring, passphrase
from repository.keys.key_file import KeyFile, check_digits, kek_id
from repository.keys.key_ring import DomainKeys, KeyRing
from repository.log.tail import TAIL_KEY
from repository.stored import (
    checkpoint,
    config,
    index_segment,
    log_entry,
    object_reading,
    part,
    pin,
    stream_piece,
    tree,
)
from repository.stored.chunker import ChunkerParameters, FastCdcCutter, chunker_seed
from repository.stored.few_rows import encode_few
from repository.stored.index_segment import Location
from repository.stored.manifest_object import manifest_object_key
from repository.stored.pack_builder import PackBuilder, RawFrame
from repository.stored.sealed_object import ObjectKind, seal_object
from repository.stored.snapshot import SnapshotManifest, snapshot_id
from tests.support.repositories import SeededRandomness

FROZEN = Path(__file__).resolve().parent / "frozen-1.json"
REPOSITORY, RUN, TIER = b"R" * 16, b"r" * 16, b"T" * 16
ROOT = DomainKeys(REPOSITORY, "default", 1, b"m" * 32, b"M" * 32)
LATER = DomainKeys(REPOSITORY, "root", 2, b"n" * 32, b"N" * 32)
CHEAP = passphrase.Cost(8 << 10, 1, 1)
NOISE = hashlib.shake_256(b"format 1").digest(5000)


def all_of_it() -> dict[str, Any]:
    """By name, a small value, or the SHA-256 (hex) of bytes."""
    # What is compressed depends on the compressor, which the format does not name by version.
    with patch("repository.stored.sealed_object._packed", lambda plaintext, _: (plaintext, Compression.NONE)):
        return dict(sorted([*_numbers(), *_layouts(), *_structures(), *_derivations(), *_places(), *_encodings()]))


def _digest(body: Any) -> str:
    return hashlib.sha256(bytes(body)).hexdigest()


def _numbers() -> Iterator[tuple[str, Any]]:
    for kind in (Purpose, PackKind, ContentClass, Compression, ObjectKind, tree.Flag):
        yield f"numbers {kind.__name__}", {each.name: each.value for each in kind}
    yield "numbers limits", {**object_reading.LENGTH_MAX, "chunk": layouts.CHUNK_LENGTH_MAX, "page": tree.PAGE_VERSION}
    yield "numbers flags of an entry", [log_entry.MAY_BE_SKIPPED, log_entry.FOLLOWS_CONSEQUENCE]
    yield "numbers of a passphrase", [*passphrase.USUAL_COST, passphrase.WORK_MAX_KIB]
    yield "label", crypto.LABEL.decode()
    magics = (
        layouts.PACK_MAGIC,
        layouts.TRAILER_MAGIC,
        log_entry.LOG_MAGIC,
        stream_piece.PIECE_MAGIC,
        passphrase.MAGIC,
    )
    yield "magics", [each.decode() for each in magics]
    yield "domains", [key_ring.DEFAULT_DOMAIN, key_ring.ROOT_DOMAIN]


def _layouts() -> Iterator[tuple[str, Any]]:
    for module in (layouts, log_entry, stream_piece, index_segment, checkpoint, passphrase, key_ring):
        for name, value in vars(module).items():
            if isinstance(value, struct.Struct):
                yield f"layout {module.__name__.rpartition('.')[2]} {name.strip('_').lower()}", value.format


def _structures() -> Iterator[tuple[str, Any]]:
    """Names of fields are bytes of the format; so is their order. `?`: it may be absent."""
    kinds: list[type[msgspec.Struct]] = [*get_args(log_entry.Body)]
    kinds += [part.Plan, part.PartMade, pin.Pin, pin.PinSeen, SnapshotManifest, config.RepositoryConfig]
    kinds += [
        checkpoint.Checkpoint,
        checkpoint.CheckpointAndEnded,
        checkpoint.Kept,
        checkpoint.KeptStream,
        checkpoint.KeptTags,
    ]
    kinds += [key_ring.WrappedKey, tree.Extra]
    for kind in kinds:
        tag = kind.__struct_config__.tag
        fields = [f"{each.encode_name}{'' if each.required else '?'}" for each in msgspec.structs.fields(kind)]
        yield f"fields {kind.__name__}", [*([f"kind={tag}"] if tag else []), *fields]


def _derivations() -> Iterator[tuple[str, Any]]:
    yield "key id", ROOT.key_id.hex()
    yield "identity id", ROOT.identity_id.hex()
    yield "chunk id", ROOT.chunk_id(b"a chunk").hex()
    yield "chunker seed", chunker_seed(ROOT)
    yield "pack key", _digest(ROOT.pack_key(b"s" * 32))
    yield "object keys", {kind.name: _digest(ROOT.object_key(b"s" * 32, kind)) for kind in ObjectKind}
    yield "salt key", _digest(ROOT.salt_key(ObjectKind.STREAM_PIECE))
    yield "stream id", ROOT.stream_id("main/wal").hex()
    yield "config key", _digest(ROOT.config_key())
    yield "public key", ROOT.signer().public_key.hex()
    yield "public key of a later root", LATER.signer().public_key.hex()
    yield "kek id", kek_id(b"k" * 32).hex()
    yield "check digits of a key file", check_digits(b"k" * 32)
    yield "payload that is wrapped", _digest(ROOT.wrapped_payload())
    yield "kek of a passphrase", passphrase.Passphrase("correct horse", CHEAP, SeededRandomness()).kek_id().hex()
    yield "chunks digest", chunks_digest(b"i" * 64).hex()
    yield "nonce", nonce(Purpose.FRAME, 96).hex()
    cutter = FastCdcCutter(ChunkerParameters(1 << 10, 4 << 10, 16 << 10), chunker_seed(ROOT))
    yield "cuts", cutter.cut(memoryview(hashlib.shake_256(b"cut").digest(60_000)), final=True)


def _places() -> Iterator[tuple[str, Any]]:
    yield (
        "places",
        [
            config.CONFIG_KEY,
            TAIL_KEY,
            key_ring.KEY_PREFIX,
            pack_object_key(b"p" * 32),
            segment_object_key("5" * 64),
            log_entry.entry_object_key(12_345),
            manifest_object_key("a" * 32),
            checkpoint.checkpoint_object_key(12_345, b"d" * 32),
            stream_piece.piece_object_key(b"s" * 16, 12_345),
            part.pending_object_key(RUN, part.PLAN),
            part.pending_object_key(RUN, part.part_place(3)),
            pin.pin_object_key(RUN),
            pin.seen_object_key(RUN),
        ],
    )


def _encodings() -> Iterator[tuple[str, Any]]:
    header = PackHeader(PackKind.TREE, REPOSITORY, ROOT.key_id, b"s" * 32)
    yield "pack header", _digest(encode_pack_header(header))
    ids = b"".join(ROOT.chunk_id(bytes([each])) for each in range(3))
    frame = FrameHeader(300, 316, 3, ContentClass.PHOTO, Compression.NONE, chunks_digest(ids))
    yield "footer", _digest(encode_footer([FrameEntry(96, frame, ids, (100, 100, 100))]))
    builder = PackBuilder(ROOT, PackKind.DATA, b"s" * 32, bytearray(1 << 16))
    raw = RawFrame(ids, (1000, 1500, 2500), 5000, ContentClass.PHOTO, Compression.NONE, NOISE)
    entry = builder.reserve(raw)
    assert entry is not None
    builder.write(entry, NOISE)
    sealed = builder.seal()
    yield "pack", _digest(sealed.body)
    yield "name of a pack", hashlib.sha256(sealed.body).hexdigest()  # of old; it is read for ever
    assert is_named(hashlib.sha256(sealed.body).digest(), sealed.body)
    yield "name of a pack since ADR 0103", sealed.id.hex()
    places = [(ROOT.chunk_id(bytes([each])), Location(b"p" * 32, 96, 400, each * 10, 10)) for each in range(20)]
    yield "segment", _digest(encode_few(places))
    for kind in ObjectKind:
        yield f"sealed {kind.name}", _digest(seal_object(NOISE, ROOT, kind, SeededRandomness(1), context=b"c"))
    for name, provider in (
        ("key file", KeyFile([b"k" * 32], SeededRandomness(6))),
        ("passphrase", passphrase.Passphrase("correct horse", CHEAP, SeededRandomness(6))),
    ):
        yield f"key object of a {name}", _digest(key_ring.wrap(ROOT, provider).encode())
    yield "config", _digest(config.encode_config(config.make_config(ROOT, ChunkerParameters()), ROOT))
    manifest = SnapshotManifest(time_ns=1, run_token="t", label="photos", root=("ab" * 32,), domain="cd" * 16)
    yield "manifest", _digest(manifest.encode())
    yield "snapshot id", snapshot_id(REPOSITORY, manifest.encode()).hex()
    row = (0o100644, 1, 2, 3, 4, 5, 6, 1, 7)
    extra = {0: tree.Extra(depth=1, target=b"t", flags=8, xattrs=((b"user.a", b"b"),))}
    yield "page", _digest(tree.encode_page(tree.Page([b"a"], tree.columns_of([row]), [b"i" * 32], extra)))
    yield "extended attributes", _digest(tree.encode_xattrs(((b"user.a", b"b"),)))
    yield "extents", _digest(tree.encode_extents([(0, 5), (10, 7)]))
    for body in _bodies(manifest):
        place = log_entry.Place(7, b"p" * 32, TIER, 4, True)
        name = type(body).__name__
        yield f"body {name}", msgspec.json.encode(body).decode()
        yield f"entry {name}", _digest(log_entry.encode_entry(body, place, ROOT, SeededRandomness(2)))
    ring = KeyRing([ROOT])
    piece = {"name": "main/wal", "number": 2, "position": 9, "previous": b"p" * 32}
    yield "piece", _digest(stream_piece.encode_piece(NOISE, **piece, keys=ROOT, ring=ring))  # type: ignore[arg-type]
    yield "beginning of a stream", stream_piece.beginning(REPOSITORY, ROOT.stream_id("main/wal")).hex()
    kept = _checkpoint(manifest)
    yield "checkpoint", _digest(checkpoint.encode_checkpoint(kept, ROOT, SeededRandomness(3)))
    fields = {name: getattr(kept, name) for name in kept.__struct_fields__}
    ended = checkpoint.CheckpointAndEnded(**fields, ended_keks=("34" * 16,))
    yield "checkpoint and ended", _digest(checkpoint.encode_checkpoint(ended, ROOT, SeededRandomness(3)))
    plan = part.Plan(time_ns=1, run_token="t", label="l", parts=(b"a", b"b"), domain="default", lock_days={"a": 1})
    made = part.PartMade(name=b"a", manifest=manifest.encode(), packs=b"p" * 32)
    yield "plan", _digest(part.encode_left(plan, RUN, part.PLAN, ROOT, SeededRandomness(4)))
    yield "part", _digest(part.encode_left(made, RUN, part.part_place(0), ROOT, SeededRandomness(4)))
    held = pin.Pin(beat=3, time_ns=1, holder="restore", snapshots=(b"s" * 16,))
    yield "pin", _digest(pin.encode_pin(held, RUN, ROOT, SeededRandomness(5)))
    yield "look at a pin", _digest(pin.encode_pin(pin.PinSeen(beat=3, at_ns=2), RUN, ROOT, SeededRandomness(5)))


def _bodies(manifest: SnapshotManifest) -> Iterator[log_entry.Body]:
    """One of each kind."""
    digest, heads = "ab" * 32, {"54" * 16: (3, "cd" * 32)}
    yield log_entry.Begun(time_ns=1)
    yield log_entry.SnapshotCommitted(
        time_ns=1, id="12" * 16, manifest=msgspec.Raw(manifest.encode()), segments=(digest,), witnesses=heads,
        locked_until=5,
    )  # fmt: skip
    yield log_entry.IndexChanged(time_ns=1, added=(digest,), replaced=(digest,), reason="compacted")
    yield log_entry.PacksMarked(time_ns=1, packs=(digest,))
    yield log_entry.PacksUnmarked(time_ns=1, packs=(digest,))
    yield log_entry.SweepBegun(time_ns=1, packs=(digest,))
    yield log_entry.PacksSwept(time_ns=1, packs=(digest,))
    yield log_entry.SnapshotsForgotten(time_ns=1, snapshots=("12" * 16,), reason="rules")
    yield log_entry.HoldPlaced(time_ns=1, name="court", snapshots=("12" * 16,), reason="matter 7")
    yield log_entry.HoldReleased(time_ns=1, name="court")
    yield log_entry.SnapshotsTagged(time_ns=1, snapshots=("12" * 16,), tags=("kept",), revision=2)
    yield log_entry.KeysChanged(time_ns=1, objects={"keys/x": digest})
    yield log_entry.KeysDestroyed(time_ns=1, key_ids=("12" * 16,))
    yield log_entry.KeksEnded(time_ns=1, keks=("34" * 16,))
    yield log_entry.HistoryAccepted(time_ns=1, tier_id="54" * 16, number=3, digest=digest)
    yield log_entry.TierNamed(time_ns=1, was="54" * 16)
    yield log_entry.CheckpointMade(time_ns=1, number=3, digest=digest)
    yield log_entry.StreamAppended(time_ns=1, stream="main/wal", number=2, position=9, digest=digest, locked_until=5)
    yield log_entry.RootChanged(time_ns=1, key_id="12" * 16, public_key=digest, bridges=((3, digest),), witnesses=heads)
    yield log_entry.Bridged(time_ns=1, stands_for=digest)


def _checkpoint(manifest: SnapshotManifest) -> checkpoint.Checkpoint:
    return checkpoint.Checkpoint(
        time_ns=1,
        number=7,
        digest=b"d" * 32,
        tier_id=TIER,
        snapshot_count=1,
        snapshots=(checkpoint.Kept(b"i" * 16, 3, 5, "t", manifest.encode()),),
        forgotten={"12" * 16: "t"},
        segments={"ab" * 32: 3},
        replaced=b"r" * 32,
        marked=b"m" * 32,
        swept=b"s" * 32,
        key_objects={"keys/x": "ab" * 32},
        destroyed_keys=("12" * 16,),
        holds={"court": ("12" * 16,)},
        witnesses={"54" * 16: (3, b"w" * 32)},
        bridged=(2,),
        streams={"main/wal": checkpoint.KeptStream(2, 9, b"d" * 32, 1, 1, None)},
        released_holds=("old",),
        tags={"12" * 16: checkpoint.KeptTags(2, ("kept",))},
    )


def main() -> int:
    """Write down what is new."""
    known = json.loads(FROZEN.read_text()) if FROZEN.exists() else {}
    FROZEN.write_text(json.dumps({**all_of_it(), **known}, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
