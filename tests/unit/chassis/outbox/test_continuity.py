"""The relay's judgement: which stream continues a log, and what a permission allows."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.outbox.continuity import LogView, Published, StreamView, Tail, message_id, position_in
from contracts import errors
from contracts.errors import ErrorCode, PlatformError

LOG = LogView(incarnation="this", last=10, has_tail=True)
EMPTY = StreamView(first_sequence=0, last_sequence=0, lost=0, tail=None)
AT_8 = Published(incarnation="this", high_water=8)


def _ends_at(position: int, incarnation: str = "this", **changes: int) -> StreamView:
    tail = Tail(
        sequence=position,
        message_id=message_id(incarnation, position),
        incarnation=incarnation,
        position=position,
    )
    view = StreamView(first_sequence=1, last_sequence=position, lost=0, tail=tail)
    return msgspec.structs.replace(view, **changes)


def _refusal(log: LogView, published: Published, stream: StreamView, *, may_refill: bool = False) -> ErrorCode:
    with pytest.raises(PlatformError) as refused:
        position_in(log, published, stream, may_refill=may_refill)
    return refused.value.code


def test_first_stream_is_filled_from_the_beginning() -> None:
    """A record that has never published begins without being asked."""
    assert position_in(LOG, Published(), EMPTY, may_refill=False) == (0, Published(incarnation="this"))


def test_relay_goes_on_behind_the_last_message() -> None:
    """The position is what the stream says, also where the memory of it is a little behind."""
    assert position_in(LOG, AT_8, _ends_at(9), may_refill=False) == (9, AT_8)
    position, remembered = position_in(LOG, Published(), _ends_at(9), may_refill=False)
    assert (position, remembered.incarnation, remembered.high_water) == (9, "this", 9)


def test_empty_stream_is_refused_when_events_were_published() -> None:
    """A lost store is never filled by surprise, also when the record has begun a new incarnation meanwhile."""
    assert _refusal(LOG, AT_8, EMPTY) is errors.STREAM_MISSING
    assert _refusal(LOG, msgspec.structs.replace(AT_8, incarnation="earlier"), EMPTY) is errors.STREAM_MISSING


def test_empty_stream_is_filled_by_permission_and_remembered_as_such() -> None:
    """After the permission was used, a restart goes on filling without another one."""
    purged = StreamView(first_sequence=21, last_sequence=20, lost=0, tail=None)
    position, remembered = position_in(LOG, AT_8, purged, may_refill=True)
    assert (position, remembered.high_water, remembered.first_sequence) == (0, 0, 21)
    assert position_in(LOG, remembered, purged, may_refill=False) == (0, remembered)
    filled = _ends_at(3, first_sequence=21, last_sequence=23)
    assert position_in(LOG, remembered, filled, may_refill=False)[0] == 3


def test_short_stream_is_refused_and_continued_by_permission() -> None:
    """Acknowledged messages that are gone from the end are noticed, and published again under the same ids."""
    assert _refusal(LOG, AT_8, _ends_at(5)) is errors.STREAM_MISSING
    position, remembered = position_in(LOG, AT_8, _ends_at(5), may_refill=True)
    assert (position, remembered.high_water) == (5, 5)
    assert position_in(LOG, remembered, _ends_at(5), may_refill=False)[0] == 5


@pytest.mark.parametrize("may_refill", [False, True])
def test_stream_ahead_of_the_log_is_refused_whatever_is_permitted(*, may_refill: bool) -> None:
    """A record that was restored to an earlier point must not reuse identities."""
    assert _refusal(LOG, AT_8, _ends_at(11), may_refill=may_refill) is errors.STREAM_OF_ANOTHER_LOG
    diverged = msgspec.structs.replace(LOG, has_tail=False)
    assert _refusal(diverged, AT_8, _ends_at(9), may_refill=may_refill) is errors.STREAM_OF_ANOTHER_LOG


@pytest.mark.parametrize("changes", [{"lost": 1}, {"first_sequence": 2}])
@pytest.mark.parametrize("may_refill", [False, True])
def test_stream_with_holes_is_refused_whatever_is_permitted(changes: dict[str, int], *, may_refill: bool) -> None:
    """Messages lost inside the stream cannot be put back in order."""
    assert _refusal(LOG, AT_8, _ends_at(9, **changes), may_refill=may_refill) is errors.STREAM_MISSING


def test_holes_that_were_there_when_the_stream_was_joined_are_no_news() -> None:
    """What somebody has decided about once is not asked again."""
    published = Published(incarnation="this", high_water=8, first_sequence=3, lost=2)
    assert position_in(LOG, published, _ends_at(9, first_sequence=3, lost=2), may_refill=False) == (9, published)


def test_stream_of_another_log_is_refused_and_continued_behind_by_permission() -> None:
    """Behind foreign messages the whole record is published, and a restart knows them again."""
    foreign = _ends_at(40, "other")
    assert _refusal(LOG, Published(), foreign) is errors.STREAM_OF_ANOTHER_LOG
    assert _refusal(LOG, AT_8, foreign) is errors.STREAM_OF_ANOTHER_LOG
    position, remembered = position_in(LOG, Published(), foreign, may_refill=True)
    assert (position, remembered.high_water, remembered.foreign_tail) == (0, 0, "other:40")
    assert position_in(LOG, remembered, foreign, may_refill=False) == (0, remembered)
    assert _refusal(LOG, remembered, _ends_at(41, "other")) is errors.STREAM_OF_ANOTHER_LOG
    assert position_in(LOG, remembered, _ends_at(2, lost=0), may_refill=False)[0] == 2


def test_log_that_was_published_before_is_not_published_again_behind_another_one() -> None:
    """A record of an earlier day goes on differently under identities that the stream knows: only a new log helps."""
    with pytest.raises(PlatformError) as refused:
        position_in(LOG, AT_8, _ends_at(40, "other"), may_refill=True)
    assert refused.value.code is errors.STREAM_OF_ANOTHER_LOG
    assert "--new-incarnation" in (refused.value.hint or "")
    renewed = msgspec.structs.replace(LOG, incarnation="next")
    assert position_in(renewed, AT_8, _ends_at(40, "other"), may_refill=True)[0] == 0


def test_message_of_no_relay_at_the_end_is_foreign() -> None:
    """Something that was published past the record is noticed, also without any header."""
    stray = StreamView(first_sequence=1, last_sequence=9, lost=0, tail=Tail(sequence=9))
    assert _refusal(LOG, AT_8, stray) is errors.STREAM_OF_ANOTHER_LOG
    assert _refusal(LOG, AT_8, stray, may_refill=True) is errors.STREAM_OF_ANOTHER_LOG
    position, remembered = position_in(LOG, Published(), stray, may_refill=True)
    assert (position, remembered.foreign_tail) == (0, "sequence 9")


@given(
    high_water=st.integers(0, 12),
    known=st.booleans(),
    tail=st.none() | st.integers(1, 14),
    foreign=st.booleans(),
    lost=st.integers(0, 1),
    has_tail=st.booleans(),
    may_refill=st.booleans(),
)
def test_judgement_never_skips_nor_repeats_of_its_own_accord(
    high_water: int,
    *,
    known: bool,
    tail: int | None,
    foreign: bool,
    lost: int,
    has_tail: bool,
    may_refill: bool,
) -> None:
    """Without permission nothing that was published is published again; with or without, nothing is skipped."""
    published = Published(incarnation="this", high_water=high_water) if known else Published()
    stream = EMPTY if tail is None else _ends_at(tail, "other" if foreign else "this", lost=lost)
    log = msgspec.structs.replace(LOG, has_tail=has_tail and not foreign)
    try:
        position, remembered = position_in(log, published, stream, may_refill=may_refill)
    except PlatformError:
        return
    in_stream = 0 if tail is None or foreign else tail
    assert position == in_stream
    assert remembered.incarnation == "this"
    assert remembered.high_water <= max(position, high_water)
    if known and not may_refill:
        assert position >= high_water
    # The same view again, without permission, is no reason to stop.
    assert position_in(log, remembered, stream, may_refill=False) == (position, remembered)
