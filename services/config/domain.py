"""The aggregates of the config service: a configuration, one instant of its schedule, a retention policy."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from chassis.calendar.thinned import is_open_less, is_put_off, reached, thinned
from chassis.domain import Aggregate
from chassis.ids import derived_id
from contracts import errors
from contracts.config_events import (
    BackupFellDue,
    BackupMissed,
    ConfigurationCreated,
    ConfigurationFact,
    ConfigurationPaused,
    ConfigurationRefused,
    ConfigurationResumed,
    ConfigurationRetired,
    ConfigurationsCreated,
    ConfigurationUpdated,
    NextRunChanged,
    RetentionPolicyCreated,
    RetentionPolicyFact,
    RetentionPolicyUpdated,
)
from contracts.configuration import ConfigurationBody, ConfigurationState
from contracts.configuration_rules import taken_away
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import (
    ConfigurationChangeSubmitted,
    ConfigurationPauseRequested,
    ConfigurationRequest,
    ConfigurationResumptionRequested,
    ConfigurationRetirementRequested,
    RetentionPolicyChangeSubmitted,
    RetentionPolicySubmitted,
)
from contracts.refusal import Objected
from contracts.retention import RetentionPolicyBody, kept_less, objections
from contracts.schedule import Schedule
from services.config.errors import ConfigurationChanged, PolicyKeepsLess, RetiredAlready, SecondFactorNeeded


class Configuration(Aggregate):
    """What is backed up, where to, and by which rules. A refused one exists only as its refusal."""

    KIND: ClassVar[str] = "config.configuration"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.body: ConfigurationBody | None = None
        self.body_version = 0
        self.is_refused = False
        self.state = ConfigurationState.ACTIVE
        self._schedules: list[Schedule | None] = []
        """Those that it has had, one after the other."""
        self._put_off = 0
        """How many of them were in force before its next run was last put off."""
        self.awaited: datetime | None = None
        """The earliest next run that was told since the one before it came, or since a later one was proven."""

    def create(self, *, request_id: str, body: ConfigurationBody, next_run_at: datetime | None = None) -> None:
        """Put a configuration in force, as its version 1."""
        self.record(
            ConfigurationCreated(
                request_id=request_id, configuration_id=self.id, version=1, body=body, next_run_at=next_run_at
            )
        )

    def change(
        self,
        request: ConfigurationChangeSubmitted,
        why: PlatformError | None,
        next_run_at: datetime | None = None,
        less: Sequence[str] = (),
        *,
        is_later: bool = False,
    ) -> None:
        """Put another version in force. `why`: what speaks against its body; it counts where nothing else does.

        `less`: the fields by which less of what it saves is kept than before. `is_later`: whether its next run is put
        off by it.
        """
        before = self._in_force()
        if request.expected_version != self.body_version:
            raise ConfigurationChanged(seen=request.expected_version, version=self.body_version)
        if why is not None:
            raise why
        if not request.evidence.second_factor:
            lost = [*taken_away(before, request.body), *self._thinned(before, request.body, is_later=is_later), *less]
            if lost:
                raise SecondFactorNeeded(lost)
        if self.state is not ConfigurationState.ACTIVE:
            next_run_at = None
        self._put_in_force(
            ConfigurationUpdated, request, request.body, before=before, state=self.state, next_run_at=next_run_at
        )

    def _thinned(self, before: ConfigurationBody, after: ConfigurationBody, *, is_later: bool) -> Iterator[str]:
        """The fields by which there are fewer runs, also than before many small steps."""
        was, becomes = before.schedule, after.schedule
        if was == becomes:
            return
        fields = list(thinned(was, becomes, best=reached(self._schedules), is_later=is_later))
        # Near the wedding there are more runs than the schedule says, of which no measure sees what a window takes.
        if before.is_wedding_critical and was and becomes and is_open_less(was.window, becomes.window):
            fields.append("schedule.window")
        if before.is_wedding_critical and was and becomes and was.time_zone != becomes.time_zone:
            # By it go the window, and the days on which there are more runs.
            fields.append("schedule.timeZone")
        yield from dict.fromkeys(fields)

    @property
    def schedules_since(self) -> list[Schedule | None]:
        """Those that it has had since its next run was last put off, one after the other, that one too."""
        return self._schedules[self._put_off :]

    def retire(self, request: ConfigurationRetirementRequested) -> None:
        """Have no more runs of it."""
        self._put_in_force(ConfigurationRetired, request, self._in_force())

    def pause(self, request: ConfigurationPauseRequested) -> None:
        """Have no runs of it until it is resumed."""
        body = self._in_force()
        if self.state is ConfigurationState.PAUSED:
            raise PlatformError(errors.CONFIGURATION_PAUSED, "the configuration is paused already")
        self._put_in_force(ConfigurationPaused, request, body)

    def resume(self, request: ConfigurationResumptionRequested, next_run_at: datetime | None = None) -> None:
        """Have runs of it again."""
        body = self._in_force()
        if self.state is not ConfigurationState.PAUSED:
            raise PlatformError(errors.CONFIGURATION_NOT_PAUSED, "the configuration is not paused")
        self._put_in_force(ConfigurationResumed, request, body, next_run_at=next_run_at)

    def plan_anew(self, next_run_at: datetime | None) -> None:
        """Its next run is at another moment than was told."""
        self.record(NextRunChanged(configuration_id=self.id, next_run_at=next_run_at))

    def _in_force(self) -> ConfigurationBody:
        if self.body is None:
            raise PlatformError(errors.CONFIGURATION_UNKNOWN, "it was refused when it was submitted")
        if self.state is ConfigurationState.RETIRED:
            raise RetiredAlready
        return self.body

    def _put_in_force(
        self,
        kind: type[ConfigurationFact],
        request: ConfigurationRequest | ConfigurationChangeSubmitted,
        body: ConfigurationBody,
        **said: object,
    ) -> None:
        """The next version; `said`: what this kind of fact says beside what every fact does."""
        version = self.body_version + 1
        self.record(
            kind(request_id=request.request_id, configuration_id=self.id, version=version, body=body, **said)  # type: ignore[arg-type]  # each its own
        )

    def apply(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case ConfigurationFact(version=version, body=body, state=state, next_run_at=next_run_at):
                self.body, self.body_version, self.state = body, version, state
                if not self._schedules or body.schedule != self._schedules[-1]:
                    self._schedules.append(body.schedule)
                # What is put off by more than one change alone may was proven, or the run before it has come.
                if self.awaited is None or next_run_at is None or next_run_at < self.awaited:
                    self.awaited = next_run_at
                elif is_put_off(self.awaited, next_run_at):
                    self.awaited, self._put_off = next_run_at, len(self._schedules) - 1
            case NextRunChanged(next_run_at=next_run_at):
                self.awaited = next_run_at
            case ConfigurationRefused():
                self.is_refused = True


class ConfigurationBulk(Aggregate):
    """Several configurations that were asked for at once. Its id is that of the request."""

    KIND: ClassVar[str] = "config.configuration-bulk"

    def answer(self, *, created: int, refused: int) -> None:
        """Say that they were decided about, and some created."""
        self.record(ConfigurationsCreated(request_id=self.id, created=created, refused=refused))

    def apply(self, event: Event) -> None:
        """Nothing is decided by what it was."""


class DueBackup(Aggregate):
    """One instant of a configuration's schedule: the same id for the same two, so that it is dealt with once."""

    KIND: ClassVar[str] = "config.due-backup"

    @classmethod
    def of(cls, configuration_id: str, due_at: datetime) -> "DueBackup":
        """What is due for a configuration at an instant, before anything was recorded."""
        return cls(derived_id(due_at.astimezone(UTC), configuration_id))

    def fall_due(
        self,
        configuration: Configuration,
        due_at: datetime,
        *,
        is_urgent: bool,
        passed_over: int,
        next_run_at: datetime | None,
    ) -> None:
        """Ask for a run."""
        self.record(
            BackupFellDue(
                request_id=self.id,
                execution_id=self.id,
                configuration_id=configuration.id,
                configuration_version=configuration.body_version,
                due_at=due_at,
                is_urgent=is_urgent,
                passed_over=passed_over,
                next_run_at=next_run_at,
            )
        )

    def miss(
        self, configuration: Configuration, due_at: datetime, *, passed_over: int, next_run_at: datetime | None
    ) -> None:
        """Say that there was none."""
        self.record(
            BackupMissed(
                configuration_id=configuration.id,
                due_at=due_at,
                code=errors.SCHEDULE_MISSED.code,
                hint=errors.SCHEDULE_MISSED.hint,
                passed_over=passed_over,
                next_run_at=next_run_at,
            )
        )

    def apply(self, event: Event) -> None:
        """Nothing is decided by what it was: that it is there is enough."""


class RetentionPolicy(Aggregate):
    """How long what configurations save is kept. A refused one exists only as its refusal."""

    KIND: ClassVar[str] = "config.retention-policy"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.body: RetentionPolicyBody | None = None
        self.body_version = 0

    def create(self, request: RetentionPolicySubmitted) -> None:
        """Put a policy in force, as its version 1. Raises what speaks against it."""
        _require_right(request.body)
        self.record(
            RetentionPolicyCreated(
                request_id=request.request_id, retention_policy_id=self.id, version=1, body=request.body
            )
        )

    def change(self, request: RetentionPolicyChangeSubmitted) -> None:
        """Put another version in force. One that keeps less takes a second factor, whatever goes by it.

        Which configurations do can change at the same moment: so it is asked for always, not of a critical wedding's.
        """
        before = self.body
        if before is None:
            raise PlatformError(errors.RETENTION_POLICY_UNKNOWN, "it was refused when it was submitted")
        if request.expected_version != self.body_version:
            raise ConfigurationChanged(seen=request.expected_version, version=self.body_version)
        _require_right(request.body)
        if not request.evidence.second_factor and (less := list(kept_less(before, request.body))):
            raise PolicyKeepsLess(less)
        self.record(
            RetentionPolicyUpdated(
                request_id=request.request_id,
                retention_policy_id=self.id,
                version=self.body_version + 1,
                body=request.body,
                before=before,
            )
        )

    def apply(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case RetentionPolicyFact(version=version, body=body):
                self.body, self.body_version = body, version


def _require_right(body: RetentionPolicyBody) -> None:
    if every := list(objections(body)):
        raise Objected(every)
