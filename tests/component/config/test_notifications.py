"""Notifications: what is planned of which fact, what is sent, and what is recorded of it, over real Postgres."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chassis.ids import new_id
from chassis.life.health import Health
from chassis.record.statements import AlreadyHandled
from chassis.timers.loop import TimerLoop
from chassis.timers.table import Timer
from contracts import errors
from contracts.config_events import (
    BackupMissed,
    NotificationChannelChangeRefused,
    NotificationChannelCreated,
    NotificationChannelRefused,
    NotificationChannelRetired,
    NotificationChannelRetirementRefused,
    NotificationChannelUpdated,
    NotificationDelayed,
    NotificationDelivered,
    NotificationDue,
    NotificationGivenUp,
    NotificationTestAccepted,
    NotificationTestRefused,
)
from contracts.disaster import StepNotice
from contracts.dr_events import DrTestMissed
from contracts.dr_execution_events import DrNoticeAsked
from contracts.event import Event
from contracts.executor_events import BackupAccepted, BackupCancelled, BackupCompleted, BackupFailed, BackupRefused
from contracts.gateway_events import (
    ConfigurationSubmitted,
    NotificationChannelChangeSubmitted,
    NotificationChannelRetirementRequested,
    NotificationChannelSubmitted,
    NotificationTestRequested,
)
from contracts.notifications import (
    CHANNEL_ADDRESS_FIELD,
    CHANNEL_NAME_FIELD,
    CHANNELS_MAX,
    CHOSEN,
    ChannelBody,
    ChannelKind,
    NotificationEvent,
    QuietHours,
)
from contracts.samples import sample_event
from services.config.adapters import people, webhook
from services.config.adapters.notices import NOTIFICATION, ChannelWatch
from services.config.adapters.receivers import OpenedReceivers, secret_file
from services.config.adapters.record import DUE, OVERDUE
from services.config.telling import notices
from services.config.telling.domain import Notification
from services.config.telling.notices import Attempts, Telling
from tests.component.config.test_changes import CONFIGURATION, EVIDENCE, HOURLY, OTHER_STUDIO, STUDIO, Desk
from tests.component.config.test_changes import _overdue as fall_overdue
from tests.support.configurations import body as configuration
from tests.support.eventually import eventually
from tests.support.receiver import HANGS, Receiver

pytestmark = pytest.mark.stack

EVERY = CHOSEN
KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass
class Bell:
    """A desk with a receiver, and what is due at it."""

    desk: Desk
    receiver: Receiver
    attempts: Attempts
    keys: Path

    def body(self, organisation: str = STUDIO, **changes: Any) -> ChannelBody:
        sealer = self.desk.weddings._sealer
        url = changes.pop("url", self.receiver.url)
        body = ChannelBody(
            name=sealer.seal(organisation, CHANNEL_NAME_FIELD, "On call"),
            kind=ChannelKind.WEBHOOK,
            secret="alarms",
            events=EVERY,
            address=sealer.seal(organisation, CHANNEL_ADDRESS_FIELD, url),
        )
        return replace(body, **changes)

    async def channel(self, organisation: str = STUDIO, **changes: Any) -> str:
        """Make one; its id."""
        channel_id = new_id()
        await self.desk.hear(
            NotificationChannelSubmitted(
                request_id=new_id(), channel_id=channel_id, body=self.body(organisation, **changes), evidence=EVIDENCE
            ),
            organisation,
        )
        return channel_id

    async def answer_of(self, channel_id: str) -> Event:
        return (await self.desk.told(channel_id))[-1]

    async def fire(self, *, now: bool = True) -> int:
        """Handle what is due, and what is due later as if it were; how many there were."""
        fired = 0
        if now:
            async with self.desk.notices._pool.connection() as connection:
                await connection.execute("UPDATE timers SET due_at = now() WHERE kind = %s", (NOTIFICATION,))
        while (timer := await self.desk.timers.take([NOTIFICATION])) is not None:
            await self.attempts.attempt(self.desk.notices.due_of(timer))
            fired += 1
        return fired

    async def waiting(self, kind: str = NOTIFICATION) -> list[str]:
        async with self.desk.notices._pool.connection() as connection:
            rows = await (await connection.execute("SELECT name FROM timers WHERE kind = %s", (kind,))).fetchall()
        return [name for (name,) in rows]

    async def history(self, event_id: str, channel_id: str) -> list[Event]:
        """What is recorded of one notification."""
        return await self.desk.told(Notification.of(event_id, channel_id).id)


@pytest.fixture
async def bell(desk: Desk, tmp_path: Path) -> AsyncIterator[Bell]:
    receiver = await Receiver().start()
    for organisation in (STUDIO, OTHER_STUDIO):
        path = secret_file(tmp_path / "keys", organisation, "alarms")
        path.parent.mkdir(parents=True)
        path.write_text(SECRET)
    yield Bell(desk, receiver, Attempts(desk.channels, desk.notices, desk.receivers), tmp_path / "keys")
    await receiver.stop()


async def _failing(watch: ChannelWatch) -> float:
    figures = {each.name: each.samples[0].value for each in await watch.figures()}
    assert figures["wedsync_notifications_late_seconds"] >= 0
    return figures["wedsync_notification_channels_failing"]


def _failed(**changes: Any) -> BackupFailed:
    about = {"configuration_id": CONFIGURATION, "execution_id": new_id()}
    return replace(sample_event(BackupFailed), **{**about, **changes})


async def test_failure_is_told_once_signed_and_without_a_name(bell: Bell) -> None:
    """The same fact, heard again as another message, plans nothing; the id is that of the delivery."""
    channel = await bell.channel()
    failed, event_id = _failed(), new_id()
    await bell.desk.hear(failed, event_id=event_id)
    with pytest.raises(AlreadyHandled):
        await bell.desk.hear(failed, event_id=event_id)
    assert await bell.fire() == 1
    (received,) = bell.receiver.came
    told = json.loads(received.body)
    assert (told["type"], told["data"]["configurationId"]) == ("backup.failed", CONFIGURATION)
    assert (told["data"]["code"], told["data"]["executionId"]) == (failed.code, failed.execution_id)
    stamp = received.headers["webhook-timestamp"]
    identity = Notification.of(event_id, channel).id
    assert received.headers["webhook-id"] == identity
    assert received.headers["webhook-signature"] == webhook.signature([KEY], identity, int(stamp), received.body)
    assert "smith" not in (received.body.decode() + str(received.headers)).lower()
    due, delivered = await bell.history(event_id, channel)
    assert isinstance(due, NotificationDue)
    assert isinstance(delivered, NotificationDelivered)
    assert (delivered.attempts, delivered.status, await bell.waiting()) == (1, 204, [])


async def test_each_kind_of_fact_is_told_as_what_it_is(bell: Bell) -> None:
    """A whole run after a bad one is a recovery, to those who want that; who asked by hand is told by the answer."""
    await bell.channel()
    await bell.channel(events=(NotificationEvent.COMPLETED,))
    await bell.channel(organisation=OTHER_STUDIO)
    about = {"configuration_id": CONFIGURATION}
    whole = replace(sample_event(BackupCompleted), **about, degraded=False, code=None, catch_ups=())
    for event in (
        replace(sample_event(BackupAccepted), **about),
        whole,
        replace(whole, degraded=True),
        replace(sample_event(BackupMissed), **about),
        replace(sample_event(BackupRefused), **about, due_at=None),
        replace(sample_event(BackupRefused), **about, due_at=sample_event(BackupMissed).due_at),
        _failed(code=errors.SCHEDULE_MISSED.code),
        _failed(),
        whole,
        whole,
        replace(sample_event(BackupCancelled), **about),
        replace(_failed(), configuration_id=new_id()),
    ):
        await bell.desk.hear(event)
        await bell.fire()
    told = [json.loads(each.body)["data"]["event"] for each in bell.receiver.came]
    # Of what two channels are told at once the order is chance.
    assert told[:8] == ["started", "completed", "completed", "degraded", "missed", "missed", "missed", "failed"]
    assert sorted(told[8:10]) == ["completed", "recovered"]
    assert told[10:] == ["completed", "completed"]


async def test_step_of_a_plan_tells_its_channels_whatever_they_are_for_and_hears_of_none_that_is_not_there(
    bell: Bell,
) -> None:
    """Once, at any hour; one of another organisation is none."""
    moment = (await bell.desk.turns.look("")).now
    quiet = QuietHours(start=f"{moment - timedelta(hours=1):%H:%M}", end=f"{moment + timedelta(hours=2):%H:%M}")
    channel = await bell.channel(events=(NotificationEvent.MISSED,), quiet_hours=quiet)
    foreign = await bell.channel(organisation=OTHER_STUDIO)
    notices = tuple(StepNotice(channel_id=each, notification_id=new_id()) for each in (channel, foreign))
    asked = replace(sample_event(DrNoticeAsked), notices=notices)
    await bell.desk.hear(asked)
    await bell.desk.hear(asked)
    await bell.fire(now=False)
    missed = replace(
        sample_event(DrTestMissed), notices=(StepNotice(channel_id=channel, notification_id=new_id()),), due_at=moment
    )
    await bell.desk.hear(missed)
    await bell.fire(now=False)
    received, untested = bell.receiver.came
    data = json.loads(untested.body)["data"]
    assert (data["executionId"], data["code"], data["dueAt"] is None) == (None, missed.code, False)
    told = json.loads(received.body)
    assert (told["type"], told["data"]["executionId"]) == ("backup.disaster-recovery", asked.execution_id)
    first, second = [(await bell.desk.told(each.notification_id))[-1] for each in notices]
    assert isinstance(first, NotificationDelivered)
    assert isinstance(second, NotificationGivenUp)
    assert second.code == errors.CHANNEL_UNKNOWN.code
    assert await bell.waiting() == []


async def test_channel_is_told_of_its_configurations_and_of_nothing_before_it(bell: Bell) -> None:
    """Neither of others, nor of what happened before there was a channel, however late it is heard of."""
    old = new_id()
    await bell.desk.create(configuration("jones"), "configuration-2")
    await bell.channel(configuration_ids=(CONFIGURATION,))
    await bell.desk.hear(_failed(), event_id=old)
    await bell.desk.hear(replace(_failed(), configuration_id="configuration-2"))
    assert await bell.waiting() == []
    await bell.desk.hear(_failed())
    assert len(await bell.waiting()) == 1


async def test_dead_receiver_is_tried_for_a_day_then_given_up_and_told(bell: Bell) -> None:
    """Every attempt is on record with its next; the readiness says so until the channel works again."""
    channel, event_id = await bell.channel(), new_id()
    bell.receiver.answer = lambda _: 500
    await bell.desk.hear(_failed(), event_id=event_id)
    watch = ChannelWatch(bell.desk.notices._pool)
    while await bell.waiting():
        bell.attempts._gates._failing.clear()
        await bell.fire()
    history = await bell.history(event_id, channel)
    delayed, last = history[1:-1], history[-1]
    assert all(isinstance(each, NotificationDelayed) for each in delayed)
    assert [each.attempts for each in delayed] == list(range(1, len(delayed) + 1))  # type: ignore[attr-defined]
    assert {(each.code, each.status) for each in delayed} == {(errors.RECEIVER_FAILED.code, 500)}  # type: ignore[attr-defined]
    assert isinstance(last, NotificationGivenUp)
    assert len({each.headers["webhook-id"] for each in bell.receiver.came}) == 1
    assert await _failing(watch) == 1

    bell.receiver.answer = lambda _: 200
    bell.attempts._gates._failing.clear()
    request = NotificationTestRequested(request_id=new_id(), channel_id=channel, evidence=EVIDENCE)
    await bell.desk.hear(request)
    await bell.fire()
    assert json.loads(bell.receiver.came[-1].body)["type"] == "backup.test"
    assert await _failing(watch) == 0


@pytest.mark.parametrize(
    ("status", "code", "is_over"),
    [
        (410, errors.RECEIVER_GONE, True),
        (302, errors.RECEIVER_REDIRECTS, False),
        (404, errors.RECEIVER_FAILED, False),
        (HANGS, errors.RECEIVER_SLOW, False),
        (None, errors.RECEIVER_UNREACHABLE, False),
    ],
)
async def test_what_a_receiver_does_is_told_by_a_code(
    bell: Bell, status: int | None, code: errors.ErrorCode, is_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirection is followed nowhere; one that says nothing is left; gone is gone."""
    if status == HANGS:
        monkeypatch.setattr(webhook, "SEND_SECONDS", 0.3)
    elsewhere = await Receiver().start()
    bell.receiver.location = elsewhere.url
    channel, event_id = await bell.channel(), new_id()
    if status is None:
        await bell.receiver.stop()
    else:
        bell.receiver.answer = lambda _: status
    await bell.desk.hear(_failed(), event_id=event_id)
    await bell.fire()
    last = (await bell.history(event_id, channel))[-1]
    assert isinstance(last, NotificationGivenUp if is_over else NotificationDelayed)
    assert (last.code, last.status) == (code.code, status or None)
    assert elsewhere.came == []
    await elsewhere.stop()


async def test_what_was_sent_and_not_recorded_is_sent_again_under_its_id(bell: Bell, monkeypatch: Any) -> None:
    """Who dies between the two leaves the timer, which another one takes."""
    channel, event_id = await bell.channel(), new_id()
    await bell.desk.hear(_failed(), event_id=event_id)

    async def die(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(type(bell.desk.notices), "settle", die)
        with pytest.raises(SystemExit):
            await bell.fire()
    async with bell.desk.notices._pool.connection() as connection:
        await connection.execute("UPDATE timers SET held_until = NULL")
    await bell.fire()
    first, second = bell.receiver.came
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert len(await bell.history(event_id, channel)) == 2


async def test_failing_channel_keeps_no_other_waiting(bell: Bell) -> None:
    """After one failure the rest of it waits, without an attempt; another channel has its own meanwhile."""
    failing = await Receiver(answer=lambda _: 500).start()
    await bell.channel(url=failing.url)
    for _ in range(5):
        await bell.desk.hear(_failed())
    well = await bell.channel()
    await bell.desk.hear(_failed())
    assert await bell.fire() == 7
    assert len(failing.came) == 1
    assert len(bell.receiver.came) == 1
    assert len(await bell.waiting()) == 6
    assert isinstance((await bell.answer_of(well)), NotificationChannelCreated)
    await failing.stop()


async def test_quiet_hours_hold_back_and_silence_no_failure_of_a_critical_wedding(bell: Bell) -> None:
    """Held till their end; a test, and an alarm of a critical configuration, are sent at once."""
    moment = (await bell.desk.turns.look("")).now
    start, end = moment - timedelta(hours=1), moment + timedelta(hours=2)
    channel = await bell.channel(quiet_hours=QuietHours(start=f"{start:%H:%M}", end=f"{end:%H:%M}"))
    event_id = new_id()
    await bell.desk.hear(_failed(), event_id=event_id)
    await bell.fire(now=False)
    assert bell.receiver.came == []
    (due,) = await bell.history(event_id, channel)
    assert isinstance(due, NotificationDue)
    assert f"{due.next_attempt_at:%H:%M}" == f"{end:%H:%M}"
    # Also where it is due before they end, as one that is tried again is.
    await bell.fire()
    assert bell.receiver.came == []
    last = (await bell.history(event_id, channel))[-1]
    assert isinstance(last, NotificationDelayed)
    assert (last.code, last.attempts) == (errors.QUIET.code, 0)

    await bell.desk.change(configuration("smith", is_wedding_critical=True))
    await bell.desk.hear(_failed())
    await bell.desk.hear(replace(sample_event(BackupAccepted), configuration_id=CONFIGURATION))
    await bell.fire(now=False)
    assert [json.loads(each.body)["data"]["event"] for each in bell.receiver.came] == ["failed"]


async def test_run_that_fell_due_and_does_not_end_is_told_as_overdue(bell: Bell) -> None:
    """The wait begins with the instant, and ends with the run, however that ends."""
    await bell.desk.change(configuration("smith", schedule=HOURLY))
    await fall_overdue(bell.desk)
    instant = await bell.desk.timers.take([DUE])
    assert instant is not None
    await bell.desk.schedules.turn(bell.desk.turns.turn_of(instant))
    (run,) = await bell.waiting(OVERDUE)
    await bell.channel()
    async with bell.desk.notices._pool.connection() as connection:
        await connection.execute("UPDATE timers SET due_at = now() WHERE kind = %s", (OVERDUE,))
        for name in (ended := [new_id(), new_id()]):
            await connection.execute(
                "INSERT INTO timers (kind, name, due_at, body, fence) VALUES (%s, %s, now(), %s, 1)",
                (OVERDUE, name, CONFIGURATION.encode()),
            )
    await bell.desk.hear(replace(_failed(), execution_id=ended[0]))
    await bell.desk.hear(replace(sample_event(BackupCancelled), execution_id=ended[1]))
    assert await bell.waiting(OVERDUE) == [run]
    timer = await bell.desk.timers.take([OVERDUE])
    assert timer is not None
    await Telling(bell.desk.channels, bell.desk.notices).overdue(bell.desk.notices.due_of(timer))
    assert await bell.waiting(OVERDUE) == []
    await bell.fire()
    told = {json.loads(each.body)["data"]["event"]: json.loads(each.body)["data"] for each in bell.receiver.came}
    assert told["overdue"]["executionId"] == run
    assert told["overdue"]["code"] == errors.BACKUP_OVERDUE.code
    # It ends whole after all: whoever was called hears of it.
    whole = replace(sample_event(BackupCompleted), configuration_id=CONFIGURATION, degraded=False)
    await bell.desk.hear(replace(whole, code=None, catch_ups=(), execution_id=run))
    await bell.fire()
    assert json.loads(bell.receiver.came[-1].body)["data"]["event"] == "recovered"


async def test_channel_is_changed_retired_and_refused_with_every_field(bell: Bell) -> None:
    """What waits for a retired one is given up; nothing more can be asked of it."""
    channel, event_id = await bell.channel(), new_id()
    await bell.desk.hear(_failed(), event_id=event_id)
    wrong = {
        "events": (),
        "secret": "nothing",
        "configuration_ids": ("nobody",),
        "quiet_hours": QuietHours(start="25:00", end="07:00", time_zone="Mars/Olympus"),
    }
    refused = await bell.answer_of(await bell.channel(**wrong))
    assert isinstance(refused, NotificationChannelRefused)
    fields = ["events", "quietHours.start", "quietHours.timeZone", "configurationIds[0]", "secret"]
    assert [each.field for each in refused.wrong] == fields

    async def change(body: ChannelBody, seen: int) -> Event:
        request = NotificationChannelChangeSubmitted(
            request_id=new_id(), channel_id=channel, expected_version=seen, body=body, evidence=EVIDENCE
        )
        await bell.desk.hear(request)
        return await bell.answer_of(channel)

    assert isinstance(await change(bell.body(events=(NotificationEvent.FAILED,)), 1), NotificationChannelUpdated)
    conflict = await change(bell.body(), 1)
    assert isinstance(conflict, NotificationChannelChangeRefused)
    assert conflict.code == errors.VERSION_CONFLICT.code
    retirement = NotificationChannelRetirementRequested(request_id=new_id(), channel_id=channel, evidence=EVIDENCE)
    await bell.desk.hear(retirement)
    assert isinstance(await bell.answer_of(channel), NotificationChannelRetired)
    await bell.fire()
    last = (await bell.history(event_id, channel))[-1]
    assert isinstance(last, NotificationGivenUp)
    assert (last.code, bell.receiver.came) == (errors.CHANNEL_RETIRED.code, [])
    assert await _failing(ChannelWatch(bell.desk.notices._pool)) == 0
    await bell.desk.hear(_failed())
    assert await bell.waiting() == []
    for request, answer in (
        (replace(retirement, request_id=new_id()), NotificationChannelRetirementRefused),
        (
            NotificationTestRequested(request_id=new_id(), channel_id=channel, evidence=EVIDENCE),
            NotificationTestRefused,
        ),
    ):
        await bell.desk.hear(request)
        told = await bell.answer_of(channel)
        assert isinstance(told, answer)
        assert told.code == errors.CHANNEL_RETIRED.code  # type: ignore[attr-defined]
    unknown = NotificationTestRequested(request_id=new_id(), channel_id=channel, evidence=EVIDENCE)
    await bell.desk.hear(unknown, OTHER_STUDIO)
    assert isinstance(await bell.answer_of(unknown.request_id), NotificationTestRefused)
    for _ in range(CHANNELS_MAX):
        await bell.channel()
    full = await bell.answer_of(await bell.channel())
    assert isinstance(full, NotificationChannelRefused)
    assert full.code == errors.TOO_MANY_CHANNELS.code


async def test_channel_for_which_too_many_wait_takes_no_more(bell: Bell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given up at once is on record as that, and the readiness tells it."""
    monkeypatch.setattr(notices, "WAITING_MAX", 2)
    channel, last = await bell.channel(), new_id()
    for event_id in (new_id(), new_id(), last):
        await bell.desk.hear(_failed(), event_id=event_id)
    assert len(await bell.waiting()) == 2
    _, given_up = await bell.history(last, channel)
    assert isinstance(given_up, NotificationGivenUp)
    assert (given_up.code, given_up.attempts) == (errors.CHANNEL_FULL.code, 0)
    assert await _failing(ChannelWatch(bell.desk.notices._pool)) == 1
    # What waits, such as for the end of quiet hours, keeps back no alarm of a critical wedding.
    await bell.desk.change(configuration("smith", is_wedding_critical=True))
    alarm = new_id()
    await bell.desk.hear(_failed(), event_id=alarm)
    (planned,) = await bell.history(alarm, channel)
    assert isinstance(planned, NotificationDue)


async def test_private_receiver_is_refused_where_the_operator_does_not_allow_it(bell: Bell) -> None:
    """When the channel is made, and once more at each attempt: the rule may be stricter by then."""
    channel, event_id = await bell.channel(), new_id()
    await bell.desk.hear(_failed(), event_id=event_id)
    strict = OpenedReceivers(bell.desk.weddings._sealer, private=False)
    bell.attempts = Attempts(bell.desk.channels, bell.desk.notices, strict)
    bell.desk.receivers = strict
    await bell.fire()
    last = (await bell.history(event_id, channel))[-1]
    assert isinstance(last, NotificationDelayed)
    assert (last.code, bell.receiver.came) == (errors.INVALID_FIELD.code, [])
    for url, code in (
        ("https://127.0.0.1/hook", errors.RECEIVER_NOT_PUBLIC),
        ("https://localhost/hook", errors.RECEIVER_NOT_PUBLIC),
        ("https://[::ffff:10.0.0.1]/hook", errors.RECEIVER_NOT_PUBLIC),
        ("https://169.254.169.254/latest/meta-data", errors.RECEIVER_NOT_PUBLIC),
        ("http://93.184.216.34/hook", errors.INVALID_FIELD),
    ):
        refused = await bell.answer_of(await bell.channel(url=url))
        assert isinstance(refused, NotificationChannelRefused), url
        assert (refused.code, refused.field) == (code.code, "url"), url


async def test_test_of_a_channel_is_accepted_with_its_request(bell: Bell) -> None:
    """Whatever it is for."""
    channel = await bell.channel(events=(NotificationEvent.MISSED,))
    request = NotificationTestRequested(request_id=new_id(), channel_id=channel, evidence=EVIDENCE)
    await bell.desk.hear(request)
    (accepted,) = await bell.history(request.request_id, channel)
    assert isinstance(accepted, NotificationTestAccepted)
    assert accepted.request_id == request.request_id


async def test_people_are_told_by_a_service_whose_address_is_a_secret(bell: Bell) -> None:
    """By a process of its own: what arrives has no name in it; what does not is tried again."""
    path = secret_file(bell.keys, STUDIO, "people")
    path.write_text(f"json://127.0.0.1:{bell.receiver.port}/hook")
    channel, event_id = await bell.channel(kind=ChannelKind.SERVICE, address=None, secret="people"), new_id()
    assert isinstance(await bell.answer_of(channel), NotificationChannelCreated)
    await bell.desk.hear(_failed(), event_id=event_id)
    await bell.fire()
    (received,) = bell.receiver.came
    told = json.loads(received.body)
    assert (told["title"], told["type"]) == ("WedSync Backup: Backup failed", "failure")
    assert CONFIGURATION in told["message"]
    assert isinstance((await bell.history(event_id, channel))[-1], NotificationDelivered)

    bell.receiver.answer = lambda _: 302
    bell.receiver.location = f"http://127.0.0.1:{bell.receiver.port}/elsewhere"
    await bell.desk.hear(_failed(), event_id=(second := new_id()))
    await bell.fire()
    last = (await bell.history(second, channel))[-1]
    assert isinstance(last, NotificationDelayed)
    assert {each.path for each in bell.receiver.came} == {"/hook"}

    path.write_text("syslog://")
    refused = await bell.answer_of(await bell.channel(kind=ChannelKind.SERVICE, address=None, secret="people"))
    assert isinstance(refused, NotificationChannelRefused)
    assert (refused.code, refused.field) == (errors.SECRET_UNUSABLE.code, "secret")


async def test_service_that_takes_too_long_is_ended(bell: Bell, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its process, and nothing of it is left."""
    monkeypatch.setattr(people, "PEOPLE_SECONDS", 0.2)
    secret_file(bell.keys, STUDIO, "people").write_text(f"json://127.0.0.1:{bell.receiver.port}/hook")
    channel, event_id = await bell.channel(kind=ChannelKind.SERVICE, address=None, secret="people"), new_id()
    await bell.desk.hear(_failed(), event_id=event_id)
    await bell.fire()
    last = (await bell.history(event_id, channel))[-1]
    assert isinstance(last, NotificationDelayed)
    assert last.code == errors.RECEIVER_SLOW.code


async def test_two_replicas_send_each_once_and_a_hanging_receiver_holds_up_nobody(
    bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the loops that fire in two processes: what hangs is one organisation's, what arrives is another's."""
    monkeypatch.setattr(webhook, "SEND_SECONDS", 60.0)
    hanging = await Receiver(answer=lambda _: HANGS).start()
    for _ in range(3):
        await bell.channel(organisation=OTHER_STUDIO, url=hanging.url)
    await bell.desk.hear(
        ConfigurationSubmitted(
            request_id=new_id(), configuration_id="configuration-9", body=configuration("other"), evidence=EVIDENCE
        ),
        OTHER_STUDIO,
    )
    for _ in range(8):
        await bell.desk.hear(replace(_failed(), configuration_id="configuration-9"), OTHER_STUDIO)
    await bell.channel()
    told = [new_id() for _ in range(5)]
    for event_id in told:
        await bell.desk.hear(_failed(), event_id=event_id)
    loops = [
        TimerLoop(
            bell.desk.timers,
            {NOTIFICATION: _sending(Attempts(bell.desk.channels, bell.desk.notices, bell.desk.receivers), bell)},
            health=Health("config"),
            every_seconds=0.05,
            at_once={NOTIFICATION: 16},
        )
        for _ in range(2)
    ]
    for loop in loops:
        await loop.start()
    await eventually(lambda: len(bell.receiver.came) >= len(told))
    # Of three channels in two processes: two of the organisation are under way in each, and no more begins.
    assert len(hanging.came) <= 4
    await hanging.stop()
    await asyncio.gather(*(loop.stop() for loop in loops))
    assert len({each.headers["webhook-id"] for each in bell.receiver.came}) == len(bell.receiver.came) == len(told)


def _sending(attempts: Attempts, bell: Bell) -> Callable[[Timer], Awaitable[None]]:
    async def send(timer: Timer) -> None:
        await attempts.attempt(bell.desk.notices.due_of(timer))

    return send
