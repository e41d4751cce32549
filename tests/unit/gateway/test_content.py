"""A file that is sent piece by piece."""

import pytest

from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.looking import ContentAsked
from gateway.groups.recovery import content
from gateway.groups.recovery.content import Span

BODY = bytes(range(256)) * 12
ASKED = ContentAsked(organisation="o", recovery_point_id="p", path=b"a", scope=(), content="c")


class _Asking:
    """Answers with pieces; the first questions for each one are refused with these codes."""

    def __init__(self, *refused: ErrorCode) -> None:
        self._refused = refused
        self.asked: list[int] = []

    async def content(self, asked: ContentAsked) -> tuple[None, bytes]:
        self.asked.append(asked.offset)
        if (number := self.asked.count(asked.offset) - 1) < len(self._refused):
            raise PlatformError(self._refused[number], "not now")
        return None, BODY[asked.offset : asked.offset + asked.length]


async def _sent(asking: _Asking) -> bytes:
    pieces = content._pieces(asking, ASKED, Span(100, 2500, True), 100, BODY[100:1000])  # type: ignore[arg-type]
    return b"".join([piece async for piece in pieces])


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "PIECE_BYTES", 900)
    monkeypatch.setattr(content, "AGAIN_AFTER_SECONDS", (0, 0, 0))


async def test_piece_that_nobody_gave_is_asked_for_again() -> None:
    """A worker that starts anew, or others that look as well, end no download."""
    asking = _Asking(errors.LOOK_UNANSWERED, errors.TOO_MANY_REQUESTS, errors.LOOK_UNANSWERED)
    assert await _sent(asking) == BODY[100:2500]
    assert asking.asked == [1000] * 4 + [1900] * 4


async def test_piece_that_nobody_ever_gives_ends_the_answer() -> None:
    """Before its length is reached, so that no client takes it for whole."""
    asking = _Asking(*[errors.LOOK_UNANSWERED] * 9)
    with pytest.raises(PlatformError):
        await _sent(asking)
    assert asking.asked == [1000] * 4


async def test_piece_that_cannot_be_read_is_asked_for_once() -> None:
    """The file is another one by now, or its bytes are gone."""
    asking = _Asking(errors.ENTRY_UNKNOWN)
    with pytest.raises(PlatformError):
        await _sent(asking)
    assert asking.asked == [1000]
