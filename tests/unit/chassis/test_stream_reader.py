"""The reader of a stream, without a server: which answer counts, and when something is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from chassis.bus.nats_client import QuickClient, RawHeaders
from chassis.reading import stream_reader
from chassis.reading.stored import Place, StoredMessage
from chassis.reading.stream_reader import StreamReader, every_stream
from chassis.reading.walk import Walk
from contracts import errors
from contracts.errors import PlatformError
from contracts.subjects import SERVICES

_NOTHING = RawHeaders(b"NATS/1.0 404\r\n\r\n")
_AT = Place("log", 3, 7)


class _Client:
    """Keeps where answers go to; `on_question` is called with each."""

    def __init__(self) -> None:
        self.on_question: Callable[[bytes], None] = lambda _reply: None
        self.answer: Callable[[bytes, RawHeaders, bytes], None] = lambda *_each: None
        self.inboxes = 0

    def new_inbox(self) -> str:
        return "_INBOX.one"

    async def subscribe_raw(self, _subject: str, take: Callable[[bytes, RawHeaders, bytes], None]) -> Any:
        self.answer = take
        self.inboxes += 1
        return self

    async def unsubscribe(self) -> None:
        self.inboxes -= 1

    async def publish(self, _subject: str, _body: bytes, *, reply: str) -> None:
        self.on_question(reply.encode())


async def test_answer_that_comes_too_late_is_not_taken_for_that_of_the_next_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That there is nothing, said to the question before, is no answer to this one."""
    monkeypatch.setattr(stream_reader, "ANSWER_SECONDS", 0.05)
    client, asked = _Client(), list[bytes]()
    client.on_question = asked.append
    reader = StreamReader(cast(QuickClient, client), "BACKUP_CONFIG")
    with pytest.raises(PlatformError):
        await reader.after(_AT, 10)
    client.on_question = lambda _reply: client.answer(asked[0], _NOTHING, b"")
    with pytest.raises(PlatformError) as silent:
        await reader.after(_AT, 10)
    assert silent.value.code is errors.UNAVAILABLE


async def test_hole_is_a_loss_once_the_stream_has_said_so_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several servers one may not have it yet: the first look says nothing for certain."""
    reader = StreamReader(cast(QuickClient, _Client()), "BACKUP_CONFIG")
    doubt = StoredMessage(9, b"{}", "log", 5, "log:4")

    async def batch(_sequence: int, _limit: int) -> list[StoredMessage]:
        return [doubt]

    monkeypatch.setattr(reader, "_batch", batch)
    judge = cast(Callable[[Walk, StoredMessage], Awaitable[None]], reader._judge)
    await judge(Walk(_AT, 8), doubt)
    monkeypatch.setattr(stream_reader, "HOLE_SECONDS", 0.0)
    await asyncio.sleep(0.001)
    with pytest.raises(PlatformError) as lost:
        await judge(Walk(_AT, 8), doubt)
    assert lost.value.code is errors.STREAM_MISSING
    assert "position 4" in lost.value.message


async def test_inboxes_of_all_readers_are_given_back_however_their_loop_ends() -> None:
    """A loop that breaks off is begun anew for as long as its process lives, with readers of its own each time."""
    client = _Client()
    client.on_question = lambda reply: client.answer(reply, _NOTHING, b"")

    async def loop() -> None:
        async with every_stream(cast(QuickClient, client)) as readers:
            for reader in readers.values():
                await reader.end()
            assert client.inboxes == len(readers) == len(SERVICES)
            raise PlatformError(errors.UNAVAILABLE, "broke off")

    for _ in range(2):
        with pytest.raises(PlatformError, match="broke off"):
            await loop()
        assert client.inboxes == 0
