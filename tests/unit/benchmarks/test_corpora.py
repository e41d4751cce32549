"""The benchmark's corpora are what the benchmark says they are."""

import io
import struct
from pathlib import Path

import pytest
import zstandard
from PIL import Image

from benchmarks import corpora
from benchmarks.documents import contract
from benchmarks.jpeg import photo
from benchmarks.seeded import Seeded


def segments(jpeg: bytes) -> list[tuple[int, bytes]]:
    """The marker segments up to the scan, then the scan itself under marker 0."""
    assert jpeg[:2] == b"\xff\xd8"
    found, at = [], 2
    while True:
        marker, length = struct.unpack_from(">xBH", jpeg, at)
        assert jpeg[at] == 0xFF
        found.append((marker, jpeg[at + 4 : at + 2 + length]))
        at += 2 + length
        if marker == 0xDA:
            return [*found, (0, jpeg[at:])]


def test_seeded_gives_the_bytes_that_the_standard_fixes() -> None:
    """The corpus of one year is the corpus of another: the first bytes of a stream are pinned."""
    assert bytes(Seeded("photo", 0).bytes(8)).hex() == "15b6a5605ba5aeac"
    assert Seeded("a").integers(1000, 7).tolist() == Seeded("a").integers(1000, 7).tolist()


def test_seeded_streams_of_other_names_differ() -> None:
    """No two files share a stream, so nothing is deduplicated that would not be in reality."""
    assert Seeded("photo", 1).bytes(64) != Seeded("photo", 2).bytes(64)
    assert Seeded("photo", 11).bytes(64) != Seeded("photo1", 1).bytes(64)


def test_seeded_continues_where_it_was() -> None:
    """Reading in pieces gives what reading at once gives, across the internal block size too."""
    whole = Seeded("x").bytes((1 << 20) + 777)
    pieces = Seeded("x")
    assert b"".join(bytes(pieces.bytes(length)) for length in (1, 16, 1 << 20, 760)) == whole


@pytest.mark.parametrize("size", [20_000, 333_333, 2_000_000])
def test_photo_parses_as_the_jpeg_that_its_header_promises(size: int) -> None:
    """Every marker is there, the size is near the wanted one, and there is one restart marker per row of blocks."""
    jpeg = photo(Seeded("t", size), size)
    parts = segments(jpeg)
    assert [marker for marker, _ in parts] == [
        *(0xE0, 0xE1, 0xE1, 0xDB, 0xDB, 0xC0, 0xC4, 0xC4, 0xC4, 0xC4, 0xDD, 0xDA, 0)
    ]
    assert abs(len(jpeg) - size) < max(size * 0.01, 1024)
    _, height, width, _ = struct.unpack_from(">BHHB", dict(parts)[0xC0])
    scan = dict(parts)[0]
    assert scan[-2:] == b"\xff\xd9"
    markers = [scan[at + 1] for at in range(len(scan) - 2) if scan[at] == 0xFF and scan[at + 1] != 0]
    assert markers == [0xD0 + row % 8 for row in range(height // 16 - 1)]
    assert struct.unpack(">H", dict(parts)[0xDD])[0] == width // 16


def test_photo_opens_in_an_independent_decoder_with_its_exif() -> None:
    """Pillow reads the dimensions, decodes the scan and finds when the picture was taken."""
    with Image.open(io.BytesIO(photo(Seeded("p"), 500_000))) as image:
        image.load()
        assert image.size[0] > 1000
        assert image.getexif().get_ifd(0x8769)[0x9003].startswith("20")


def test_photo_is_as_hard_to_compress_as_a_photo() -> None:
    """Compression saves less than 1%: nobody's dedup or compression looks better on it than on real photos."""
    jpeg = photo(Seeded("p"), 4_000_000)
    assert len(zstandard.compress(jpeg, 9)) > 0.99 * len(jpeg)


def test_contract_is_no_flattering_repetition() -> None:
    """A contract on its own saves no more than a real text does, and two clients' contracts are not the same."""
    first, second = contract(Seeded("c", 1), 5), contract(Seeded("c", 2), 5)
    assert first.decode() != second.decode()
    assert 0.5 < 1 - len(zstandard.compress(first, 3)) / len(first) < 0.75


def test_photos_fill_the_size_that_was_asked_for(tmp_path: Path) -> None:
    """The corpus has its size, so that rates per byte compare."""
    corpora.photos(tmp_path / "photos", 9_000_000)
    files, size = corpora.measure(tmp_path / "photos")
    assert files >= 1
    assert abs(size - 9_000_000) < 200_000


def test_small_files_change_as_many_as_was_asked_for(tmp_path: Path) -> None:
    """One per cent changed means one per cent of the files, each with other bytes, none of another size."""
    corpora.small_files(tmp_path, 1000)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert len(before) == 1000
    assert len(set(before.values())) == 1000
    assert corpora.change_small_files(tmp_path, 1000, 1.0, generation=1) == 10
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert sum(before[path] != after[path] for path in before) == 10
    assert {len(content) for content in after.values()} == {4096}


def test_build_finds_what_it_built_before(tmp_path: Path) -> None:
    """A corpus is made once, and a half-made one is made anew."""
    built = corpora.build("documents", tmp_path, 0.001)
    marker = built.folder / "left-by-the-first"
    marker.touch()
    assert corpora.build("documents", tmp_path, 0.001) == built
    assert marker.exists()
    built.folder.with_suffix(".json").unlink()
    assert corpora.build("documents", tmp_path, 0.001) == built
    assert not marker.exists()
