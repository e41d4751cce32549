"""Classes of content, and compression that never costs more than it saves."""

import hashlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from repository.errors import Damaged
from repository.format import CHUNK_LENGTH_MAX, Compression, ContentClass
from repository.stored import compression
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
    how, stored = Compressor().compress(raw, content_class)
    assert len(stored) <= len(raw)
    assert Decompressor().decompress(stored, how, len(raw)) == raw


@pytest.mark.parametrize("content_class", list(ContentClass))
def test_incompressible_bytes_are_stored_as_they_are(content_class: ContentClass) -> None:
    """Random bytes, as in photos, come through untouched, without a copy."""
    how, stored = Compressor().compress(RANDOM, content_class)
    assert how is Compression.NONE
    assert stored is RANDOM


def test_text_is_compressed() -> None:
    """Table-like text becomes at most 30% of its length."""
    how, stored = Compressor().compress(TEXT, ContentClass.TEXT)
    assert how is Compression.ZSTD
    assert len(stored) < 0.3 * len(TEXT)


def test_sample_takes_a_chunk_that_is_compressible_in_part() -> None:
    """A chunk with a compressible middle is not taken for incompressible: the sample looks there, too."""
    raw = RANDOM[:80_000] + bytes(100_000) + RANDOM[80_000:160_000]
    assert len(raw) > SAMPLED_FROM
    how, stored = Compressor().compress(raw, ContentClass.PHOTO)
    assert how is Compression.ZSTD
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


def _rows_of(words_at_once: int) -> bytes:
    """Rows as a database's pages have them: twelve words each that were there before, so many of them in a row."""
    noise = hashlib.shake_256(b"rows").digest(400_000)
    letters = noise.translate(bytes(b"abcdefghilmnoprstu"[number % 18] for number in range(256)))
    words = [letters[8 * number : 8 * number + 4 + number % 5] for number in range(256)]
    phrases = [b" ".join(words[noise[at + n]] for n in range(words_at_once)) for at in range(3000)]
    count = 12 // words_at_once
    picks = [int.from_bytes(noise[at : at + 2], "little") % len(phrases) for at in range(0, 24_000 * count, 2)]
    rows = (b" ".join(phrases[pick] for pick in picks[at : at + count]) for at in range(0, len(picks), count))
    return b"".join(number.to_bytes(8, "little") + b"\6\0\2\x09\x18\0" + row for number, row in enumerate(rows))


@pytest.mark.parametrize(("words_at_once", "is_short"), [(1, True), (4, False)])
def test_a_long_frame_is_packed_by_what_packs_a_sample_of_it_best(
    words_at_once: int, is_short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the two tunings is the better one for some pages; a short frame tries none."""
    raw = _rows_of(words_at_once)
    assert len(raw) > compression.TRIED_FROM
    chosen = Compressor().compress(raw, ContentClass.GENERIC)[1]
    part = raw[: compression.TRIED_FROM - 1]
    chosen_of_part = Compressor().compress(part, ContentClass.GENERIC)[1]

    monkeypatch.setattr(compression, "_FOR_SHORT_MATCHES", {})
    usual = Compressor().compress(raw, ContentClass.GENERIC)[1]
    assert chosen_of_part == Compressor().compress(part, ContentClass.GENERIC)[1]
    assert (len(chosen) < len(usual)) == is_short
    assert is_short or chosen == usual


@pytest.mark.parametrize("length", [len(TEXT) - 1, len(TEXT) + 1, CHUNK_LENGTH_MAX + 1])
def test_decompressor_refuses_another_length(length: int) -> None:
    """A frame whose header lies about the raw length is damaged, and claims no memory."""
    how, stored = Compressor().compress(TEXT, ContentClass.TEXT)
    with pytest.raises(Damaged):
        Decompressor().decompress(stored, how, length)
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
