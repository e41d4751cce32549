"""Files with the structure of a camera's JPEG: every marker real, the scan as hard to compress as a photo's.

`SOI · APP0 (JFIF) · APP1 (Exif) · APP1 (XMP) · DQT ×2 · SOF0 · DHT ×4 · DRI · SOS · scan · EOI`

The scan is seeded bytes with 0xFF stuffed and one restart marker per row of blocks, as many as the
frame header promises. Why random bytes are honest here: a Huffman coder with the standard's tables
turns symbols of the matching distribution into bits without redundancy, so what zstd or a chunker
sees in a real scan is this. What a real photo has beyond it (Exif, XMP with its padding, a few per
cent of slack between the fixed tables and the picture) is here too, but for the slack: zstd does
not find it, a JPEG recompressor would.
"""

import struct
from collections.abc import Iterator

from benchmarks.seeded import Seeded

_ZIGZAG_LUMINANCE = (
    "16 11 12 14 12 10 16 14 13 14 18 17 16 19 24 40 26 24 22 22 24 49 35 37 29 40 58 51 61 60 57 51 "
    "56 55 64 72 92 78 64 68 87 69 55 56 80 109 81 87 95 98 103 104 103 62 77 113 121 112 100 120 92 101 103 99"
)
_ZIGZAG_CHROMINANCE = "17 18 18 24 21 24 47 26 26 47 99 66 56 66 " + "99 " * 50
# ITU T.81, annex K.3: code counts per length 1..16, then the symbols.
_DC_COUNTS = (
    bytes.fromhex("00010501010101010100000000000000"),
    bytes.fromhex("00030101010101010101010000000000"),
)
_DC_SYMBOLS = bytes(range(12))
_AC_LUMINANCE_COUNTS = bytes.fromhex("0002010303020403050504040000017d")
_AC_CHROMINANCE_COUNTS = bytes.fromhex("00020102040403040705040400010277")
_AC_LUMINANCE_FIRST = bytes.fromhex("01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282")
_AC_CHROMINANCE_FIRST = bytes.fromhex("000102031104052131061241510761711322328108144291a1b1c109233352f0156272d1")
_BITS_PER_PIXEL = 2.4  # a 24 megapixel photo of about 7 MB, quality 90
_CAMERAS = (("Canon", "EOS R6m2"), ("NIKON CORPORATION", "NIKON Z 6_2"), ("SONY", "ILCE-7M4"), ("FUJIFILM", "X-T5"))


def photo(seeded: Seeded, size: int) -> bytes:
    """One JPEG of about `size` bytes (within 1%), at least 16 KiB."""
    return b"".join(photo_parts(seeded, size))


def photo_parts(seeded: Seeded, size: int) -> Iterator[bytes]:
    """The same in parts, for a writer that need not hold it whole."""
    scan_size = max(size - 4096, 12 * 1024)
    columns = max(2, round((scan_size * 8 / _BITS_PER_PIXEL * 1.5) ** 0.5 / 16))
    rows = max(2, round(columns / 1.5))
    yield _header(seeded, columns, rows)
    per_row = int(scan_size / rows * 255 / 256)  # stuffing adds a byte to each of 256
    for row in range(rows):
        yield bytes(seeded.bytes(per_row)).replace(b"\xff", b"\xff\x00")
        if row < rows - 1:
            yield bytes((0xFF, 0xD0 + row % 8))
    yield b"\xff\xd9"


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _header(seeded: Seeded, columns: int, rows: int) -> bytes:
    width, height = columns * 16, rows * 16
    components = b"\x01\x22\x00\x02\x11\x01\x03\x11\x01"  # Y at 2×2, Cb, Cr: 4:2:0
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\x00\x01\x02\x01\x01\x2c\x01\x2c\x00\x00"),
            _segment(0xE1, b"Exif\x00\x00" + _exif(seeded, width, height)),
            _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + _xmp(seeded)),
            _segment(0xDB, b"\x00" + _quantisation(_ZIGZAG_LUMINANCE)),
            _segment(0xDB, b"\x01" + _quantisation(_ZIGZAG_CHROMINANCE)),
            _segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + components),
            _segment(0xC4, b"\x00" + _DC_COUNTS[0] + _DC_SYMBOLS),
            _segment(0xC4, b"\x10" + _AC_LUMINANCE_COUNTS + _ac_symbols(_AC_LUMINANCE_FIRST)),
            _segment(0xC4, b"\x01" + _DC_COUNTS[1] + _DC_SYMBOLS),
            _segment(0xC4, b"\x11" + _AC_CHROMINANCE_COUNTS + _ac_symbols(_AC_CHROMINANCE_FIRST)),
            _segment(0xDD, struct.pack(">H", columns)),
            _segment(0xDA, b"\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00"),
        )
    )


def _quantisation(table: str) -> bytes:
    """The standard's table at quality 90."""
    return bytes(max(1, (int(step) * 20 + 50) // 100) for step in table.split())


def _ac_symbols(first: bytes) -> bytes:
    """The most frequent symbols in the standard's order, then the others: run 0..15 × size 1..10, end, run of 16."""
    every = {0x00, 0xF0} | {run << 4 | size for run in range(16) for size in range(1, 11)}
    return first + bytes(sorted(every - set(first)))


def _exif(seeded: Seeded, width: int, height: int) -> bytes:
    """A little-endian TIFF with two directories: the camera, and how the picture was taken."""
    make, model = _CAMERAS[seeded.integer(0, len(_CAMERAS))]
    taken = (
        f"20{seeded.integer(19, 26)}:{seeded.integer(1, 13):02}:{seeded.integer(1, 29):02} "
        f"{seeded.integer(9, 24):02}:{seeded.integer(0, 60):02}:{seeded.integer(0, 60):02}"
    )
    second: list[tuple[int, int, object]] = [
        (0x829A, 5, (1, seeded.integer(60, 4000))),
        (0x829D, 5, (seeded.integer(14, 110), 10)),
        (0x8827, 3, 100 * seeded.integer(1, 128)),
        (0x9003, 2, taken),
        (0x920A, 5, (seeded.integer(24, 200), 1)),
        (0xA002, 4, width),
        (0xA003, 4, height),
        (0xA431, 2, f"{seeded.integer(10**9, 10**10)}"),
    ]
    first: list[tuple[int, int, object]] = [
        (0x010F, 2, make),
        (0x0110, 2, model),
        (0x0112, 3, 1),
        (0x0132, 2, taken),
    ]
    # The pointer to the second directory needs to know where the first one ends.
    start = 8 + len(_directory([*first, (0x8769, 4, 0)], 8))
    return b"II*\x00\x08\x00\x00\x00" + _directory([*first, (0x8769, 4, start)], 8) + _directory(second, start)


def _directory(entries: list[tuple[int, int, object]], offset: int) -> bytes:
    """One TIFF directory at `offset`: what does not fit into four bytes follows it."""
    table, extra = [struct.pack("<H", len(entries))], b""
    after = offset + 2 + 12 * len(entries) + 4
    for tag, kind, value in entries:
        if isinstance(value, str):
            raw = value.encode("ascii") + b"\x00"
            count = len(raw)
        elif isinstance(value, tuple):
            raw, count = struct.pack("<II", *value), 1
        else:
            raw, count = struct.pack("<I", value), 1
        if len(raw) > 4:
            table.append(struct.pack("<HHII", tag, kind, count, after + len(extra)))
            extra += raw + b"\x00" * (len(raw) % 2)
        else:
            table.append(struct.pack("<HHI4s", tag, kind, count, raw))
    return b"".join(table) + b"\x00\x00\x00\x00" + extra


def _xmp(seeded: Seeded) -> bytes:
    """What an editor writes: a small packet with two kilobytes of padding to edit it in place."""
    identity = bytes(seeded.bytes(16)).hex()
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        f' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{seeded.integer(0, 6)}"'
        f' xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmpMM:DocumentID="xmp.did:{identity}"/>'
        "</rdf:RDF></x:xmpmeta>" + (" " * 99 + "\n") * 20 + '<?xpacket end="w"?>'
    ).encode()
