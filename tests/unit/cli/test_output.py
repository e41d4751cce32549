"""Names, sizes and times as people and machines see them."""

import argparse
import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import output, repo_key, show
from repository.errors import KeyNotFound

NAMES = st.binary(min_size=1, max_size=40)


@given(NAMES)
def test_shown_name_cannot_steer_a_terminal(name: bytes) -> None:
    """Whatever bytes a file's name holds, what is printed has no control character in it."""
    text = output.shown(name)
    assert text.isprintable()
    text.encode("utf-8")


@given(NAMES)
def test_name_in_json_gives_the_exact_bytes_back(name: bytes) -> None:
    """A machine can always tell which file is meant, also where the name is not UTF-8."""
    fields = json.loads(json.dumps(output.name_fields("path", name)))
    if "path_bytes" in fields:
        assert base64.b64decode(fields["path_bytes"]) == name
    else:
        assert fields["path"].encode() == name


def test_shown_name_keeps_ordinary_names_as_they_are() -> None:
    """Letters of any script stand as they are; only what is no text is written as bytes."""
    assert output.shown("Évans & Co — 結婚式.jpg".encode()) == "Évans & Co — 結婚式.jpg"
    assert output.shown(b"a\xffb") == "a\\xffb"
    assert output.shown(b"\x1b[31mred") == "\\x1b[31mred"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (10**6, "977 KiB"),
        (1_300_000_000, "1.21 GiB"),
        (2**60, "1024 PiB"),
    ],
)
def test_size_has_three_digits_and_a_unit(count: int, text: str) -> None:
    """Sizes are short enough for a column."""
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.418, "0.42 s"), (12.34, "12.3 s"), (245, "4 min 05 s"), (7620, "2 h 07 min")]
)
def test_duration_is_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    """Nobody has to divide by 3600."""
    assert output.duration(seconds) == text


def test_timestamp_keeps_every_nanosecond() -> None:
    """A machine can compare the times of two entries exactly, also before 1970."""
    assert output.timestamp(1_790_000_000_123_456_789) == "2026-09-21T14:13:20.123456789Z"
    assert output.timestamp(-1) == "1969-12-31T23:59:59.999999999Z"
    assert output.moment(1_790_000_000_123_456_789) == "2026-09-21 14:13:20"


def test_what_compression_saves_is_below_nothing_where_it_is() -> None:
    """Framing outweighs it in tiny files; what comes to nothing has no sign."""
    figures = ((100, 25), (9, 73), (100_000, 100_010), (5, 5), (0, 0))
    assert [output.percent_saved(*each) for each in figures] == ["75.0", "-711.1", "0.0", "0.0", ""]


def test_columns_are_aligned() -> None:
    """Each column is as wide as its widest cell."""
    assert output.columns([("ID", "SIZE"), ("a", "10"), ("abc", "1")], right=(1,)) == [
        "ID   SIZE",
        "a      10",
        "abc     1",
    ]
    assert output.columns([]) == []


def test_say_replaces_what_the_terminal_cannot_show(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal without UTF-8 gets an escape, never an exception in the middle of a restore."""
    import io
    import sys

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    output.say("Évans")
    sys.stdout.flush()
    assert raw.getvalue() == b"\\xc9vans\n"


def test_number_one_is_shown_as_a_number() -> None:
    """It equals True, and is no truth: the first version of a policy is version 1."""
    assert [show._text(value) for value in (1, 0, True, False, None, "x", [1, 2])] == [
        *("1", "0", "yes", "no", "-", "x", "1, 2")
    ]


def test_key_that_is_removed_is_named_by_its_id() -> None:
    """Its file is not read, and its path is shown as it was typed."""
    with pytest.raises(KeyNotFound, match="not the id of a key") as refused:
        repo_key.remove(argparse.Namespace(kek="/srv/Old.key"))
    assert "repo key list" in (refused.value.hint or "")
    assert "/srv/Old.key" in str(refused.value)
