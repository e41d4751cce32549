"""The stream of a large file: complete exactly once, with every block, whichever worker finishes when."""

import threading
from collections.abc import Callable
from itertools import permutations
from typing import Any, cast

import pytest

from repository.backup.tasks import FileStream
from repository.stored.tree import ContentList


def _stream(kind: type[FileStream] = FileStream) -> FileStream:
    nothing = cast(Any, None)
    return kind(nothing, nothing, nothing, ContentList(lambda _body: b"list" * 8))


def _ids(number: int) -> bytes:
    return bytes((number,)) * 32


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_stream_is_completed_by_the_last_block_done_in_whatever_order(order: tuple[int, ...]) -> None:
    """Blocks are stored by several workers: the ids are in the order of the file, and one caller completes it."""
    stream = _stream()
    assert [stream.block_read(is_last=number == 3) for number in range(4)] == [0, 1, 2, 3]
    assert [stream.block_done(number, _ids(number)) for number in order] == [False, False, False, True]
    assert stream.content() == (b"".join(map(_ids, range(4))), 0)


def test_stream_is_not_complete_while_more_is_to_be_read() -> None:
    """All blocks so far being stored says nothing while the end has not been met."""
    stream = _stream()
    for number in range(3):
        assert stream.block_read(is_last=False) == number
        assert not stream.block_done(number, _ids(number))
    assert stream.block_read(is_last=True) == 3
    assert stream.block_done(3, b"")
    assert stream.content() == (b"".join(map(_ids, range(3))), 0)


class _InterruptedStream(FileStream):
    """Lets somebody else in at every single change of a field."""

    meanwhile: Callable[[], None] | None = None

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in ("is_read", "blocks_read") and self.meanwhile is not None:
            self.meanwhile()


def test_block_that_is_done_while_the_last_one_is_counted_does_not_complete_the_file() -> None:
    """A worker that finishes an earlier block just then would close the file and lose its last block."""
    stream = _stream(_InterruptedStream)
    assert isinstance(stream, _InterruptedStream)
    first = stream.block_read(is_last=False)
    answers: list[bool] = []
    others: list[threading.Thread] = []

    def finish_first() -> None:
        if not others:
            others.append(threading.Thread(target=lambda: answers.append(stream.block_done(first, _ids(0)))))
            others[0].start()
            others[0].join(0.2)  # where nothing keeps it out, it is through by then

    stream.meanwhile = finish_first
    last = stream.block_read(is_last=True)
    stream.meanwhile = None
    others[0].join(10)
    assert answers == [False]
    assert stream.block_done(last, _ids(1))
    assert stream.content() == (_ids(0) + _ids(1), 0)
