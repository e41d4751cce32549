"""Bodies on their way to S3: several buffers as one file."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repository.tiers.limits import Pace
from repository.tiers.port import buffers_of
from repository.tiers.s3.bodies import UploadBody

NO_LIMIT = Pace(None)


def read_all(body: UploadBody) -> list[bytes]:
    return [bytes(part) for part in iter(body.read, b"")]


@given(st.lists(st.integers(0, 300_000), max_size=8), st.booleans())
def test_upload_body_is_its_buffers_joined(sizes: list[int], is_limited: bool) -> None:
    """Whatever the buffers, what is read is their concatenation, in pieces that fit the pace."""
    buffers = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    pace = Pace(1 << 30, wait=lambda _: None) if is_limited else NO_LIMIT
    body = UploadBody(buffers_of(buffers), pace)
    whole = b"".join(buffers)
    assert len(body) == len(whole)
    pieces = read_all(body)
    assert b"".join(pieces) == whole
    if pace.step_bytes:
        assert all(len(piece) <= pace.step_bytes for piece in pieces)
    assert body.tell() == len(whole)
    body.seek(0)
    assert b"".join(read_all(body)) == whole


@given(st.lists(st.binary(max_size=20), max_size=6), st.data())
def test_upload_body_seeks_like_a_file(buffers: list[bytes], data: st.DataObject) -> None:
    """Any position can be gone to, and reading goes on from there."""
    whole = b"".join(buffers)
    body = UploadBody(buffers_of(buffers), NO_LIMIT)
    position = data.draw(st.integers(0, len(whole)))
    assert body.seek(position) == position == body.tell()
    assert b"".join(read_all(body)) == whole[position:]
    assert body.seek(-position, io.SEEK_END) == len(whole) - position
    assert body.seek(0, io.SEEK_CUR) == len(whole) - position
    assert b"".join(read_all(body)) == whole[len(whole) - position :]


def test_upload_body_copies_only_small_buffers() -> None:
    """A big buffer is handed out as it is; small ones that follow each other are joined."""
    big = bytearray(100_000)
    body = UploadBody(buffers_of([b"head", b"x" * 32, big, b"t" * 16]), NO_LIMIT)
    pieces = list(iter(body.read, b""))
    assert [len(piece) for piece in pieces] == [36, 100_000, 16]
    big[0] = 7
    assert pieces[1][0] == 7


@pytest.mark.parametrize("count", [5000])
def test_upload_body_joins_up_to_a_limit(count: int) -> None:
    """Thousands of small buffers become a few pieces, none of them large."""
    pieces = list(iter(UploadBody(buffers_of([b"x" * 1000] * count), NO_LIMIT).read, b""))
    assert sum(len(piece) for piece in pieces) == count * 1000
    assert len(pieces) < 25
    assert max(len(piece) for piece in pieces) < 300_000
