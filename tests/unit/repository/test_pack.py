"""Packs: what the builder wrote, and nothing else, is what the reader gives back."""

import hashlib
import threading
from collections.abc import Sequence

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from repository.backup.session import ClassCount, StreamGatherer
from repository.errors import Damaged, LimitExceeded, RepositoryError, UnknownKey
from repository.format import (
    CHUNK_LENGTH_MAX,
    PACK_HEADER_LENGTH,
    SEALED_HEADER_LENGTH,
    TRAILER_LENGTH,
    Compression,
    ContentClass,
    FrameEntry,
    PackKind,
    Purpose,
    encode_frame_header,
    is_named,
    nonce,
    pack_id_in,
    pack_object_key,
)
from repository.keys.key_ring import DomainKeys, KeyRing, new_keys
from repository.stored.compression import Compressor
from repository.stored.pack_builder import BUFFER_LENGTH_MIN, PackWriter, RawFrame, SealedPack
from repository.stored.pack_reader import FrameOpener, PackReader, read_footer, read_frames
from tests.support.repositories import SeededRandomness

KEYS = new_keys(b"r" * 16, randomness=SeededRandomness(1))
RING = KeyRing([KEYS])


class _Pool:
    """Lends as many buffers as are asked for and remembers what came back."""

    def __init__(self, length: int = BUFFER_LENGTH_MIN) -> None:
        self._length = length
        self.lent = 0
        self.returned: list[bytearray] = []

    def acquire(self) -> bytearray:
        self.lent += 1
        return bytearray(self._length)

    def release(self, buffer: bytearray) -> None:
        self.returned.append(buffer)


def _frame(bodies: Sequence[bytes], content_class: ContentClass = ContentClass.TEXT) -> RawFrame:
    raw = b"".join(bodies)
    compression, payload = Compressor().compress(raw, content_class)
    ids = b"".join(KEYS.chunk_id(body) for body in bodies)
    return RawFrame(ids, tuple(map(len, bodies)), len(raw), content_class, compression, payload)


def _packs(frames: Sequence[RawFrame], *, kind: PackKind = PackKind.DATA, seed: int = 2) -> list[tuple[bytes, bytes]]:
    """The packs (id, bytes) that these frames become."""
    made: list[tuple[bytes, bytes]] = []
    writer = PackWriter(
        KEYS, kind, _Pool(), SeededRandomness(seed), lambda pack: made.append((pack.id, bytes(pack.body)))
    )
    for frame in frames:
        writer.add(frame)
    writer.flush()
    return made


def _contents(packs: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    found = []
    for pack_id, body in packs:
        for entry, raw in read_frames(body, RING, pack_id):
            at = 0
            for chunk in entry.chunks():
                found.append(bytes(raw[at : at + chunk.length]))
                at += chunk.length
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=3000), min_size=1, max_size=6), min_size=1, max_size=8))
def test_pack_gives_back_every_chunk(frames: list[list[bytes]]) -> None:
    """Any chunks in any frames come back as they were, in order."""
    assert _contents(_packs([_frame(bodies) for bodies in frames])) == [body for bodies in frames for body in bodies]


def test_pack_id_is_the_blake3_of_its_bytes() -> None:
    """The name under which a pack is stored proves all of its bytes; so does the one that earlier versions gave it."""
    ((pack_id, body),) = _packs([_frame([b"vows"])])
    assert pack_id == blake3(body).digest()
    assert is_named(pack_id, body)
    assert is_named(hashlib.sha256(body).digest(), body)
    assert not is_named(pack_id, body[:-1] + b"?")
    assert pack_id_in(pack_object_key(pack_id)) == pack_id
    assert pack_id_in(f"packs/00/{pack_id.hex()}") is None
    assert pack_id_in("packs/aa/x") is None


def test_pack_says_its_kind() -> None:
    """Packs of trees can be told from packs of contents by their header."""
    ((pack_id, body),) = _packs([_frame([b"page"])], kind=PackKind.TREE)
    assert PackReader(body[:PACK_HEADER_LENGTH], RING, pack_id).header.kind is PackKind.TREE


def test_writer_begins_another_pack_when_one_is_full() -> None:
    """Frames that do not fit go to the next pack; none is lost or split."""
    bodies = [hashlib.shake_256(bytes([number])).digest(5 << 20) for number in range(5)]
    packs = _packs([_frame([body], ContentClass.PHOTO) for body in bodies])
    assert [len(list(read_footer(body, RING, pack_id)[1])) for pack_id, body in packs] == [3, 2]
    assert _contents(packs) == bodies


def test_chunks_of_a_stream_are_taken_at_once() -> None:
    """Whoever gathered a chunk may overwrite it; what is longer than a shared frame is one of its own."""
    made: list[tuple[bytes, bytes]] = []
    writer = PackWriter(
        KEYS, PackKind.DATA, _Pool(), SeededRandomness(4), lambda pack: made.append((pack.id, bytes(pack.body)))
    )
    count = ClassCount()
    gatherer = StreamGatherer(writer, Compressor(), ContentClass.GENERIC, count, length_max=1000)
    bodies = [
        hashlib.shake_256(bytes([number])).digest(length) for number, length in enumerate((400, 600, 1, 2000, 999))
    ]
    for body in bodies:
        block = bytearray(body)
        gatherer.gather(KEYS.chunk_id(body), memoryview(block))
        block[:] = bytes(len(block))
    gatherer.flush()
    gatherer.flush()
    writer.flush()
    assert sorted(_contents(made)) == sorted(bodies)
    assert [len(entry.chunk_lengths) for pack_id, body in made for entry, _ in read_frames(body, RING, pack_id)] == [
        2,
        1,
        2,
    ]
    assert (count.new_chunks, count.new_bytes) == (5, 4000)


def test_packs_of_the_same_content_share_no_byte_of_ciphertext() -> None:
    """Two packs have different salts, so equal chunks cannot be recognised by who sees the bucket."""
    ((_, one),) = _packs([_frame([b"x" * 1000])], seed=3)
    ((_, other),) = _packs([_frame([b"x" * 1000])], seed=4)
    start = PACK_HEADER_LENGTH + SEALED_HEADER_LENGTH
    assert one[start : start + 16] != other[start : start + 16]


def test_writer_takes_frames_from_many_threads() -> None:
    """Threads that add at the same time get places of their own; every chunk is whole."""
    made: list[tuple[bytes, bytes]] = []
    writer = PackWriter(
        KEYS, PackKind.DATA, _Pool(), SeededRandomness(5), lambda pack: made.append((pack.id, bytes(pack.body)))
    )
    bodies = [
        [hashlib.shake_256(bytes([thread, number])).digest(600_000) for number in range(20)] for thread in range(4)
    ]

    def add(mine: list[bytes]) -> None:
        for body in mine:
            writer.add(_frame([body], ContentClass.PHOTO))

    threads = [threading.Thread(target=add, args=(mine,)) for mine in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush()
    assert sorted(_contents(made)) == sorted(body for mine in bodies for body in mine)
    assert len(made) == 3


def test_pack_is_finished_by_the_thread_that_writes_its_last_frame() -> None:
    """A pack is not sealed while a frame of it is still being encrypted, although it is full already."""
    made: list[SealedPack] = []
    writer = PackWriter(KEYS, PackKind.DATA, _Pool(), SeededRandomness(6), made.append)
    big = hashlib.shake_256(b"big").digest(9 << 20)
    entered, go_on = threading.Event(), threading.Event()
    writer.add(_frame([b"first"]))
    builder = writer._open
    assert builder is not None
    encrypt = builder.write

    def slow(entry: FrameEntry, payload: bytes) -> None:
        entered.set()
        assert go_on.wait(60)
        encrypt(entry, payload)

    builder.write = slow  # type: ignore[method-assign, assignment]
    late = threading.Thread(target=writer.add, args=(_frame([big], ContentClass.PHOTO),))
    late.start()
    assert entered.wait(60)
    writer.add(_frame([big], ContentClass.PHOTO))
    assert made == []
    go_on.set()
    late.join()
    assert [len(pack.frames) for pack in made] == [2]
    writer.flush()
    assert [len(pack.frames) for pack in made] == [2, 1]


def test_frame_that_fails_leaves_its_pack_unsealed() -> None:
    """A frame that could not be encrypted never leaves a pack with a hole in it."""
    made: list[SealedPack] = []
    pool = _Pool()
    writer = PackWriter(KEYS, PackKind.DATA, pool, SeededRandomness(7), made.append)
    writer.add(_frame([b"first"]))
    bad = RawFrame(b"i" * 32, (4,), 4, ContentClass.TEXT, Compression.NONE, "no bytes")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        writer.add(bad)
    writer.flush()
    assert made == []


def test_discard_gives_the_buffer_back() -> None:
    """A backup that fails returns the memory of its unfinished pack."""
    pool = _Pool()
    writer = PackWriter(KEYS, PackKind.DATA, pool, SeededRandomness(8), lambda _pack: None)
    writer.discard()
    assert pool.returned == []
    writer.add(_frame([b"x"]))
    writer.discard()
    assert len(pool.returned) == pool.lent == 1


@pytest.mark.parametrize(
    "frame",
    [
        RawFrame(b"", (), 0, ContentClass.TEXT, Compression.NONE, b""),
        RawFrame(b"i" * 32, (CHUNK_LENGTH_MAX + 1,), CHUNK_LENGTH_MAX + 1, ContentClass.TEXT, Compression.ZSTD, b"x"),
        RawFrame(b"i" * 32, (1,), 1, ContentClass.TEXT, Compression.NONE, bytes(CHUNK_LENGTH_MAX + 1)),
    ],
    ids=["no chunk", "too long", "payload too long"],
)
def test_writer_refuses_a_frame_that_the_format_cannot_hold(frame: RawFrame) -> None:
    """A frame beyond the limits is refused before a byte is written."""
    writer = PackWriter(KEYS, PackKind.DATA, _Pool(), SeededRandomness(9), lambda _pack: None)
    with pytest.raises(LimitExceeded):
        writer.add(frame)


def test_writer_refuses_buffers_that_are_too_short() -> None:
    """A pool of buffers in which the longest chunk has no place is a mistake that shows at once."""
    pool = _Pool(1000)
    writer = PackWriter(KEYS, PackKind.DATA, pool, SeededRandomness(10), lambda _pack: None)
    with pytest.raises(LimitExceeded):
        writer.add(_frame([b"x"]))
    assert len(pool.returned) == pool.lent == 1


@pytest.mark.timeout(20)
def test_writer_refuses_a_frame_that_is_longer_than_a_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each next pack would be too small as well, and be sent away empty; what fits is taken before and after it."""
    monkeypatch.setattr("repository.stored.pack_builder.BUFFER_LENGTH_MIN", 1000)
    made: list[int] = []
    pool = _Pool(1000)
    writer = PackWriter(KEYS, PackKind.DATA, pool, SeededRandomness(11), lambda pack: made.append(len(pack.frames)))
    # Its chunks' ids alone are more than the footer has room for.
    many = RawFrame(bytes(32 * 40), (1,) * 40, 40, ContentClass.TEXT, Compression.NONE, bytes(40))
    with pytest.raises(LimitExceeded, match="longer than a pack") as raised:
        writer.add(many)
    assert raised.value.context["length"] > raised.value.context["room"] > 0
    writer.add(_frame([b"x"]))
    with pytest.raises(LimitExceeded, match="longer than a pack"):
        writer.add(many)
    writer.add(_frame([b"y"]))
    writer.flush()
    assert made == [1, 1]
    assert pool.lent == 2


def _one_pack() -> tuple[bytes, bytes, list[FrameEntry]]:
    ((pack_id, body),) = _packs([_frame([b"a" * 500, b"b" * 700]), _frame([bytes(range(256))], ContentClass.PHOTO)])
    return pack_id, body, read_footer(body, RING, pack_id)[1]


def _read_without_the_name(body: bytes, pack_id: bytes, frames: list[FrameEntry]) -> None:
    pack = PackReader(body[:PACK_HEADER_LENGTH], RING, pack_id)
    pack.footer(body, len(body))
    for entry in frames:
        FrameOpener().verified(pack, body[entry.offset : entry.offset + entry.length], entry)


def test_reader_finds_every_flipped_byte() -> None:
    """Any byte of a pack that is flipped is noticed, with or without the name of the whole."""
    pack_id, body, frames = _one_pack()
    for place in range(len(body)):
        flipped = bytearray(body)
        flipped[place] ^= 0x20
        with pytest.raises(Damaged):
            read_footer(bytes(flipped), RING, pack_id)
        with pytest.raises(RepositoryError):
            _read_without_the_name(bytes(flipped), pack_id, frames)


@pytest.mark.parametrize("length", [0, 50, PACK_HEADER_LENGTH, 200, -TRAILER_LENGTH, -1])
def test_reader_refuses_a_pack_that_was_cut_off(length: int) -> None:
    """A pack that lost its end says so."""
    pack_id, body, _ = _one_pack()
    cut = body[:length]
    with pytest.raises(Damaged):
        PackReader(cut[:PACK_HEADER_LENGTH], RING, pack_id).footer(cut, len(cut))


def test_reader_refuses_a_tail_without_the_footer() -> None:
    """The end of a pack that is too short to hold the footer is not mistaken for it."""
    pack_id, body, _ = _one_pack()
    pack = PackReader(body, RING, pack_id)
    with pytest.raises(Damaged, match="does not hold its footer"):
        pack.footer(body[-TRAILER_LENGTH:], len(body))


@pytest.mark.parametrize("raw", [b"vows " * 9999, SeededRandomness(3).token_bytes(1_000_003), b"x"])
def test_frame_is_decrypted_where_it_lies(raw: bytes) -> None:
    """Compressed or not, of any length, it comes out the same; what follows it is left alone. Forgery is noticed."""
    ((pack_id, body),) = _packs([_frame([raw], ContentClass.PHOTO if len(raw) > 99_999 else ContentClass.TEXT)])
    pack, frame = PackReader(body, RING, pack_id), read_footer(body, RING, pack_id)[1][0]
    stored = bytearray(body[frame.offset :])
    assert FrameOpener().open(pack, stored, frame.offset, in_place=True).raw == raw
    assert stored[frame.length :] == body[frame.offset + frame.length :]
    forged = bytearray(body[frame.offset :])
    forged[frame.length - 1] ^= 1
    with pytest.raises(Damaged, match="not authentic"):
        FrameOpener().open(pack, forged, frame.offset, in_place=True)


def test_reader_refuses_frames_in_another_place() -> None:
    """A frame that is authentic, but not the one that belongs there, is refused."""
    pack_id, body, frames = _one_pack()
    pack = PackReader(body, RING, pack_id)
    second = body[frames[1].offset : frames[1].offset + frames[1].length]
    with pytest.raises(Damaged, match="not authentic"):
        FrameOpener().verified(pack, second, frames[0])


def test_reader_refuses_a_frame_of_another_pack() -> None:
    """A frame that was moved from one pack to another is not authentic there."""
    pack_id, body, frames = _one_pack()
    ((_, other),) = _packs([_frame([b"a" * 500, b"b" * 700])], seed=20)
    pack = PackReader(body, RING, pack_id)
    with pytest.raises(Damaged, match="not authentic"):
        FrameOpener().open(pack, other[frames[0].offset :], frames[0].offset)


def test_reader_refuses_chunks_that_are_not_those_of_their_ids() -> None:
    """A writer that stored other bytes than it hashed is found out."""
    lying = RawFrame(b"z" * 32, (4,), 4, ContentClass.TEXT, Compression.NONE, b"lies")
    ((pack_id, body),) = _packs([lying])
    with pytest.raises(Damaged, match="not the one of its id"):
        list(read_frames(body, RING, pack_id))


def test_reader_refuses_a_length_that_the_frame_does_not_have() -> None:
    """A raw length that is not what comes out is noticed, compressed or not."""
    body = b"a" * 1000
    compression, payload = Compressor().compress(body, ContentClass.TEXT)
    assert compression is Compression.ZSTD
    for frame in (
        RawFrame(KEYS.chunk_id(body), (999,), 999, ContentClass.TEXT, compression, payload),
        RawFrame(KEYS.chunk_id(body), (999,), 999, ContentClass.TEXT, Compression.NONE, body),
    ):
        ((pack_id, pack),) = _packs([frame])
        with pytest.raises(Damaged):
            list(read_frames(pack, RING, pack_id))


def test_reader_needs_the_key_of_the_pack() -> None:
    """Another domain's key opens nothing, and it says that the key is missing, not that the pack is damaged."""
    pack_id, body, _ = _one_pack()
    others = KeyRing([new_keys(b"r" * 16, randomness=SeededRandomness(99))])
    with pytest.raises(UnknownKey):
        PackReader(body, others, pack_id)


def test_reader_refuses_a_pack_of_another_repository() -> None:
    """A pack that somebody moved here from another repository with the same key is refused."""
    pack_id, body, _ = _one_pack()
    elsewhere = DomainKeys(b"q" * 16, KEYS.domain, KEYS.generation, KEYS._master, KEYS._identity)
    elsewhere.key_id = KEYS.key_id
    with pytest.raises(Damaged, match="another repository"):
        PackReader(body, KeyRing([elsewhere]), pack_id)


def test_opener_grows_its_buffer_for_long_frames() -> None:
    """Frames longer than the opener's first buffer are opened all the same."""
    body = hashlib.shake_256(b"long").digest(3 << 20)
    assert _contents(_packs([_frame([b"short"]), _frame([body], ContentClass.PHOTO)])) == [b"short", body]


def test_opener_refuses_a_frame_that_is_cut_off() -> None:
    """A frame of which the end is missing is not opened."""
    pack_id, body, frames = _one_pack()
    pack = PackReader(body, RING, pack_id)
    with pytest.raises(Damaged, match="cut off"):
        FrameOpener().open(pack, body[frames[0].offset : frames[0].offset + frames[0].length - 1], frames[0].offset)


def test_opener_refuses_a_frame_that_claims_more_than_a_chunk() -> None:
    """A header that claims a huge frame costs no memory, though a holder of the key wrote it."""
    pack_id, body, frames = _one_pack()
    pack = PackReader(body, RING, pack_id)
    offset = frames[0].offset
    forged = bytearray(body[offset:])
    header = encode_frame_header(frames[0].header._replace(stored_length=0xFFFFFFF0))
    forged[:SEALED_HEADER_LENGTH] = pack.cipher.encrypt(nonce(Purpose.FRAME_HEADER, offset), header, pack.header_bytes)
    with pytest.raises(Damaged, match="out of range"):
        FrameOpener().open(pack, forged, offset)


def test_pack_tells_no_length_of_what_is_in_it() -> None:
    """Who has the bucket and no key reads of a frame neither its length nor its class nor how many chunks it has."""
    _, body, frames = _one_pack()
    for entry in frames:
        assert entry.header.raw_length.to_bytes(4, "little") not in body[PACK_HEADER_LENGTH:]
        assert entry.header.stored_length.to_bytes(4, "little") not in body[PACK_HEADER_LENGTH:]
        assert encode_frame_header(entry.header) not in body
