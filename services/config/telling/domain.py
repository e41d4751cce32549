"""The aggregates of telling: a channel, and one notification, which is one event told to one channel."""

from datetime import datetime
from typing import ClassVar

from chassis.domain import Aggregate
from chassis.ids import derived_id, moment_of
from contracts import errors
from contracts.config_events import (
    ChannelFact,
    NotificationChannelCreated,
    NotificationChannelRetired,
    NotificationChannelUpdated,
    NotificationDelayed,
    NotificationDelivered,
    NotificationGivenUp,
    NotificationPlanned,
)
from contracts.errors import ErrorCode, PlatformError
from contracts.event import Event
from contracts.gateway_events import (
    NotificationChannelChangeSubmitted,
    NotificationChannelRetirementRequested,
    NotificationChannelSubmitted,
)
from contracts.notifications import ChannelBody, ChannelState
from services.config.errors import ConfigurationChanged


class NotificationChannel(Aggregate):
    """Who is told of what, and how. A refused one exists only as its refusal."""

    KIND: ClassVar[str] = "config.notification-channel"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.body: ChannelBody | None = None
        self.body_version = 0
        self.state = ChannelState.ACTIVE

    def create(self, request: NotificationChannelSubmitted) -> None:
        """Put a channel in force, as its version 1."""
        self.record(
            NotificationChannelCreated(request_id=request.request_id, channel_id=self.id, version=1, body=request.body)
        )

    def change(self, request: NotificationChannelChangeSubmitted, why: PlatformError | None) -> None:
        """Put another version in force. `why`: what speaks against its body; it counts where nothing else does."""
        self.in_force()
        if request.expected_version != self.body_version:
            raise ConfigurationChanged(seen=request.expected_version, version=self.body_version)
        if why is not None:
            raise why
        self.record(
            NotificationChannelUpdated(
                request_id=request.request_id, channel_id=self.id, version=self.body_version + 1, body=request.body
            )
        )

    def retire(self, request: NotificationChannelRetirementRequested) -> None:
        """Have nothing more sent to it."""
        self.record(
            NotificationChannelRetired(
                request_id=request.request_id,
                channel_id=self.id,
                version=self.body_version + 1,
                body=self.in_force(),
            )
        )

    def in_force(self) -> ChannelBody:
        """What it says. Raises CHANNEL_UNKNOWN, CHANNEL_RETIRED."""
        if self.body is None:
            raise PlatformError(errors.CHANNEL_UNKNOWN, "it was refused when it was submitted")
        if self.state is not ChannelState.ACTIVE:
            raise PlatformError(errors.CHANNEL_RETIRED, "the channel is retired")
        return self.body

    def apply(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case ChannelFact(version=version, body=body, state=state):
                self.body, self.body_version, self.state = body, version, state


class Notification(Aggregate):
    """One event, told to one channel: the same id for the same two, so that it is told once more, and never twice."""

    KIND: ClassVar[str] = "config.notification"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.planned: NotificationPlanned | None = None
        self.attempts = 0
        self.is_over = False

    @classmethod
    def of(cls, event_id: str, channel_id: str) -> "Notification":
        """What tells a channel of an event, before anything was recorded."""
        return cls(derived_id(moment_of(event_id), event_id, channel_id))

    def delay(self, code: ErrorCode, until: datetime, *, attempts: int, hint: str = "", status: int | None) -> None:
        """It is sent again."""
        self.record(
            NotificationDelayed(
                **self._about(),
                attempts=attempts,
                code=code.code,
                next_attempt_at=until,
                hint=hint or code.hint,
                status=status,
            )
        )

    def deliver(self, status: int | None) -> None:
        """The receiver has it."""
        self.record(NotificationDelivered(**self._about(), attempts=self.attempts + 1, status=status))

    def give_up(self, code: ErrorCode, *, attempts: int, hint: str = "", status: int | None) -> None:
        """It is sent no more."""
        self.record(
            NotificationGivenUp(
                **self._about(), attempts=attempts, code=code.code, hint=hint or code.hint, status=status
            )
        )

    def _about(self) -> dict[str, str]:
        assert self.planned is not None  # noqa: S101  # what was not planned is not sent
        return {"notification_id": self.id, "channel_id": self.planned.channel_id}

    def apply(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case NotificationPlanned():
                self.planned = event
            case NotificationDelayed(attempts=attempts):
                self.attempts = attempts
            case NotificationDelivered(attempts=attempts) | NotificationGivenUp(attempts=attempts):
                self.attempts, self.is_over = attempts, True
