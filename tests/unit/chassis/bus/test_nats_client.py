"""Headers are read as nats-py reads them, only faster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.protocol.parser import Parser

from chassis.bus.nats_client import QuickClient, RawHeaders, headers_named

_NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1, max_size=20)
_VALUES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=40)


def _block(lines: list[tuple[str, str, str]]) -> bytes:
    return "".join(f"{name}:{pause}{value}\r\n" for name, pause, value in lines).encode() + b"\r\n"


@given(st.lists(st.tuples(_NAMES, st.sampled_from(["", " ", "\t", "  "]), _VALUES), max_size=25))
def test_headers_are_read_as_nats_py_reads_them(lines: list[tuple[str, str, str]]) -> None:
    """For every block of headers both give the same names and values."""
    block = _block(lines)
    ours, theirs = QuickClient._parse_header_lines(block), Client._parse_header_lines(block)
    # nats-py strips bytes and so leaves blanks beyond ASCII; no header of ours begins or ends with one.
    assert {name: value.strip() for name, value in theirs.items()} == ours


def test_lines_that_are_no_headers_are_left_out() -> None:
    """What has no colon or a blank in its name is left out, as nats-py does; bytes that are no UTF-8 are replaced."""
    block = b"no colon\r\nbad name: x\r\nna\xc3\xafve: x\r\ngood: \xff\r\n\r\n"
    assert QuickClient._parse_header_lines(block) == {"good": "\ufffd"} == Client._parse_header_lines(block)


def test_nats_py_still_calls_the_method_that_is_replaced() -> None:
    """A new version of nats-py that parses elsewhere would silently take the gain away."""
    assert "_parse_header_lines" in Client._process_headers.__code__.co_names


@given(st.lists(st.tuples(_NAMES, st.sampled_from(["", " ", "\t", "  "]), _VALUES), max_size=25))
def test_raw_headers_are_found_as_nats_py_reads_them(lines: list[tuple[str, str, str]]) -> None:
    """Whichever header is asked for has the value that the parsed block shows; one that is not there has none."""
    block, raw = _block(lines), RawHeaders(b"NATS/1.0\r\n" + _block(lines))
    parsed = QuickClient._parse_header_lines(block)
    assert {name: raw.get(name) for name in parsed} == parsed
    several = raw.among(headers_named(*parsed, "Not-There"))
    assert {name: value.strip() for name, value in several.items()} == parsed
    assert raw.get("Not-There") is None
    assert raw.status is None


@pytest.mark.parametrize(
    ("block", "status"),
    [
        (b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\n\r\n", "204"),
        (b"NATS/1.0 404 Message Not Found\r\n\r\n", "404"),
        (b"NATS/1.0 503\r\n\r\n", "503"),
        (b"", None),
    ],
)
def test_raw_headers_tell_what_the_server_says_of_the_answer(block: bytes, status: str | None) -> None:
    """A status line is no message of the stream."""
    assert RawHeaders(block).status == status


async def test_message_that_cannot_be_taken_does_not_end_the_connection() -> None:
    """Who takes raw messages is called by the loop that reads for everybody: what it raises is told, and no more."""
    client, taken, told = QuickClient(), [], []

    def take(_subject: bytes, _headers: RawHeaders, body: bytes) -> None:
        taken.append(body)
        raise ValueError(body)

    async def tell(error: Exception) -> None:
        told.append(str(error))

    client._error_cb = tell
    client._raw[1] = take
    parser = Parser(client)
    await parser.parse(b"MSG a 1 3\r\none\r\nHMSG a 1 12 15\r\nNATS/1.0\r\n\r\ntwo\r\n")
    assert taken == [b"one", b"two"]
    assert told == ["b'one'", "b'two'"]
    client._remove_sub(1)
    await parser.parse(b"MSG a 1 3\r\nend\r\n")
    assert len(taken) == 2
