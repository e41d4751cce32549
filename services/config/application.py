"""What the config service decides: which configurations are put in force, and what becomes of a schedule's instants."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from chassis.calendar.plan import Plan
from chassis.calendar.rules import schedule_objections, wedding_objections
from chassis.calendar.thinned import is_later_than_any, is_put_off
from chassis.calendar.turns import Fires, Missed, Waits, when_instant_came
from chassis.deciding import Deciding, Things
from chassis.handling import Handling
from contracts import errors
from contracts.config_events import (
    ConfigurationChangeRefused,
    ConfigurationFact,
    ConfigurationRefused,
    ConfigurationUpdated,
    RetentionPolicyRefused,
)
from contracts.configuration import ConfigurationBody, ConfigurationState
from contracts.configuration_rules import KnownLocation, names_in, objection
from contracts.errors import PlatformError
from contracts.gateway_events import ConfigurationChangeSubmitted, ConfigurationSubmitted, RetentionPolicySubmitted
from contracts.refusal import Objected, Objection
from contracts.retention import RetentionRules, kept_less
from services.config.domain import Configuration, DueBackup, RetentionPolicy
from services.config.errors import ConfigurationNameTaken
from services.config.policies import when_configuration_submitted
from services.config.ports import Configurations, LocationRegistry, Planning, Turn, Turns, Weddings


class _Found(msgspec.Struct, frozen=True):
    """What is found out beside a change: its next run, whether it comes later by it, and the fields by which less is
    kept.
    """

    next_run_at: datetime | None = None
    less: tuple[str, ...] = ()
    is_later: bool = False


class LookedUp(msgspec.Struct):
    """What the configurations of an organisation name, as far as it was looked up."""

    known: Mapping[str, KnownLocation]
    organisation: str
    now: datetime | None = None
    policies: dict[str, bool] = {}


class ConfigurationDecisions:
    """Creates and changes configurations, or refuses to."""

    def __init__(
        self,
        configurations: Configurations,
        locations: LocationRegistry,
        schedules: "Schedules",
        policies: Things[RetentionPolicy],
    ) -> None:
        self._configurations = _TellingTheMissed(configurations, schedules)
        self._locations = locations
        self._schedules = schedules
        self._policies = policies
        self.of_configurations = Deciding(
            Configuration, self._configurations, about="configuration_id", missing=errors.CONFIGURATION_UNKNOWN
        )

    async def decide(self, request: ConfigurationSubmitted, handling: Handling) -> None:
        """Answer one submission, in the record."""
        body = request.body
        configuration = Configuration(request.configuration_id)
        why = await self._against(body, handling)
        if why is None:
            organisation = handling.context.organisation
            next_run_at = await self._schedules.next_run(request.configuration_id, body, organisation)
            configuration.create(request_id=request.request_id, body=body, next_run_at=next_run_at)
            try:
                await self._configurations.record_answer(configuration, handling)
            except ConfigurationNameTaken as error:
                why = error
            else:
                return
        refused = Configuration(request.configuration_id)
        refused.record(ConfigurationRefused.of(request, why))
        await self._configurations.record_answer(refused, handling)

    async def decide_change(self, request: ConfigurationChangeSubmitted, handling: Handling) -> None:
        """The same of one change, of the version that whoever asks has seen."""
        why = await self._against(request.body, handling)
        try:
            await self._change(request, handling, why)
        except ConfigurationNameTaken as error:
            await self._change(request, handling, error)

    async def _change(
        self, request: ConfigurationChangeSubmitted, handling: Handling, why: PlatformError | None
    ) -> None:
        def guard(configuration: Configuration, request: ConfigurationChangeSubmitted, found: _Found) -> None:
            Configuration.change(configuration, request, why, found.next_run_at, found.less, is_later=found.is_later)

        async def planned(configuration: Configuration, request: ConfigurationChangeSubmitted) -> _Found:
            if why is not None:
                return _Found()
            organisation = handling.context.organisation
            next_run_at = await self._schedules.next_run(configuration.id, request.body, organisation)
            less = await self._kept_less(configuration.body, request.body, organisation)
            if configuration.body is None or configuration.body.schedule == request.body.schedule:
                return _Found(next_run_at, less)
            is_later = await self._schedules.is_put_off(configuration, request.body, next_run_at)
            return _Found(next_run_at, less, is_later)

        await self.of_configurations.by(guard, ConfigurationChangeRefused, beside=planned)(request, handling)

    async def look_up(self, names: Iterable[str], organisation: str, now: datetime | None = None) -> LookedUp:
        """What configurations name, looked up at once: a location that hangs is waited for once.

        `now`: the database's time, where it was asked already.
        """
        return LookedUp(await self._locations.known(names, organisation), organisation, now)

    async def against(self, body: ConfigurationBody, found: LookedUp) -> list[Objection]:
        """All that speaks against a configuration, but for its name."""
        every = [
            *when_configuration_submitted(body, found.known.get),
            *await self._schedules.against(body, found.organisation, found.now),
        ]
        named = body.retention_policy_id
        if named is not None and not await self._is_policy(named, found):
            every.append(objection(errors.RETENTION_POLICY_UNKNOWN, "retentionPolicyId"))
        return every

    async def _is_policy(self, named: str, found: LookedUp) -> bool:
        if named not in found.policies:
            found.policies[named] = await self._policies.find(named, found.organisation) is not None
        return found.policies[named]

    async def _against(self, body: ConfigurationBody, handling: Handling) -> PlatformError | None:
        names = names_in(body.source_location, body.storage_destinations)
        every = await self.against(body, await self.look_up(names, handling.context.organisation))
        return Objected(every) if every else None

    async def _kept_less(
        self, before: ConfigurationBody | None, after: ConfigurationBody, organisation: str
    ) -> tuple[str, ...]:
        """`retentionPolicyId`, where another policy than before keeps less, as both are in force now."""
        if before is None or before.retention_policy_id == after.retention_policy_id:
            return ()
        was, becomes = [await self._rules(each.retention_policy_id, organisation) for each in (before, after)]
        return ("retentionPolicyId",) if any(kept_less(was, becomes)) else ()

    async def _rules(self, policy_id: str | None, organisation: str) -> RetentionRules | None:
        """What a policy says; None where everything is kept, for want of one."""
        policy = None if policy_id is None else await self._policies.find(policy_id, organisation)
        return None if policy is None else policy.body


class _TellingTheMissed:
    """The record of configurations: what ends the wait for an instant that has come says that it was missed."""

    def __init__(self, configurations: Configurations, schedules: "Schedules") -> None:
        self._configurations = configurations
        self._schedules = schedules

    async def find(self, id: str, organisation: str) -> Configuration | None:  # noqa: A002  # as the aggregate names it
        """As `Configurations.find`."""
        return await self._configurations.find(id, organisation)

    async def record_answer(self, thing: Configuration, handling: Handling) -> None:
        """As `Configurations.record_answer`, in one save with what is missed by it."""
        missed = await self._schedules.missed_by(thing, handling.context.organisation)
        await self._configurations.record_answer(thing, handling, missed)


class RetentionDecisions:
    """Creates and changes retention policies, or refuses to."""

    def __init__(self, policies: Things[RetentionPolicy]) -> None:
        self._policies = policies
        self.of_policies = Deciding(
            RetentionPolicy, policies, about="retention_policy_id", missing=errors.RETENTION_POLICY_UNKNOWN
        )

    async def decide(self, request: RetentionPolicySubmitted, handling: Handling) -> None:
        """Answer one submission, in the record."""
        policy = RetentionPolicy(request.retention_policy_id)
        try:
            RetentionPolicy.create(policy, request)
        except PlatformError as why:
            policy.record(RetentionPolicyRefused.of(request, why))
        await self._policies.record_answer(policy, handling)


class Schedules:
    """When configurations' runs fall due."""

    def __init__(self, turns: Turns, weddings: Weddings) -> None:
        self._turns = turns
        self._weddings = weddings

    async def now(self) -> datetime:
        """The database's time, by which schedules go."""
        return (await self._turns.look("")).now

    async def against(
        self, body: ConfigurationBody, organisation: str, now: datetime | None = None
    ) -> Sequence[Objection]:
        """All that speaks against a schedule, and the wedding beside it, as far as it is submitted at all."""
        if body.schedule is None:
            return ()
        now = now or await self.now()
        against_wedding = wedding_objections(
            await self._weddings.near(organisation, body),
            now,
            is_critical=body.is_wedding_critical,
            is_given=body.wedding_date is not None,
            is_scheduled=True,
        )
        return [*against_wedding, *schedule_objections(body.schedule, now)]

    async def next_run(
        self, configuration_id: str, body: ConfigurationBody, organisation: str, now: datetime | None = None
    ) -> datetime | None:
        """The instant that a configuration that says this waits for. One that has come stays its next.

        `now`: the database's time, of one that is new and waits for none.
        """
        plan = await self._plan(configuration_id, body, organisation)
        if plan is None:
            return None
        known = Planning(now) if now is not None else await self._turns.look(configuration_id)
        if known.waits_for is not None and known.waits_for <= known.now:
            return known.waits_for
        planned = plan.after(known.now)
        return None if planned is None else planned.at

    async def next_of(self, configuration: Configuration, request: object) -> datetime | None:  # noqa: ARG002  # as asked
        """The same of one as it is in force."""
        if configuration.body is None:
            return None
        return await self.next_run(configuration.id, configuration.body, configuration.organisation or "")

    async def is_put_off(
        self, configuration: Configuration, after: ConfigurationBody, becomes: datetime | None
    ) -> bool:
        """Whether its next run comes much later by a change, also by small steps, beside a wedding, or paused."""
        if is_put_off(await self._awaited(configuration), becomes):
            return True
        history, now = configuration.schedules_since, await self.now()
        return await asyncio.to_thread(is_later_than_any, history, after.schedule, now, seed=configuration.id)

    async def _awaited(self, configuration: Configuration) -> datetime | None:
        """The next run of one as it is in force, or an earlier one that was told and has not come: it was moved."""
        told, following = configuration.awaited, await self.next_of(configuration, None)
        if told is None or await self._turns.is_dealt_with(DueBackup.of(configuration.id, told)):
            return following
        # It was not moved by more than it may be: the run that it was moved to has come, and this is the one after it.
        return following if following is None or is_put_off(told, following) else min(told, following)

    async def missed_by(self, configuration: Configuration, organisation: str) -> DueBackup | None:
        """The instant that has come, is not dealt with, and is waited for no more by what is pending.

        A pause and a retirement do that, and a change that takes the schedule away: nobody would hear of it again.
        """
        last = next((each for each in reversed(configuration.pending) if isinstance(each, ConfigurationFact)), None)
        if last is None or last.version == 1 or last.next_run_at is not None:
            return None
        known = await self._turns.look(configuration.id)
        if known.waits_for is None or known.waits_for > known.now:
            return None
        due = DueBackup.of(configuration.id, known.waits_for)
        if await self._turns.is_dealt_with(due):
            return None
        body = last.before if isinstance(last, ConfigurationUpdated) else last.body
        plan = await self._plan(configuration.id, body, organisation)
        passed = [] if plan is None else plan.between(known.waits_for, known.now)
        due.miss(configuration, known.waits_for, passed_over=len(passed), next_run_at=None)
        return due

    async def turn(self, turn: Turn) -> None:
        """Deal with an instant that has come: once, whoever else sees it come."""
        configuration = await self._turns.configuration(turn.configuration_id)
        plan = None
        if configuration is not None and configuration.state is ConfigurationState.ACTIVE and configuration.body:
            plan = await self._plan(configuration.id, configuration.body, configuration.organisation or "")
        if configuration is None or configuration.body is None or configuration.body.schedule is None or plan is None:
            await self._turns.record(turn, None, next_run_at=None)
            return
        due = DueBackup.of(configuration.id, turn.due_at)
        is_dealt_with = await self._turns.is_dealt_with(due)
        missed_runs = configuration.body.schedule.missed_runs
        match when_instant_came(plan, missed_runs, turn.due_at, turn.now, is_dealt_with=is_dealt_with):
            case Fires(is_urgent=is_urgent, passed_over=passed_over, next_run_at=next_run_at):
                due.fall_due(
                    configuration, turn.due_at, is_urgent=is_urgent, passed_over=passed_over, next_run_at=next_run_at
                )
                await self._turns.record(turn, configuration, due, next_run_at=next_run_at)
            case Missed(passed_over=passed_over, next_run_at=next_run_at):
                due.miss(configuration, turn.due_at, passed_over=passed_over, next_run_at=next_run_at)
                await self._turns.record(turn, configuration, due, next_run_at=next_run_at)
            case Waits(until=until):
                configuration.plan_anew(until)
                await self._turns.record(turn, configuration, next_run_at=until, waits_for=turn.due_at)
            case other:
                configuration.plan_anew(other.next_run_at)
                await self._turns.record(turn, configuration, next_run_at=other.next_run_at)

    async def _plan(self, configuration_id: str, body: ConfigurationBody, organisation: str) -> Plan | None:
        if body.schedule is None:
            return None
        return Plan(body.schedule, seed=configuration_id, wedding=await self._weddings.near(organisation, body))
