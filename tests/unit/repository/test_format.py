"""The layouts of a pack: what is written is read back, what was changed is noticed."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repository import format as layouts
from repository.errors import Damaged, LimitExceeded, RepositoryError, UnsupportedFormat
from repository.format import (
    CHUNK_LENGTH_MAX,
    FRAME_HEADER_LENGTH,
    PACK_HEADER_LENGTH,
    TRAILER_LENGTH,
    ChunkEntry,
    Compression,
    ContentClass,
    FrameEntry,
    FrameHeader,
    PackHeader,
    PackKind,
    Purpose,
    Trailer,
    chunks_digest,
    decode_footer,
    decode_frame_header,
    decode_pack_header,
    decode_trailer,
    encode_footer,
    encode_frame_header,
    encode_pack_header,
    encode_trailer,
    footer_associated_data,
    nonce,
    pack_object_key,
)

HEADER = PackHeader(PackKind.TREE, b"r" * 16, b"k" * 16, b"s" * 32)

pack_headers = st.builds(
    PackHeader,
    st.sampled_from(PackKind),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
)
frame_headers = st.builds(
    FrameHeader,
    st.integers(0, CHUNK_LENGTH_MAX),
    st.integers(16, 2**32 - 1),
    st.integers(1, 2**16 - 1),
    st.sampled_from(ContentClass),
    st.sampled_from(Compression),
    st.binary(min_size=16, max_size=16),
)


@st.composite
def frame_tables(draw: st.DrawFn) -> list[FrameEntry]:
    """Frames as a writer makes them, one after the other."""
    offset = PACK_HEADER_LENGTH
    frames = []
    for _ in range(draw(st.integers(0, 4))):
        lengths = tuple(draw(st.lists(st.integers(0, 4000), min_size=1, max_size=5)))
        ids = draw(st.binary(min_size=32 * len(lengths), max_size=32 * len(lengths)))
        header = FrameHeader(
            sum(lengths),
            draw(st.integers(16, 5000)),
            len(lengths),
            draw(st.sampled_from(ContentClass)),
            draw(st.sampled_from(Compression)),
            chunks_digest(ids),
        )
        frames.append(FrameEntry(offset, header, ids, lengths))
        offset += frames[-1].length
    return frames


@given(pack_headers)
def test_pack_header_round_trips(header: PackHeader) -> None:
    """A pack header is read back equal, from 96 bytes."""
    encoded = encode_pack_header(header)
    assert len(encoded) == PACK_HEADER_LENGTH
    assert decode_pack_header(encoded) == header


@given(frame_headers)
def test_frame_header_round_trips(header: FrameHeader) -> None:
    """A frame header is read back equal, from 32 bytes, at any offset."""
    encoded = encode_frame_header(header)
    assert len(encoded) == FRAME_HEADER_LENGTH
    assert decode_frame_header(b"xyz" + encoded, 3) == header


@given(frame_tables())
def test_footer_round_trips(frames: list[FrameEntry]) -> None:
    """A frame table is read back equal."""
    assert decode_footer(encode_footer(frames)) == frames


def test_layouts_are_the_ones_of_the_specification() -> None:
    """The bytes of format 1 never change."""
    assert encode_pack_header(HEADER).hex() == (
        "575342504143 4b31 0100 0000 01 000000".replace(" ", "") + "72" * 16 + "6b" * 16 + "73" * 32 + "00" * 16
    )
    frame = FrameHeader(2, 18, 3, ContentClass.DOCUMENT, Compression.ZSTD, b"d" * 16)
    assert encode_frame_header(frame).hex() == "020000001200000003000301" + "64" * 16 + "00" * 4
    assert encode_trailer(Trailer(96, 24)).hex() == "60000000000000001800000000000000" + b"WSBPEND1".hex()
    assert nonce(Purpose.FOOTER, 5).hex() == "020000000500000000000000"
    assert footer_associated_data(b"a", b"b") == b"ab"
    assert pack_object_key(b"\xab" * 32) == "packs/ab/" + "ab" * 32
    assert chunks_digest(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc949"  # BLAKE3 of nothing


def test_numbers_are_the_ones_of_the_specification() -> None:
    """Lengths, limits and codes of format 1 never change."""
    lengths = {name: getattr(layouts, name) for name in dir(layouts) if name.endswith(("_LENGTH", "_MAX", "_VERSION"))}
    del lengths["SHARED_FRAME_LENGTH_MAX"], lengths["STREAM_FRAME_LENGTH_MAX"]  # choices of the writer
    assert lengths == {
        "CHUNKS_PER_FRAME_MAX": 65_535,
        "CHUNK_LENGTH_MAX": 16 * 1024 * 1024,
        "FOOTER_FRAME_LENGTH": 36,
        "FOOTER_PREFIX_LENGTH": 8,
        "FORMAT_VERSION": 1,
        "FRAME_HEADER_LENGTH": 32,
        "ID_LENGTH": 32,
        "KEY_ID_LENGTH": 16,
        "NONCE_LENGTH": 12,
        "PACK_HEADER_LENGTH": 96,
        "PACK_LENGTH_MAX": 1024 * 1024 * 1024,
        "REPOSITORY_ID_LENGTH": 16,
        "SALT_LENGTH": 32,
        "SEALED_HEADER_LENGTH": 48,
        "TAG_LENGTH": 16,
        "TRAILER_LENGTH": 24,
    }
    assert {purpose.name: purpose.value for purpose in Purpose} == {
        "FRAME": 1,
        "FOOTER": 2,
        "OBJECT": 3,
        "FRAME_HEADER": 4,
    }
    assert {kind.name: kind.value for kind in PackKind} == {"DATA": 0, "TREE": 1}
    classes = {each.name: each.value for each in ContentClass}
    assert classes == {"GENERIC": 0, "PHOTO": 1, "TEXT": 2, "DOCUMENT": 3, "TREE": 4}
    assert {each.name: each.value for each in Compression} == {"NONE": 0, "ZSTD": 1}


def test_longest_chunk_and_shortest_frame_are_taken() -> None:
    """The limits themselves are within."""
    header = FrameHeader(CHUNK_LENGTH_MAX, 16, 1, ContentClass.GENERIC, Compression.NONE, b"d" * 16)
    assert decode_frame_header(encode_frame_header(header)) == header


def test_frame_entry_lists_its_chunks() -> None:
    """Ids and lengths come out as pairs, in order."""
    header = FrameHeader(7, 23, 2, ContentClass.GENERIC, Compression.NONE, b"d" * 16)
    entry = FrameEntry(96, header, b"a" * 32 + b"b" * 32, (3, 4))
    assert list(entry.chunks()) == [ChunkEntry(b"a" * 32, 3), ChunkEntry(b"b" * 32, 4)]
    assert entry.length == 48 + 23


@pytest.mark.parametrize(
    ("offset", "value", "error"),
    [
        (0, b"X", Damaged),  # magic
        (8, b"\x02", UnsupportedFormat),  # format
        (10, b"\x01", UnsupportedFormat),  # flags
        (12, b"\x09", Damaged),  # kind
        (14, b"\x01", Damaged),  # reserved
        (95, b"\x01", Damaged),  # reserved at the end
    ],
)
def test_pack_header_is_refused_when_a_field_is_unknown(offset: int, value: bytes, error: type[Exception]) -> None:
    """Nothing is guessed: reserved bytes are zero, versions are known."""
    encoded = bytearray(encode_pack_header(HEADER))
    encoded[offset : offset + 1] = value
    with pytest.raises(error):
        decode_pack_header(encoded)


def test_pack_header_is_refused_when_short() -> None:
    """95 bytes are no header."""
    with pytest.raises(Damaged, match="shorter than its header"):
        decode_pack_header(encode_pack_header(HEADER)[:-1])


@pytest.mark.parametrize(
    "header",
    [
        FrameHeader(1, 17, 0, ContentClass.GENERIC, Compression.NONE, b"d" * 16),  # no chunk
        FrameHeader(1, 15, 1, ContentClass.GENERIC, Compression.NONE, b"d" * 16),  # shorter than the tag
        FrameHeader(CHUNK_LENGTH_MAX + 1, 17, 1, ContentClass.GENERIC, Compression.NONE, b"d" * 16),
    ],
)
def test_frame_header_is_refused_when_out_of_range(header: FrameHeader) -> None:
    """A header that no writer makes is damage."""
    with pytest.raises(Damaged, match="out of range"):
        decode_frame_header(encode_frame_header(header))


@pytest.mark.parametrize("offset", [10, 11])
def test_frame_header_is_refused_when_class_or_compression_is_unknown(offset: int) -> None:
    """Classes and compressions are an enumeration."""
    header = FrameHeader(1, 17, 1, ContentClass.GENERIC, Compression.NONE, b"d" * 16)
    encoded = bytearray(encode_frame_header(header))
    encoded[offset] = 200
    with pytest.raises(Damaged, match="unknown"):
        decode_frame_header(encoded)


@pytest.mark.parametrize("offset", [-1, 1, 40])
def test_frame_header_is_refused_when_outside_the_buffer(offset: int) -> None:
    """An offset from a table is not believed."""
    header = FrameHeader(1, 17, 1, ContentClass.GENERIC, Compression.NONE, b"d" * 16)
    with pytest.raises(Damaged, match="shorter than its header"):
        decode_frame_header(encode_frame_header(header), offset)


def test_frame_header_is_refused_when_reserved_bytes_are_set() -> None:
    """Room is zero."""
    header = FrameHeader(1, 17, 1, ContentClass.GENERIC, Compression.NONE, b"d" * 16)
    with pytest.raises(Damaged, match="out of range"):
        decode_frame_header(encode_frame_header(header)[:-1] + b"\1")


def test_frame_header_does_not_take_a_number_that_does_not_fit() -> None:
    """A frame of four gigabytes is refused, not cut off."""
    header = FrameHeader(1, 2**32, 1, ContentClass.GENERIC, Compression.NONE, b"d" * 16)
    with pytest.raises(LimitExceeded):
        encode_frame_header(header)


def test_trailer_round_trips_and_knows_its_place() -> None:
    """Footer and trailer end exactly where the pack ends."""
    trailer = Trailer(footer_offset=96, footer_length=24)
    encoded = encode_trailer(trailer)
    assert len(encoded) == TRAILER_LENGTH
    assert decode_trailer(b"before" + encoded, 96 + 24 + 24) == trailer
    for length in (96 + 24 + 23, 96 + 24 + 25):
        with pytest.raises(Damaged, match="outside"):
            decode_trailer(encoded, length)


@pytest.mark.parametrize(
    ("encoded", "length", "message"),
    [
        (b"short", 5, "shorter"),
        (encode_trailer(Trailer(96, 24))[:-1] + b"X", 144, "magic"),
        (encode_trailer(Trailer(96, 24))[:12] + b"X" + encode_trailer(Trailer(96, 24))[13:], 144, "magic"),
        (encode_trailer(Trailer(95, 25)), 144, "outside"),  # inside the header
        (encode_trailer(Trailer(105, 15)), 144, "outside"),  # shorter than a tag
    ],
)
def test_trailer_is_refused_when_malformed(encoded: bytes, length: int, message: str) -> None:
    """A trailer that no writer makes is damage."""
    with pytest.raises(Damaged, match=message):
        decode_trailer(encoded, length)


def _two_frames() -> list[FrameEntry]:
    frames = []
    offset = PACK_HEADER_LENGTH
    for ordinal in range(2):
        ids = bytes([ordinal]) * 64
        header = FrameHeader(9, 25, 2, ContentClass.GENERIC, Compression.NONE, chunks_digest(ids))
        frames.append(FrameEntry(offset, header, ids, (4, 5)))
        offset += frames[-1].length
    return frames


def test_footer_is_refused_when_frames_are_out_of_order() -> None:
    """Ordinals and offsets count up without a gap."""
    first, second = _two_frames()
    for frames in ([second, first], [first, second._replace(offset=second.offset + 1)]):
        with pytest.raises(Damaged, match="out of order"):
            decode_footer(encode_footer(frames))


def test_footer_is_refused_when_lengths_or_ids_contradict_the_header() -> None:
    """The sum of the chunks is the frame; the digest is that of the ids."""
    first, _ = _two_frames()
    for frame in (first._replace(chunk_lengths=(4, 6)), first._replace(chunk_ids=b"z" * 64)):
        with pytest.raises(Damaged, match="contradicts"):
            decode_footer(encode_footer([frame]))


def test_footer_is_refused_when_its_counts_lie() -> None:
    """Counts are checked against the length before anything is read by them."""
    encoded = encode_footer(_two_frames())
    for frames, chunks in ((3, 4), (2, 5), (2**32 - 1, 2**32 - 1)):
        with pytest.raises(Damaged, match="another length"):
            decode_footer(struct.pack("<II", frames, chunks) + encoded[8:])
    with pytest.raises(Damaged, match="shorter than its counts"):
        decode_footer(b"1234567")


def test_footer_is_refused_when_a_chunk_belongs_to_no_frame() -> None:
    """Each chunk of the table is some frame's."""
    first, _ = _two_frames()
    encoded = encode_footer([first])
    ids_end = 8 + 36 + 64
    more = struct.pack("<II", 1, 3) + encoded[8:ids_end] + b"q" * 32 + encoded[ids_end:] + b"\1\0\0\0"
    with pytest.raises(Damaged, match="belong to no frame"):
        decode_footer(more)


@given(frame_tables(), st.data())
def test_footer_is_never_read_as_another_one_when_a_byte_changes(frames: list[FrameEntry], data: st.DataObject) -> None:
    """A changed byte is refused, or shows in what is read: it is never silently repaired."""
    encoded = bytearray(encode_footer(frames))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        changed = decode_footer(encoded)
    except RepositoryError:
        return
    assert encode_footer(changed) == bytes(encoded)
