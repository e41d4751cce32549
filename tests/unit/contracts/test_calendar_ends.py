"""Moments at the ends of the calendar: a database takes them, and nobody could read them out of it again."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chassis.upcasting import Upcasters
from contracts.envelope import MalformedEvent, decode, decode_data, encode
from contracts.event import Event, pinned_events
from contracts.samples import sample_envelopes

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:.*")
SAMPLES = sample_envelopes()
ENDS = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00")


def _with(value: Any, end: str) -> Iterator[Any]:
    """The value with one of its moments at an end of the calendar, for each of them."""
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        yield end
    elif isinstance(value, dict):
        yield from ({**value, name: other} for name, each in value.items() for other in _with(each, end))
    elif isinstance(value, list):
        yield from (
            [*value[:at], other, *value[at + 1 :]] for at, each in enumerate(value) for other in _with(each, end)
        )


def _moments_of(cls: type[Event]) -> set[str]:
    return {each.encode_name for each in msgspec.structs.fields(cls) if "datetime" in str(each.type)}


@pytest.mark.parametrize("end", ENDS)
def test_moment_within_an_event_that_is_none_everywhere_is_malformed(end: str) -> None:
    """Of every pinned event each moment by itself; the event costs itself alone, whoever reads it."""
    seen = set[str]()
    for cls in pinned_events().values():
        whole = json.loads(encode(SAMPLES[cls.NAME]))
        left_out = [name for name in _moments_of(cls) if whole["data"].get(name) is None]
        for data in (*_with(whole["data"], end), *({**whole["data"], name: end} for name in left_out)):
            seen.add(cls.NAME)
            envelope = decode(json.dumps({**whole, "data": data}).encode())
            with pytest.raises(MalformedEvent, match="end of the calendar"):
                decode_data(envelope)
    assert len(seen) > 15


@pytest.mark.parametrize("end", ENDS)
def test_own_time_of_an_event_is_one_everywhere(end: str) -> None:
    """Both ends."""
    whole = json.loads(encode(next(iter(SAMPLES.values()))))
    with pytest.raises(MalformedEvent, match="end of the calendar"):
        decode(json.dumps({**whole, "time": end}).encode())


def test_older_version_is_looked_at_once_it_is_the_newest() -> None:
    """What is upcast goes another way, and is read no less carefully."""
    cls = next(each for each in pinned_events().values() if any(_with(_data(each), ENDS[0])))
    upcasters = Upcasters()
    upcasters.register("config.of-before.v1", to=cls.NAME)(lambda fields: fields)
    envelope = msgspec.structs.replace(SAMPLES[cls.NAME], type="config.of-before.v1")
    assert type(upcasters.read(envelope)) is cls
    wrong = msgspec.Raw(json.dumps(next(_with(_data(cls), ENDS[1]))).encode())
    with pytest.raises(MalformedEvent, match="end of the calendar"):
        upcasters.read(msgspec.structs.replace(envelope, data=wrong))


def _data(cls: type[Event]) -> Any:
    return json.loads(encode(SAMPLES[cls.NAME]))["data"]
