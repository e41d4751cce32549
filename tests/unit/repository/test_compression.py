"""Classes of content, and compression that never costs more than it saves."""

import hashlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from repository.errors import Damaged
from repository.format import CHUNK_LENGTH_MAX, Compression, ContentClass
from repository.stored.compression import (
    SAMPLED_FROM,
    Compressor,
    Decompressor,
    class_of_content,
    class_of_name,
)

RANDOM = hashlib.shake_256(b"noise").digest(300_000)
TEXT = b"".join(b"%d,guest %d,vegetarian\n" % (number, number * 7) for number in range(9000))


@given(st.binary(max_size=5000), st.sampled_from(ContentClass))
def test_compression_gives_back_the_same_bytes_and_never_more(raw: bytes, content_class: ContentClass) -> None:
    """Whatever is compressed comes back equal, and what is stored is never longer than the raw bytes."""
    compression, stored = Compressor().compress(raw, content_class)
    assert len(stored) <= len(raw)
    assert Decompressor().decompress(stored, compression, len(raw)) == raw


@pytest.mark.parametrize("content_class", list(ContentClass))
def test_incompressible_bytes_are_stored_as_they_are(content_class: ContentClass) -> None:
    """Random bytes, as in photos, come through untouched, without a copy."""
    compression, stored = Compressor().compress(RANDOM, content_class)
    assert compression is Compression.NONE
    assert stored is RANDOM


def test_text_is_compressed() -> None:
    """Table-like text becomes at most 30% of its length."""
    compression, stored = Compressor().compress(TEXT, ContentClass.TEXT)
    assert compression is Compression.ZSTD
    assert len(stored) < 0.3 * len(TEXT)


def test_sample_takes_a_chunk_that_is_compressible_in_part() -> None:
    """A chunk with a compressible middle is not taken for incompressible: the sample looks there, too."""
    raw = RANDOM[:80_000] + bytes(100_000) + RANDOM[80_000:160_000]
    assert len(raw) > SAMPLED_FROM
    compression, stored = Compressor().compress(raw, ContentClass.PHOTO)
    assert compression is Compression.ZSTD
    assert len(stored) < 170_000


def test_compression_that_saves_next_to_nothing_is_not_kept() -> None:
    """A saving of less than 1/128 is not worth decompressing."""
    raw = RANDOM[:60_000] + bytes(300)
    assert Compressor().compress(raw, ContentClass.GENERIC) == (Compression.NONE, raw)


def test_level_zero_means_never() -> None:
    """A caller can turn compression off for a class, and only for that class."""
    compressor = Compressor({ContentClass.TEXT: 0})
    assert compressor.compress(TEXT, ContentClass.TEXT) == (Compression.NONE, TEXT)
    assert compressor.compress(TEXT, ContentClass.DOCUMENT)[0] is Compression.ZSTD


def test_level_is_the_callers_choice() -> None:
    """A higher level stores less, and contexts are used again."""
    fast, slow = Compressor({ContentClass.TEXT: 1}), Compressor({ContentClass.TEXT: 12})
    names = [hashlib.sha256(b"%d" % number).hexdigest()[: 4 + number % 9] for number in range(800)]
    rows = [
        f"{names[n * 31 % 800]} {names[n * 17 % 800]},{n * n % 97},{names[n % 800]}@example.org" for n in range(9000)
    ]
    prose = "\n".join(rows).encode()
    sizes = [len(each.compress(prose, ContentClass.TEXT)[1]) for each in (fast, slow, fast)]
    assert sizes[1] < sizes[0] == sizes[2]


@pytest.mark.parametrize("length", [len(TEXT) - 1, len(TEXT) + 1, CHUNK_LENGTH_MAX + 1])
def test_decompressor_refuses_another_length(length: int) -> None:
    """A frame whose header lies about the raw length is damaged, and claims no memory."""
    compression, stored = Compressor().compress(TEXT, ContentClass.TEXT)
    with pytest.raises(Damaged):
        Decompressor().decompress(stored, compression, length)
    with pytest.raises(Damaged):
        Decompressor().decompress(TEXT, Compression.NONE, length)


def test_decompressor_refuses_what_is_no_frame() -> None:
    """Bytes that are not zstd's, and frames that are cut off, are damaged."""
    _, stored = Compressor().compress(TEXT, ContentClass.TEXT)
    for broken in (b"no zstd frame at all", bytes(stored)[:-5], b""):
        with pytest.raises(Damaged):
            Decompressor().decompress(broken, Compression.ZSTD, len(TEXT))


def test_decompressor_does_not_believe_a_bomb() -> None:
    """A small frame that unfolds to more than its header says is refused before it is unfolded."""
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(50 << 20))
    with pytest.raises(Damaged):
        Decompressor().decompress(bomb, Compression.ZSTD, 1000)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"IMG_0001.JPG", ContentClass.PHOTO),
        (b"raw.CR2", ContentClass.PHOTO),
        (b"guests.csv", ContentClass.TEXT),
        (b"contract.pdf", ContentClass.DOCUMENT),
        (b"a.tar", None),
        (b"no suffix", None),
        (b"trailing.", None),
        (b"\xff.\xfe", None),
    ],
)
def test_class_of_name_reads_the_suffix(name: bytes, expected: ContentClass | None) -> None:
    """The suffix tells the class, whatever its case; an unknown one says nothing."""
    assert class_of_name(name) is expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe1", ContentClass.PHOTO),
        (b"\x00\x00\x00\x18ftypheic", ContentClass.PHOTO),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", ContentClass.PHOTO),
        (b"RIFF\x00\x00\x00\x00WAVE\x00", ContentClass.GENERIC),
        (b"%PDF-1.7", ContentClass.DOCUMENT),
        (b"PK\x03\x04", ContentClass.DOCUMENT),
        ("Für immer".encode(), ContentClass.TEXT),
        ("Für immer – ja".encode()[:-4], ContentClass.TEXT),
        ("ü".encode()[:1], ContentClass.TEXT),
        (b"latin \xfc and more text", ContentClass.GENERIC),
        (b"\x00\x01", ContentClass.GENERIC),
        (b"", ContentClass.GENERIC),
    ],
)
def test_class_of_content_reads_the_first_bytes(head: bytes, expected: ContentClass) -> None:
    """Magic bytes tell the class; text may be cut within a character."""
    assert class_of_content(head) is expected
