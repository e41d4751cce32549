"""Quiet hours, pauses, gates and signatures: what telling decides without any server."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from contracts import errors
from contracts.errors import PlatformError
from contracts.notifications import NotificationEvent, QuietHours
from services.config.adapters.webhook import signature, signing_keys
from services.config.telling.gates import OF_ORGANISATION, Gates
from services.config.telling.policies import PAUSES, held_until, pause_after

NIGHT = QuietHours(start="22:00", end="07:00", time_zone="Europe/Berlin")


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        (NIGHT, "2026-11-27T21:59:59+01:00", None),
        (NIGHT, "2026-11-27T22:00:00+01:00", "2026-11-28T07:00:00+01:00"),
        (NIGHT, "2026-11-28T06:59:59+01:00", "2026-11-28T07:00:00+01:00"),
        (NIGHT, "2026-11-28T07:00:00+01:00", None),
        # The night in which the clocks go on, and the one in which they are put back.
        (NIGHT, "2027-03-27T23:00:00+01:00", "2027-03-28T07:00:00+02:00"),
        (NIGHT, "2026-10-24T23:00:00+02:00", "2026-10-25T07:00:00+01:00"),
        (QuietHours(start="12:00", end="14:00"), "2026-11-27T13:00:00+00:00", "2026-11-27T14:00:00+00:00"),
        (QuietHours(start="12:00", end="14:00"), "2026-11-27T15:00:00+00:00", None),
        (None, "2026-11-27T13:00:00+00:00", None),
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall(quiet: QuietHours | None, now: str, until: str | None) -> None:
    """Over midnight, and over the odd days of the year."""
    found = held_until(quiet, NotificationEvent.FAILED, _at(now), is_wedding_critical=False)
    assert found == (None if until is None else _at(until))


def test_quiet_hours_hold_back_no_alarm_of_a_critical_wedding_and_no_test() -> None:
    """What has gone well waits all the same."""
    now = _at("2026-11-27T23:00:00+01:00")
    for event in NotificationEvent:
        held = held_until(NIGHT, event, now, is_wedding_critical=True)
        assert (held is None) is (event in {"failed", "missed", "overdue", "test", "disaster-recovery"})


def test_quiet_hours_are_never_held_into_the_past_or_beyond_a_day() -> None:
    """At every quarter of an hour of a year, also where an end comes twice or not at all."""
    now, end = _at("2026-01-01T00:07:00+00:00"), _at("2027-01-01T00:00:00+00:00")
    odd = QuietHours(start="01:30", end="02:30", time_zone="Europe/Berlin")
    while now < end:
        for quiet in (NIGHT, odd):
            held = held_until(quiet, NotificationEvent.FAILED, now, is_wedding_critical=False)
            assert held is None or now < held <= now + timedelta(hours=25)
        now += timedelta(minutes=15)


def test_pauses_grow_and_last_for_about_a_day() -> None:
    """One that was away for an hour has what it missed a quarter of an hour later at most."""
    pauses = [pause_after(number + 1) for number in range(len(PAUSES))]
    assert pause_after(len(PAUSES) + 1) is None
    assert list(PAUSES) == sorted(PAUSES)
    total = timedelta()
    for pause in pauses:
        assert pause is not None
        if total < timedelta(hours=1):
            assert pause <= timedelta(minutes=15)
        total += pause
    assert timedelta(hours=20) < total < timedelta(hours=30)


def test_gates_let_one_of_a_channel_and_few_of_an_organisation_through() -> None:
    """After a failure the channel is closed to all but a test; those behind it come back one after another."""
    gates = Gates()
    assert gates.enter("a1", "a") is None
    assert (gates.enter("a1", "a") or 0) < (gates.enter("a1", "a") or 0)
    assert gates.enter("a2", "a") is None
    assert OF_ORGANISATION == 2
    assert gates.enter("a3", "a") is not None
    assert gates.enter("b1", "b") is None
    gates.leave("a1", "a", failed=True)
    assert gates.enter("a1", "a") is not None
    assert gates.enter("a3", "a") is None
    gates.leave("a3", "a", failed=False)
    assert gates.enter("a1", "a", even_failing=True) is None
    gates.leave("a1", "a", failed=False)
    assert gates.enter("a1", "a") is None


def test_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks; a secret of two lines signs with both."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    identity = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert signature(signing_keys(secret), identity, 1614265330, body) == expected
    assert signature(signing_keys(f"{secret}\n{secret}\n"), identity, 1614265330, body) == f"{expected} {expected}"


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!", "whsec_" + base64.b64encode(b"short").decode(), "a" * 40])
def test_secret_that_is_no_key_is_refused(text: str) -> None:
    """Without telling it."""
    with pytest.raises(PlatformError) as caught:
        signing_keys(text)
    assert caught.value.code is errors.SECRET_UNUSABLE
    assert not text or text not in caught.value.message
