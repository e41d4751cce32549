"""Pins in words."""

from datetime import UTC, datetime

import pytest

from cli.repo_pins import in_words
from repository.retention.pin_watch import PinFound
from repository.stored.pin import Pin

PIN = Pin(beat=1, time_ns=0, holder="restore on host", everything=True)


@pytest.mark.parametrize(
    ("is_dead", "silent_since", "ending"),
    [
        (False, None, "keeps everything"),
        (False, datetime(2026, 1, 2, tzinfo=UTC), "keeps everything, seen unchanged since 2026-01-02 00:00:00 UTC"),
        (True, datetime(2026, 1, 2, tzinfo=UTC), "not renewed it since 2026-01-02 00:00:00 UTC: it is dead"),
        (True, None, "its holder was a process of this machine, and has ended: it is dead"),
    ],
)
def test_pin_says_whether_its_holder_lives(is_dead: bool, silent_since: datetime | None, ending: str) -> None:
    """One whose holder has ended has not been looked at before: that ended the list with a traceback."""
    assert in_words(PinFound("a", b"id", PIN, silent_since=silent_since, is_dead=is_dead)).endswith(ending)
