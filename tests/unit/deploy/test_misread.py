"""What is wrong with a file that somebody has written, in words."""

import msgspec
import pytest

from deploy.misread import misread


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    number: int = 0


class _File(msgspec.Struct):
    entries: list[_Entry]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"entries": [{"id": 7}]}', "entries[0].id has to be a text"),
        (b'{"entries": [{"id": "a", "number": 1.5}]}', "entries[0].number has to be a whole number"),
        (b'{"entries": [{}]}', "entries[0]: id is missing"),
        (b'{"entries": [{"id": "a", "x": 1}]}', "entries[0]: there is no field x"),
        (b'{"entries": 1}', "entries has to be a list"),
        (b"[]", "the whole of it has to be an object"),
        (b"{}", "entries is missing"),
        (b'{"entries": [', "it ends in the middle"),
        (b'{"entries": [}', "it is no JSON from byte 13 on"),
        (b'{"entries": [{"id": "\xff"}]}', "it has bytes that are no UTF-8"),
        (b'{"x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "it is nested too deeply"),
    ],
)
def test_file_is_told_by_its_own_names(body: bytes, words: str) -> None:
    """No word of a library, and the place in the file."""
    with pytest.raises((msgspec.MsgspecError, ValueError, RecursionError)) as caught:
        msgspec.json.decode(body, type=_File)
    assert misread(caught.value) == words
    assert misread(PermissionError(13, "Permission denied")) == "permission denied"
