"""Configurations that are changed or retired: what the owner records, whoever is faster."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from chassis.clock import SystemClock
from chassis.context import Context
from chassis.handling import Handled, Handling, deal_with
from chassis.ids import new_id
from chassis.locations import Locations
from chassis.record.eventstore import EventStore
from chassis.record.statements import StatementRefused
from chassis.timers.table import TimerTable, set_at
from contracts import errors
from contracts.config_events import (
    BackupFellDue,
    BackupMissed,
    ConfigurationChangeRefused,
    ConfigurationCreated,
    ConfigurationFact,
    ConfigurationPaused,
    ConfigurationPauseRefused,
    ConfigurationRefused,
    ConfigurationResumed,
    ConfigurationResumptionRefused,
    ConfigurationRetired,
    ConfigurationRetirementRefused,
    ConfigurationUpdated,
)
from contracts.configuration import (
    WEDDING_DATE_FIELD,
    ConfigurationBody,
    ConfigurationState,
    Destination,
    StorageDestinations,
)
from contracts.envelope import decode_data
from contracts.event import Event
from contracts.gateway_events import (
    ConfigurationChangeSubmitted,
    ConfigurationPauseRequested,
    ConfigurationResumptionRequested,
    ConfigurationRetirementRequested,
    ConfigurationSubmitted,
    Evidence,
)
from contracts.schedule import Schedule
from services.config.adapters.bulk import GatheredItems
from services.config.adapters.notices import RecordedChannels, RecordedNotices
from services.config.adapters.record import DUE, RecordedConfigurations, RecordedPolicies, RecordedTurns
from services.config.adapters.weddings import SealedWeddings
from services.config.application import Schedules
from services.config.bootstrap import use_cases
from services.config.telling.ports import Receivers
from tests.component.config.test_config_service import OTHER_STUDIO, STUDIO
from tests.support.configurations import body, destinations
from tests.support.published import assert_as_promised

pytestmark = pytest.mark.stack

EVIDENCE = Evidence(assurance="aal1")
PROVEN = Evidence(assurance="aal2", factors=("totp",), second_factor=True)
CONFIGURATION = "configuration-1"
HOURLY = Schedule(cron="0 * * * *")


@dataclass
class Desk:
    """What decides, over real Postgres, asked as its handlers ask."""

    store: EventStore
    locations: Locations
    timers: TimerTable
    weddings: SealedWeddings
    gathered: GatheredItems
    channels: RecordedChannels
    notices: RecordedNotices
    receivers: Receivers

    @property
    def turns(self) -> RecordedTurns:
        """What falls due."""
        return RecordedTurns(self.store, self.timers)

    @property
    def schedules(self) -> Schedules:
        """What deals with that."""
        return Schedules(self.turns, self.weddings)

    async def hear(self, event: Event, organisation: str = STUDIO, *, event_id: str | None = None) -> None:
        """Deal with a request, or with a fact of this id."""
        context = Context(organisation=organisation, actor="user:u1", correlation_id="correlation-1")
        made = use_cases(
            RecordedConfigurations(self.store),
            self.locations,
            self.turns,
            self.weddings,
            RecordedPolicies(self.store),
            self.gathered,
            self.channels,
            self.notices,
            self.receivers,
        )
        use_case = made[type(event)]
        taker = next(each for each in event.TAKEN_BY if each.startswith("config--"))
        await deal_with(use_case, event, Handling(context=context, handled=Handled(taker, event_id or new_id())))

    async def create(self, submitted: ConfigurationBody, configuration_id: str = CONFIGURATION) -> Event:
        """Submit a configuration; the answer."""
        request = ConfigurationSubmitted(
            request_id=new_id(), configuration_id=configuration_id, body=submitted, evidence=EVIDENCE
        )
        await self.hear(request)
        return (await self.told(configuration_id))[-1]

    async def change(
        self,
        changed: ConfigurationBody,
        *,
        seen: int = 1,
        configuration_id: str = CONFIGURATION,
        organisation: str = STUDIO,
        evidence: Evidence = EVIDENCE,
    ) -> Event:
        """Submit a change; the answer."""
        request = ConfigurationChangeSubmitted(
            request_id=new_id(),
            configuration_id=configuration_id,
            expected_version=seen,
            body=changed,
            evidence=evidence,
        )
        await self.hear(request, organisation)
        return await self.answer_to(request)

    async def retire(self, configuration_id: str = CONFIGURATION) -> Event:
        """Ask for a retirement; the answer."""
        return await self.ask(ConfigurationRetirementRequested, configuration_id)

    async def pause(self) -> Event:
        """Ask for a pause; the answer."""
        return await self.ask(ConfigurationPauseRequested)

    async def resume(self) -> Event:
        """Ask for its end; the answer."""
        return await self.ask(ConfigurationResumptionRequested)

    async def ask(self, kind: type[Any], configuration_id: str = CONFIGURATION) -> Event:
        """Ask for what takes no words; the answer."""
        request = kind(request_id=new_id(), configuration_id=configuration_id, evidence=EVIDENCE)
        await self.hear(request)
        return await self.answer_to(request)

    async def answer_to(self, request: Any) -> Event:
        """What is recorded of a request, in the history of what it is about or in one of its own."""
        told = await self.told(request.configuration_id) + await self.told(request.request_id)
        (answer,) = [event for event in told if getattr(event, "request_id", "") == request.request_id]
        return answer

    async def told(self, subject: str) -> list[Event]:
        """All that is recorded of a configuration, each as its schema promises it."""
        envelopes = await self.store.history(subject)
        for envelope in envelopes:
            assert_as_promised(envelope)
        return [decode_data(envelope) for envelope in envelopes]


async def test_change_is_the_next_version_and_tells_what_was_before(desk: Desk) -> None:
    """A refusal between two versions counts none."""
    await desk.change(body("brown"), seen=7)
    first = await desk.change(body("jones"))
    assert isinstance(first, ConfigurationUpdated)
    assert (first.version, first.before, first.body) == (2, body("smith"), body("jones"))
    second = await desk.change(body("jones", tags=("new",)), seen=2)
    assert isinstance(second, ConfigurationUpdated)
    assert (second.version, second.before) == (3, body("jones"))


async def test_of_two_changes_of_one_version_one_is_made(desk: Desk) -> None:
    """The other is told, and which version is in force."""
    answers = await asyncio.gather(*(desk.change(body(f"rush {number}")) for number in range(4)))
    assert sum(isinstance(answer, ConfigurationUpdated) for answer in answers) == 1
    refused = [answer for answer in answers if isinstance(answer, ConfigurationChangeRefused)]
    assert {(each.code, each.field) for each in refused} == {(errors.VERSION_CONFLICT.code, "If-Match")}
    assert "is version 2" in refused[0].hint


async def test_name_that_was_given_up_is_free_and_one_that_is_taken_is_refused(desk: Desk) -> None:
    """Among all configurations of the organisation, by their versions in force."""
    await desk.create(body("jones"), "configuration-2")
    refused = await desk.change(body("jones"))
    assert isinstance(refused, ConfigurationChangeRefused)
    assert (refused.code, refused.field) == (errors.CONFIGURATION_NAME_TAKEN.code, "name")
    assert isinstance(await desk.change(body("brown")), ConfigurationUpdated)
    assert isinstance(await desk.change(body("smith"), configuration_id="configuration-2"), ConfigurationUpdated)


async def test_change_that_cannot_be_is_refused_with_code_and_field(desk: Desk) -> None:
    """By the same rules as a new one; of another organisation's, or one that was never made, there is nothing."""
    await desk.create(body("other", source_location="nowhere"), "refused")
    critical = body(is_wedding_critical=True, schedule=HOURLY)
    last_day = desk.weddings._sealer.seal(STUDIO, WEDDING_DATE_FIELD, "9999-12-31")
    far = msgspec.structs.replace(critical, wedding_date=last_day)
    for answer, code, field in (
        (await desk.change(body(source_location="mine")), errors.UNKNOWN_LOCATION, "sourceLocation"),
        (await desk.change(critical), errors.INVALID_FIELD, "weddingDate"),
        (await desk.change(far), errors.INVALID_FIELD, "weddingDate"),
        (await desk.change(body(), organisation=OTHER_STUDIO), errors.CONFIGURATION_UNKNOWN, None),
        (await desk.change(body(), configuration_id="nothing"), errors.CONFIGURATION_UNKNOWN, None),
        (await desk.change(body(), configuration_id="refused"), errors.CONFIGURATION_UNKNOWN, None),
    ):
        assert isinstance(answer, ConfigurationChangeRefused)
        assert (answer.code, answer.field) == (code.code, field)
        assert answer.hint


async def test_refusal_names_every_wrong_field(desk: Desk) -> None:
    """Of a new one and of a change: the first in the known place, all of them beside it, the schedule's among them."""
    wrong = body(
        "wrong",
        source_location="nowhere",
        storage_destinations=StorageDestinations(),
        schedule=Schedule(cron="* * * * *"),
    )
    for answer in (await desk.create(wrong, "configuration-2"), await desk.change(wrong)):
        assert isinstance(answer, ConfigurationRefused | ConfigurationChangeRefused)
        assert (answer.code, answer.field) == (errors.UNKNOWN_LOCATION.code, "sourceLocation")
        assert [(each.code, each.field) for each in answer.wrong] == [
            ("unknown-location", "sourceLocation"),
            ("no-destination", "storageDestinations"),
            ("invalid-field", "schedule.cron"),
        ]
        assert all(each.hint for each in answer.wrong)


async def test_change_that_takes_something_away_needs_a_second_factor(desk: Desk) -> None:
    """By the version in force, whatever was seen to be there; what is gone is named, and nothing of it is done."""
    more = destinations(
        local=Destination(location="local", required=True),
        cloud_primary=Destination(location="cloud"),
        offsite=Destination(location="offsite", lock_days=60),
    )
    assert isinstance(await desk.change(body(storage_destinations=more)), ConfigurationUpdated)
    refused = await desk.change(body(), seen=2)
    assert isinstance(refused, ConfigurationChangeRefused)
    assert (refused.code, refused.field) == (
        errors.SECOND_FACTOR_NEEDED.code,
        "storageDestinations.cloudPrimary",
    )
    assert "storageDestinations.offsite.lockDays" in refused.hint
    assert "new Idempotency-Key" in refused.hint
    done = await desk.change(body(schedule=HOURLY), seen=2, evidence=PROVEN)
    assert isinstance(done, ConfigurationUpdated)
    assert done.version == 3
    refused = await desk.change(body(), seen=3)
    assert isinstance(refused, ConfigurationChangeRefused)
    assert (refused.code, refused.field) == (errors.SECOND_FACTOR_NEEDED.code, "schedule")
    soon, later = (f"0 2 {today.day} {today.month} *" for today in (_days_ahead(60), _days_ahead(90)))
    assert isinstance(
        await desk.change(body(schedule=Schedule(cron=later)), seen=3, evidence=PROVEN), ConfigurationUpdated
    )
    assert isinstance(await desk.change(body(schedule=Schedule(cron=soon)), seen=4), ConfigurationUpdated)
    refused = await desk.change(body(schedule=Schedule(cron=later)), seen=5)
    assert isinstance(refused, ConfigurationChangeRefused)
    assert (refused.code, refused.field) == (errors.SECOND_FACTOR_NEEDED.code, "schedule.cron"), (
        "the next run is put off"
    )


async def test_next_run_is_not_moved_away_by_small_steps(desk: Desk) -> None:
    """A day by one change is nothing; by the next it is a run less. What was proven counts from there."""

    def yearly(days: int) -> ConfigurationBody:
        day = _days_ahead(days)
        return body(schedule=Schedule(cron=f"0 2 {day.day} {day.month} *"))

    await desk.change(yearly(40), evidence=PROVEN)
    assert isinstance(await desk.change(yearly(41), seen=2), ConfigurationUpdated)
    refused = await desk.change(yearly(42), seen=3)
    assert isinstance(refused, ConfigurationChangeRefused)
    assert (refused.code, refused.field) == (errors.SECOND_FACTOR_NEEDED.code, "schedule.cron")
    assert isinstance(await desk.change(yearly(42), seen=3, evidence=PROVEN), ConfigurationUpdated)
    assert isinstance(await desk.change(yearly(43), seen=4), ConfigurationUpdated)


def _days_ahead(days: int) -> datetime:
    """A day that every year has."""
    day = SystemClock().now() + timedelta(days=days)
    return day + timedelta(days=1) if (day.month, day.day) == (2, 29) else day


async def test_retired_configuration_is_never_changed_nor_retired_again(desk: Desk) -> None:
    """The retirement is a version; what it said stays readable, and its name is free."""
    await desk.change(body("jones"))
    retired = await desk.retire()
    assert isinstance(retired, ConfigurationRetired)
    assert (retired.version, retired.body) == (3, body("jones"))
    for refused in (await desk.retire(), await desk.change(body("jones"), seen=3)):
        assert isinstance(refused, ConfigurationChangeRefused | ConfigurationRetirementRefused)
        assert refused.code == errors.CONFIGURATION_RETIRED.code
    assert isinstance(await desk.create(body("jones"), "configuration-2"), ConfigurationCreated)
    nothing = await desk.retire("nothing")
    assert isinstance(nothing, ConfigurationRetirementRefused)
    assert nothing.code == errors.CONFIGURATION_UNKNOWN.code


async def test_change_and_retirement_at_once_have_one_order(desk: Desk) -> None:
    """Either the change was first, and was retired, or it is refused: no version comes after the retirement."""
    changed, retired, again = await asyncio.gather(desk.change(body("jones")), desk.retire(), desk.retire())
    made = [event for event in (changed, retired, again) if isinstance(event, ConfigurationUpdated)]
    ends = [event for event in (retired, again) if isinstance(event, ConfigurationRetired)]
    assert [event.version for event in ends] == [2 + len(made)]


async def test_paused_configuration_stays_so_until_it_is_resumed(desk: Desk) -> None:
    """Each is a version, and says its state; a change says so, too. A retired one is neither."""
    refused = await desk.resume()
    assert isinstance(refused, ConfigurationResumptionRefused)
    assert refused.code == errors.CONFIGURATION_NOT_PAUSED.code
    paused, again = await desk.pause(), await desk.pause()
    assert isinstance(again, ConfigurationPauseRefused)
    assert again.code == errors.CONFIGURATION_PAUSED.code
    changed, resumed = await desk.change(body("jones"), seen=2), await desk.resume()
    told = [
        (type(fact), fact.version, fact.state, fact.body)
        for fact in (paused, changed, resumed)
        if isinstance(fact, ConfigurationFact)
    ]
    assert told == [
        (ConfigurationPaused, 2, ConfigurationState.PAUSED, body("smith")),
        (ConfigurationUpdated, 3, ConfigurationState.PAUSED, body("jones")),
        (ConfigurationResumed, 4, ConfigurationState.ACTIVE, body("jones")),
    ]
    await desk.pause()
    await desk.retire()
    for refusal in (await desk.pause(), await desk.resume()):
        assert isinstance(refusal, ConfigurationPauseRefused | ConfigurationResumptionRefused)
        assert refusal.code == errors.CONFIGURATION_RETIRED.code


async def _overdue(desk: Desk, *, hours: int = 3) -> None:
    """Let the instant that the configuration waits for have come some hours ago."""
    now = (await desk.turns.look(CONFIGURATION)).now
    due_at = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)
    timer = set_at(DUE, CONFIGURATION, due_at, msgspec.json.encode(due_at))
    await desk.store.save(context=Context(STUDIO, "user:u1", "correlation-1"), also=[timer])


async def _fallen_due(desk: Desk) -> list[BackupFellDue]:
    log = [decode_data(envelope) for _, envelope in await desk.store.events(limit=1000)]
    return [event for event in log if isinstance(event, BackupFellDue)]


async def _missed(desk: Desk) -> list[BackupMissed]:
    log = [decode_data(envelope) for _, envelope in await desk.store.events(limit=1000)]
    return [event for event in log if isinstance(event, BackupMissed)]


async def test_schedule_falls_due_once_however_many_replicas_see_it(desk: Desk) -> None:
    """Of two that took it the first records nothing; the same instant again asks for no second run."""
    changed = await desk.change(body("smith", schedule=HOURLY))
    assert isinstance(changed, ConfigurationUpdated)
    assert changed.next_run_at is not None
    assert (await desk.turns.look(CONFIGURATION)).waits_for == changed.next_run_at
    await _overdue(desk)
    slow = await TimerTable(desk.timers._pool, hold_seconds=0.0).take([DUE])
    quick = await desk.timers.take([DUE])
    assert slow is not None
    assert quick is not None
    await desk.schedules.turn(desk.turns.turn_of(quick))
    with pytest.raises(StatementRefused):
        await desk.schedules.turn(desk.turns.turn_of(slow))
    (due,) = await _fallen_due(desk)
    assert (due.configuration_version, due.passed_over) == (2, 3)
    assert due.next_run_at == (await desk.turns.look(CONFIGURATION)).waits_for
    await _overdue(desk)
    again = await desk.timers.take([DUE])
    assert again is not None
    await desk.schedules.turn(desk.turns.turn_of(again))
    assert await _fallen_due(desk) == [due]


async def test_schedule_waits_while_paused_and_a_change_loses_no_instant_that_has_come(desk: Desk) -> None:
    """What had come when a configuration was changed falls due by the new version; of a paused one nothing does."""
    await desk.change(body("smith", schedule=HOURLY))
    await _overdue(desk)
    changed = await desk.change(body("smith", schedule=HOURLY, tags=("new",)), seen=2)
    assert isinstance(changed, ConfigurationUpdated)
    assert changed.next_run_at is not None
    assert changed.next_run_at < (await desk.turns.look(CONFIGURATION)).now
    paused = await desk.pause()
    assert isinstance(paused, ConfigurationPaused)
    assert paused.next_run_at is None
    assert await desk.timers.take([DUE]) is None
    (missed,) = await _missed(desk)
    assert (missed.due_at, missed.code, missed.next_run_at) == (changed.next_run_at, "schedule-missed", None)
    assert missed.passed_over == 3
    resumed = await desk.resume()
    assert isinstance(resumed, ConfigurationResumed)
    assert await _missed(desk) == [missed], "what passes while it is paused is not missed"
    now, waits_for = msgspec.structs.astuple(await desk.turns.look(CONFIGURATION))
    assert resumed.next_run_at == waits_for
    assert waits_for > now
    await desk.retire()
    assert (await desk.turns.look(CONFIGURATION)).waits_for is None


async def test_instant_that_has_come_is_told_as_missed_by_what_ends_the_wait_for_it(desk: Desk) -> None:
    """A change that takes the schedule away, and a retirement; not where nothing had come, nor twice."""
    await desk.change(body("smith", schedule=HOURLY))
    await desk.pause()
    await desk.resume()
    assert await _missed(desk) == []
    await _overdue(desk)
    await desk.change(body("smith"), seen=4, evidence=PROVEN)
    (by_change,) = await _missed(desk)
    assert (await desk.turns.look(CONFIGURATION)).waits_for is None
    await desk.change(body("smith", schedule=HOURLY), seen=5)
    await _overdue(desk)
    await desk.pause()
    assert await _missed(desk) == [by_change], "the same instant is dealt with"
    await desk.resume()
    await _overdue(desk, hours=5)
    await desk.retire()
    (_, by_retirement) = await _missed(desk)
    assert by_retirement.due_at == by_change.due_at - timedelta(hours=2)


async def test_instant_that_is_dealt_with_while_a_configuration_is_paused_is_not_missed(desk: Desk) -> None:
    """Of the two that are recorded at once one is asked again, and finds what the other has done."""
    await desk.change(body("smith", schedule=HOURLY))
    await _overdue(desk)
    taken = await desk.timers.take([DUE])
    assert taken is not None
    outcomes = await asyncio.gather(
        desk.pause(), desk.schedules.turn(desk.turns.turn_of(taken)), return_exceptions=True
    )
    assert all(not isinstance(each, Exception) or isinstance(each, StatementRefused) for each in outcomes), outcomes
    assert len(await _fallen_due(desk)) + len(await _missed(desk)) == 1


async def test_schedule_is_planned_anew_when_the_clock_was_put_back(desk: Desk) -> None:
    """By a week: what was planned by the clock before would be a week of silence."""
    await desk.change(body("smith", schedule=HOURLY))
    now = (await desk.turns.look(CONFIGURATION)).now
    late = now + timedelta(days=7)
    timer = set_at(DUE, CONFIGURATION, late, msgspec.json.encode(late))
    await desk.store.save(context=Context(STUDIO, "user:u1", "correlation-1"), also=[timer])
    async with desk.timers._pool.connection() as connection:
        await connection.execute("UPDATE timers SET set_at = set_at + interval '7 days'")
    await desk.timers.recall([DUE])
    recalled = await desk.timers.take([DUE])
    assert recalled is not None
    await desk.schedules.turn(desk.turns.turn_of(recalled))
    waits_for = (await desk.turns.look(CONFIGURATION)).waits_for
    assert waits_for is not None
    assert now < waits_for <= now + timedelta(hours=1, minutes=1)
    assert await _fallen_due(desk) == []


async def test_schedule_that_can_never_be_due_is_refused_by_the_owner(desk: Desk) -> None:
    """Also where the gateway has let it pass."""
    refused = await desk.change(body("smith", schedule=Schedule(cron="0 0 30 2 *")))
    assert isinstance(refused, ConfigurationChangeRefused)
    assert (refused.code, refused.field) == ("invalid-field", "schedule.cron")
