"""Looks at the server's side of a service's consumers: what waits, what stands still, what was given up.

Promise: a consumer that has something to deliver and delivers nothing makes its service not ready, with its name and
the command to run: paused, without anybody who asks, or with all its places taken by what fails. Messages that were
given up, and neither replayed nor dismissed since, make it degraded: each is an event that has not had its effect. So
does the loss of such messages, until it was accepted.
"""

import time
from collections.abc import Collection
from datetime import datetime

import nats.errors
from nats.js.api import ConsumerInfo

from chassis.bus.connection import Connection
from chassis.bus.failing import Failing
from chassis.bus.lost_letters import loss_of
from chassis.bus.topology import DISMISSAL, REPLAY
from chassis.life.health import Health
from chassis.life.tasks import Supervised
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from contracts.streams import DEAD_LETTER_STREAM, ConsumerSpec
from contracts.subjects import DEAD_LETTERS, dead_letter_subject

LOOK_SECONDS = 15.0
_LOSS = "dead-letters-lost"
STILL_SECONDS = 60.0
"""How long nothing may be delivered of what waits; at least twice the acknowledgement time of the consumer."""


class ConsumerWatch:
    """A look at some consumers every `look_seconds`."""

    def __init__(
        self,
        connection: Connection,
        service: str,
        *,
        telemetry: Telemetry,
        health: Health,
        look_seconds: float = LOOK_SECONDS,
        still_seconds: float = STILL_SECONDS,
        failing: Failing | None = None,
    ) -> None:
        self._connection = connection
        self._service = service
        self._metrics = telemetry.metrics
        self._health = health
        self._still_seconds = still_seconds
        self._failing = failing
        self._specs: list[ConsumerSpec] = []
        self._handlers: list[ConsumerSpec] = []
        self._moved: dict[str, tuple[int, float]] = {}
        self._still: dict[str, PlatformError] = {}
        self.loop = Supervised("consumer-watch", self._look, telemetry=telemetry, every_seconds=look_seconds)

    def add(self, spec: ConsumerSpec, *, is_replay: bool) -> None:
        """Look at a consumer, too."""
        self._specs.append(spec)
        if not is_replay:
            self._handlers.append(spec)

    def check(self) -> PlatformError | None:
        """The first consumer that stands still, as of the last look."""
        return next(iter(self._still.values()), None)

    async def _look(self) -> None:
        try:
            for spec in self._specs:
                info = await self._connection.js.consumer_info(spec.stream, spec.durable_name)
                self._metrics.waiting.labels(spec.durable_name).set(info.num_pending or 0)
                self._metrics.unanswered.labels(spec.durable_name).set(info.num_ack_pending or 0)
                self._judge(spec, info)
                if self._failing is not None and info.ack_floor is not None:
                    floor = info.ack_floor.stream_seq
                    self._failing.looked(spec, waiting=info.num_ack_pending or 0, settled_up_to=floor)
            await self._count_dead_letters()
        except (nats.errors.Error, TimeoutError, OSError) as error:
            # A consumer or stream that is gone is told by the one who reads it, and by the comparison of the topology.
            raise PlatformError(errors.UNAVAILABLE, "jetstream does not answer", part="nats") from error

    def _judge(self, spec: ConsumerSpec, info: ConsumerInfo) -> None:
        name = spec.durable_name
        if info.paused:
            self._still[name] = self._standing(spec, f"is paused until {_instant(info.config.pause_until)}")
            return
        delivered = info.delivered.consumer_seq if info.delivered is not None else 0
        now = time.monotonic()
        before, moved_at = self._moved.get(name, (-1, now))
        if info.num_pending and (info.num_ack_pending or 0) >= spec.max_pending:
            self._still[name] = PlatformError(
                errors.HANDLER_FAILED,
                f"all {spec.max_pending} places of {name} are taken by messages that are tried again, and "
                f"{info.num_pending} wait behind them",
                hint="The log of this process has why they fail; mend it. What fails is given up after some minutes.",
            )
        elif delivered != before or not info.num_pending:
            self._moved[name] = (delivered, now)
            self._still.pop(name, None)
        elif now - moved_at > max(self._still_seconds, 2 * spec.ack_wait_seconds):
            self._still[name] = self._standing(spec, f"delivers nothing of the {info.num_pending} that wait")

    def _standing(self, spec: ConsumerSpec, what: str) -> PlatformError:
        return PlatformError(
            errors.TOPOLOGY_DRIFT,
            f"the consumer {spec.durable_name} of {spec.stream} {what}",
            hint="Run wedsync-backup topology apply; where that does not help, start this process anew.",
        )

    async def _count_dead_letters(self) -> None:
        info = await self._connection.js.stream_info(DEAD_LETTER_STREAM, f"{DEAD_LETTERS}.{self._service}.>")
        if (loss := loss_of(info)) is not None:
            self._health.degrade(_LOSS, loss)
        else:
            self._health.restore(_LOSS)
        counts = info.state.subjects or {}
        for spec in self._handlers:
            subject = dead_letter_subject(spec.service, spec.handler)
            left = counts.get(subject, 0) - len(_settled(subject, counts))
            finding = f"dead-letters:{spec.durable_name}"
            if left > 0:
                error = PlatformError(
                    errors.HANDLER_FAILED,
                    f"{left} messages of {spec.durable_name} were given up, and neither replayed nor dismissed",
                    hint="Run wedsync-backup deadletters list; show has the cause; mend it, then replay, or dismiss.",
                )
                self._health.degrade(finding, error)
            else:
                self._health.restore(finding)


def _settled(subject: str, counts: Collection[str]) -> set[str]:
    """The numbers of the dead letters of a subject that were replayed or dismissed, each once."""
    answers = (f"{subject}.{REPLAY}.", f"{subject}.{DISMISSAL}.")
    return {each.rpartition(".")[2] for each in counts if each.startswith(answers)}


def _instant(text: str | None) -> str:
    try:
        return datetime.fromisoformat(text or "").isoformat(timespec="seconds")
    except ValueError:
        return "further notice"
