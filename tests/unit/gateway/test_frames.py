"""What a client may say on the WebSocket."""

import msgspec
import pytest

from contracts import errors
from contracts.errors import PlatformError
from gateway.monitoring.frames import Resume, understood

EPOCH = "0199a0f2-0000-7000-8000-0000000000e1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "1",
        f"{EPOCH}:",
        ":1",
        f"{EPOCH}:-1",
        "a\0b:5",
        f"{EPOCH}:\u0663",
        f"{EPOCH}:\u00b2",
        "ü:1",
        "a b:1",
        f"{EPOCH}:{'9' * 19}",
        f"{EPOCH}:1\n",
        "\ud800:1",
    ],
)
def test_what_is_no_resume_is_a_wrong_field(text: str) -> None:
    """It is told by its field, before anything is asked of the store, which takes no NUL."""
    with pytest.raises(PlatformError) as refused:
        Resume.parse(text)
    assert (refused.value.code, refused.value.field) == (errors.INVALID_FIELD, "resume")


def test_resume_is_read_as_it_is_told() -> None:
    """What a message has named is taken back."""
    assert Resume.parse(f"{EPOCH}:12") == Resume(EPOCH, 12)


@pytest.mark.parametrize("field", ["executions", "configurations"])
def test_line_feed_behind_an_id_is_no_part_of_it(field: str) -> None:
    """An expression's `$` is before a line feed, too: what names a resource is judged as a whole."""
    with pytest.raises(PlatformError) as refused:
        understood(msgspec.json.encode({"type": "subscribe", field: [f"{EPOCH}\n"]}).decode())
    assert refused.value.code is errors.INVALID_FIELD
    understood(msgspec.json.encode({"type": "subscribe", field: [EPOCH]}).decode())


@pytest.mark.parametrize("field", ["executions", "configurations"])
def test_empty_filter_is_refused_beside_all_too(field: str) -> None:
    """A list that came out empty was meant as a filter: it never means everything."""
    with pytest.raises(PlatformError) as refused:
        understood(msgspec.json.encode({"type": "subscribe", "all": True, field: []}).decode())
    assert (refused.value.code, refused.value.field) == (errors.INVALID_FIELD, field)
