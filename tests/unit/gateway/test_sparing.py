"""Nothing is sent to who has it, as it is shown now, and nothing large as it is to who takes it compressed."""

import gzip
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.wire import sparing
from gateway.wire.sparing import LARGE_BYTES, OPEN_KEPT, spared, takes_gzip

LARGE = b'{"items": [' + b"1, " * LARGE_BYTES + b"1]}"


class App:
    """An application that answers everything alike."""

    def __init__(self, body: bytes = b"{}", *, status: int = 200, pieces: int = 1, **headers: str) -> None:
        self.body, self.status, self.pieces = body, status, pieces
        named = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        self._headers = [(name.encode(), value.encode()) for name, value in named.items()]
        self._layer = spared(self._answer)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": [*self._headers]})
        for number in range(self.pieces, 0, -1):
            await send({"type": "http.response.body", "body": self.body, "more_body": number > 1})

    async def ask(self, method: str = "GET", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of an answer."""
        sent: list[Any] = []
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope: Any = {"type": "http", "method": method, "headers": named}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._layer(scope, None, send)  # type: ignore[arg-type]  # nothing is received
        start, *pieces = sent
        told = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], told, b"".join(piece["body"] for piece in pieces)


async def test_tag_is_of_all_that_is_shown() -> None:
    """Who names it gets no body, whichever way it is written; what shows anything else has another one."""
    one, other = App(b'{"a": 1}', etag='"7"'), App(b'{"a": 2}', etag='"7"')
    status, headers, body = await one.ask()
    assert (status, body) == (200, b'{"a": 1}')
    tag = headers["etag"]
    assert tag.startswith('"7-')
    for named in (tag, f'"0", {tag}', f"W/{tag}", "*", f'{tag[:-1]}-gzip"'):
        status, headers, body = await one.ask(if_none_match=named)
        assert (status, headers["etag"], body) == (304, tag, b""), named
        assert not {"content-length", "content-type"} & set(headers)
    for named in ('"7"', "7", tag.strip('"'), ""):
        assert (await one.ask(if_none_match=named))[0] == 200, named
    status, headers, _ = await other.ask(if_none_match=tag)
    assert (status, headers["etag"] != tag) == (200, True)
    assert not (await App().ask())[1]["etag"].startswith('"-')


@pytest.mark.parametrize(("method", "status"), [("POST", 200), ("GET", 404), ("PUT", 201), ("GET", 204)])
async def test_only_what_is_read_has_a_tag(method: str, status: int) -> None:
    """A write's tag is the version that it has made; an error has none, and is told whatever is named."""
    told, headers, body = await App(status=status).ask(method, if_none_match="*")
    assert (told, body) == (status, b"{}")
    assert "etag" not in headers
    _, headers, _ = await App(status=status, etag='"2"').ask(method)
    assert headers["etag"] == '"2"'


async def test_large_answer_is_compressed_for_who_takes_it() -> None:
    """Under a tag of its own; caches are told in both cases that it depends on who asks."""
    app = App(LARGE)
    _, plain, body = await app.ask()
    assert (body, plain["vary"], plain["content-length"]) == (LARGE, "Accept-Encoding", str(len(LARGE)))
    status, headers, body = await app.ask(accept_encoding="br, gzip")
    assert (status, headers["content-encoding"], headers["vary"]) == (200, "gzip", "Accept-Encoding")
    assert gzip.decompress(body) == LARGE
    assert headers["content-length"] == str(len(body))
    assert headers["etag"] == f'{plain["etag"][:-1]}-gzip"'
    for named in (plain["etag"], headers["etag"]):
        status, told, body = await app.ask(accept_encoding="gzip", if_none_match=named)
        assert (status, told["vary"], body) == (304, "Accept-Encoding", b"")
        assert "content-encoding" not in told
    _, headers, body = await App(LARGE, vary="Origin").ask("POST", accept_encoding="gzip")
    assert (headers["vary"], gzip.decompress(body)) == ("Origin,Accept-Encoding", LARGE)
    _, headers, body = await App(b"x" * (LARGE_BYTES - 1)).ask(accept_encoding="gzip")
    assert "content-encoding" not in headers
    _, headers, body = await App(LARGE, **{"content-encoding": "br"}).ask(accept_encoding="gzip")
    assert (headers["content-encoding"], body) == ("br", LARGE)


async def test_answer_in_pieces_passes_as_it_is() -> None:
    """Nobody waits for the end of it to say what it is."""
    status, headers, body = await App(LARGE, pieces=2).ask(accept_encoding="gzip", if_none_match="*")
    assert (status, body) == (200, LARGE * 2)
    assert "etag" not in headers


async def test_what_needs_no_token_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger who asks again costs a look; what is somebody's is not kept."""
    compressed: list[int] = []
    real = gzip.compress

    def compress(body: bytes, level: int, *, mtime: int) -> bytes:
        compressed.append(len(body))
        return real(body, level, mtime=mtime)

    monkeypatch.setattr(sparing.gzip, "compress", compress)
    app = App(LARGE)
    for _ in range(3):
        _, _, body = await app.ask(accept_encoding="gzip")
        assert gzip.decompress(body) == LARGE
    assert len(compressed) == 1
    for _ in range(2):
        await app.ask(accept_encoding="gzip", authorization="Bearer x")
    assert len(compressed) == 3
    for number in range(OPEN_KEPT):
        app.body = LARGE + b" " * (number + 1)
        await app.ask(accept_encoding="gzip")
    app.body = LARGE
    await app.ask(accept_encoding="gzip")
    assert len(compressed) == 3 + OPEN_KEPT + 1


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        *((None, False), ("", False), ("br", False), ("gzip", True), ("br;q=1.0, gzip;q=0.5", True), ("GZIP", True)),
        *(("gzip;q=0", False), ("gzip; q=0.000", False), ("*", True), ("*;q=0", False), ("gzip;q=0, *", False)),
        *(("gzip;q=x", False), ("gzip;level=1", False), ("identity, *;q=0.1", True)),
    ],
)
def test_who_takes_gzip_says_so(accepted: str | None, takes: bool) -> None:
    """By the words of RFC 9110, section 12.5.3; what cannot be read is no consent."""
    assert takes_gzip(accepted) is takes
