"""The NATS client with two faster ways to receive.

An event carries some twenty headers, and nats-py looks at every character of every name: half of what receiving an
event costs. Here headers are read line by line; names and values are the same, a line without a colon, and a name with
a blank in it, are left out as there. Whoever reads hundreds of thousands of messages takes them raw: no header is read
that nobody asks for, and no message waits in a queue of its own.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Protocol

from nats.aio.subscription import Subscription

from chassis.bus.lasting_client import LastingClient

_STATUS = b"NATS/1.0 "
_STATUS_LENGTH = 3
_LINE_END = b"\r\n"


class Headers(Protocol):
    """What is asked of a message's headers, parsed or raw."""

    def get(self, name: str, /) -> str | None:
        """The value under a name, None where there is none."""


class RawHeaders:
    """The headers of one message as they came, searched only for what is asked: for the names that relays write."""

    __slots__ = ("_block",)

    def __init__(self, block: bytes) -> None:
        self._block = block

    def get(self, name: str) -> str | None:
        """The value of a header, the last where there are several; None where there is none."""
        block, mark = self._block, _mark(name)
        found = block.rfind(mark)
        if found < 0:
            return None
        begin = found + len(mark)
        return block[begin : block.find(_LINE_END, begin)].decode("utf-8", "replace").strip()

    def among(self, asked: re.Pattern[str]) -> dict[str, str]:
        """The values of several headers at once: `asked` is made by `headers_named`."""
        return dict(asked.findall(self._block.decode("utf-8", "replace")))

    @property
    def status(self) -> str | None:
        """What the server says of the answer itself; None for a message of a stream."""
        if not self._block.startswith(_STATUS):
            return None
        return self._block[len(_STATUS) : len(_STATUS) + _STATUS_LENGTH].decode("ascii", "replace")


def headers_named(*names: str) -> re.Pattern[str]:
    """What `RawHeaders.among` looks for."""
    # A value ends where its line ends, not at a lone carriage return: none is cut to what another one is.
    return re.compile(rf"\r\n({'|'.join(map(re.escape, names))}):[ \t]*(.*)(?=\r\n)")


@cache
def _mark(name: str) -> bytes:
    """What stands in front of a header's value. The names that are asked for are few."""
    return f"\r\n{name}:".encode()


Take = Callable[[bytes, RawHeaders, bytes], None]
"""What takes a raw message: subject, headers, body. It is called by whoever reads the connection: it never waits."""


class QuickClient(LastingClient):
    """nats-py's client, which parses headers line by line instead of character by character, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self._raw: dict[int, Take] = {}

    async def subscribe_raw(self, subject: str, take: Take) -> Subscription:
        """Hand every message of a subject to `take` as it comes, until the subscription is ended."""
        subscription = await self.subscribe(subject)
        self._raw[subscription._id] = take  # noqa: SLF001  # what the client itself tells it by
        return subscription

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._raw.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        take = self._raw.get(sid)
        if take is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            take(subject, RawHeaders(headers or b""), data)
        except Exception as error:  # noqa: BLE001  # the connection must not end with one message
            await self._error_cb(error)

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        headers: dict[str, str] = {}
        for line in raw.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip()] = value.strip()
        if _is_clean("".join(headers)):
            return headers
        return {name: value for name, value in headers.items() if _is_clean(name)}


def _is_clean(names: str) -> bool:
    """Whether names are ASCII without blanks; asked once for all of them, which is nearly always the answer."""
    return names.isascii() and len(names.split()) < 2
