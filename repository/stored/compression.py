"""How content is classified, and when and how hard it is compressed.

Promise: `Compressor.compress` never returns more than it was given, and what it returns is restored
exactly by `Decompressor.decompress` of the same `Compression`. Levels are chosen per content class;
what looks incompressible by a sample of 12 KiB is stored as it is, so that photos cost no time here.
Neither class is thread-safe: each worker has its own, because a zstd context is reused from call to call.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol, cast

import zstandard

from repository.errors import Damaged
from repository.format import CHUNK_LENGTH_MAX, Buffer, Compression, ContentClass

DEFAULT_LEVELS: Final[dict[ContentClass, int]] = {
    ContentClass.GENERIC: 3,
    ContentClass.PHOTO: 1,
    ContentClass.TEXT: 3,
    ContentClass.DOCUMENT: 3,
    ContentClass.TREE: 3,
}
"""zstd levels; measured on table-like text, level 3 is where more time stops paying."""


class _Tuning(NamedTuple):
    """zstd's `strategy`, `minMatch`, `hashLog` (of its table, or of long matches) and `chainLog` (of short ones)."""

    strategy: int
    match_min: int
    hash_log: int
    chain_log: int


_TUNED: Final = {
    ContentClass.TEXT: _Tuning(zstandard.STRATEGY_FAST, 7, 19, 6),
    ContentClass.GENERIC: _Tuning(zstandard.STRATEGY_DFAST, 5, 18, 18),
}
"""Classes whose default level is tuned for long frames. In text short matches cost more to say than they save, and one
table of the long ones finds nearly all. In the rows of a database's pages they do not.
"""
_FOR_SHORT_MATCHES: Final = {ContentClass.GENERIC: _Tuning(zstandard.STRATEGY_FAST, 5, 19, 6)}
"""Tried beside it, on a sample of each long frame. In an index's pages, whose keys are short and seldom repeat, one
table finds about as much, in some more, in half the time.
"""
TRIED_FROM: Final = 1 << 20
"""Raw bytes from which on two tunings are tried."""
TRIED_PIECE: Final = 64 << 10
"""Bytes of each of the two pieces that they are tried on."""

SAMPLE_PIECE: Final = 4 << 10
"""Bytes of each of the three pieces (start, middle, end) that stand for a chunk in the entropy test."""
SAMPLED_FROM: Final = 64 << 10
"""Raw bytes from which on a sample is cheaper than just compressing."""
SAMPLE_GAIN: Final = 1 / 32
"""Share that the sample has to lose before the whole is tried."""
WORTH_IT: Final = 1 / 128
"""Share of the raw bytes that compression has to save; less is not worth decompressing."""

_SUFFIXES: Final = {
    ContentClass.PHOTO: b"jpg jpeg jpe jfif heic heif avif webp png gif cr2 cr3 nef arw orf raf rw2 jxl mp4 m4v mov mkv"
    b" webm avi mts mp3 m4a aac ogg opus flac zip gz tgz bz2 xz zst lz4 7z rar br",
    ContentClass.TEXT: b"txt csv tsv sql json jsonl ndjson xml html htm css js ts md log yaml yml toml ini conf ics vcf"
    b" svg",
    ContentClass.DOCUMENT: b"pdf doc docx xls xlsx ppt pptx odt ods odp rtf ps eps psd ai indd",
}
_CLASS_OF_SUFFIX: Final = {
    suffix: content_class for content_class, suffixes in _SUFFIXES.items() for suffix in suffixes.split()
}

_PHOTO_MAGIC: Final = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"\xfd7zXZ\x00",
    b"BZh",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
)
_DOCUMENT_MAGIC: Final = (b"%PDF", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"{\\rtf")


class _ZstdCompressor(Protocol):
    def compress(self, data: Buffer) -> bytes: ...


class _ZstdDecompressor(Protocol):
    def decompress(self, data: Buffer, max_output_size: int = 0) -> bytes: ...


def class_of_name(name: bytes) -> ContentClass | None:
    """The class that a file's suffix stands for, or None when the suffix says nothing."""
    return _CLASS_OF_SUFFIX.get(name.rpartition(b".")[2].lower())


def class_of_content(head: bytes) -> ContentClass:
    """The class by the first bytes (a few hundred are enough); bytes without a zero byte are text."""
    if head.startswith(_PHOTO_MAGIC) or head[4:8] == b"ftyp" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return ContentClass.PHOTO
    if head.startswith(_DOCUMENT_MAGIC):
        return ContentClass.DOCUMENT
    if head and b"\x00" not in head:
        try:
            head.decode()
        except UnicodeDecodeError as error:
            # The head may end in the middle of a character; anything earlier is no UTF-8.
            return ContentClass.TEXT if error.start >= len(head) - 3 else ContentClass.GENERIC
        return ContentClass.TEXT
    return ContentClass.GENERIC


class Compressor:
    """zstd contexts of one thread, one for each level that it meets."""

    def __init__(self, levels: dict[ContentClass, int] | None = None) -> None:
        self._levels = {**DEFAULT_LEVELS, **(levels or {})}
        self._contexts: dict[tuple[int, _Tuning | None], _ZstdCompressor] = {}
        self._sampler = self._context(1, ContentClass.GENERIC)

    def _best_context(self, level: int, content_class: ContentClass, raw: Buffer) -> _ZstdCompressor:
        usual = self._context(level, content_class)
        if len(raw) < TRIED_FROM or content_class not in _FOR_SHORT_MATCHES or level != DEFAULT_LEVELS[content_class]:
            return usual
        other = self._context(level, content_class, _FOR_SHORT_MATCHES)
        view, quarter = memoryview(raw), len(raw) // 4
        sample = b"".join((view[quarter : quarter + TRIED_PIECE], view[3 * quarter - TRIED_PIECE : 3 * quarter]))
        return other if len(other.compress(sample)) <= len(usual.compress(sample)) else usual

    def _context(
        self, level: int, content_class: ContentClass, tuned: Mapping[ContentClass, _Tuning] = _TUNED
    ) -> _ZstdCompressor:
        tuning = tuned.get(content_class) if level == DEFAULT_LEVELS[content_class] else None
        context = self._contexts.get((level, tuning))
        if context is None:
            made = _plain(level) if tuning is None else _tuned(tuning)
            context = self._contexts[(level, tuning)] = cast(_ZstdCompressor, made)
        return context

    def compress(self, raw: Buffer, content_class: ContentClass) -> tuple[Compression, Buffer]:
        """The bytes to be stored, and how they were made: `raw` itself where compression does not pay.

        Level 0 of a class in `levels` means: never compress this class.
        """
        length = len(raw)
        level = self._levels[content_class]
        if level == 0 or not length or (length >= SAMPLED_FROM and self._looks_incompressible(raw, length)):
            return Compression.NONE, raw
        packed = self._best_context(level, content_class, raw).compress(raw)
        if len(packed) > length - max(1, int(length * WORTH_IT)):
            return Compression.NONE, raw
        return Compression.ZSTD, packed

    def _looks_incompressible(self, raw: Buffer, length: int) -> bool:
        middle = (length - SAMPLE_PIECE) // 2
        view = memoryview(raw)
        sample = b"".join(
            (view[:SAMPLE_PIECE], view[middle : middle + SAMPLE_PIECE], view[length - SAMPLE_PIECE :]),
        )
        return len(self._sampler.compress(sample)) > len(sample) * (1 - SAMPLE_GAIN)


# No checksum in either: the AEAD and the chunk ids say whether the bytes are the right ones.


def _plain(level: int) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=level, write_checksum=False)


def _tuned(tuning: _Tuning) -> zstandard.ZstdCompressor:
    """About level 3 for long frames: matches from all over the frame."""
    return zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(
            window_log=23,
            chain_log=tuning.chain_log,
            hash_log=tuning.hash_log,
            search_log=1,
            min_match=tuning.match_min,
            strategy=tuning.strategy,
            write_checksum=False,
        )
    )


class Decompressor:
    """A zstd decompression context of one thread."""

    def __init__(self) -> None:
        self._context = cast(_ZstdDecompressor, zstandard.ZstdDecompressor())

    def decompress(self, stored: Buffer, compression: Compression, raw_length: int) -> Buffer:
        """The raw bytes, exactly `raw_length` of them; raises `Damaged` when it comes out otherwise.

        `stored` itself is returned where it was not compressed. `raw_length` bounds the memory that a
        forged frame can claim.
        """
        if compression is Compression.NONE:
            raw: Buffer = stored
        else:
            if raw_length > CHUNK_LENGTH_MAX:
                raise Damaged("frame claims more than a chunk can hold", length=raw_length)
            try:
                if zstandard.frame_content_size(bytes(stored[:18])) != raw_length:
                    raise Damaged("compressed frame has another length than its header says", length=raw_length)
                raw = self._context.decompress(stored, max_output_size=raw_length)
            except zstandard.ZstdError as error:
                raise Damaged("compressed frame cannot be read", reason=str(error)) from error
        if len(raw) != raw_length:
            raise Damaged("frame has another length than its header says", length=len(raw), expected=raw_length)
        return raw
