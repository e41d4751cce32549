"""What becomes of a message that is given up: a dead letter, a refusal of what it asks for, and out of its queue."""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.msg import Msg

from chassis.bus import deadletters
from chassis.bus.connection import Connection
from chassis.bus.delivery import LONGEST_DELAY_SECONDS, delay
from chassis.bus.faststream_names import NackMessage, RejectMessage
from chassis.clock import Clock
from chassis.life.health import Health
from chassis.record.unanswered import GiveUp
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.envelope import MalformedEvent
from contracts.errors import ErrorCode, PlatformError
from contracts.streams import ConsumerSpec

_log = logging.getLogger(__name__)

Patiently = Callable[[Callable[[], Awaitable[Any]], str], Awaitable[None]]
"""Calls again while a part of the platform is away; raises NackMessage where the process stops meanwhile."""


class GivingUp:
    """Of one process. A message that is being given up stays in its queue until all of it is done."""

    def __init__(self, connection: Connection, *, health: Health, telemetry: Telemetry, clock: Clock) -> None:
        self._connection = connection
        self._health = health
        self._metrics = telemetry.metrics
        self._clock = clock
        self._buried: set[str] = set()

    async def give_up(
        self,
        spec: ConsumerSpec,
        base: ConsumerSpec,
        raw: Msg,
        code: ErrorCode,
        cause: str,
        *,
        refuse: GiveUp | None,
        patiently: Patiently,
    ) -> None:
        """Dead letter first, then the refusal, then out of the queue: killed in between, the rest follows.

        In this order the cause is kept whatever happens, and what was refused cannot be carried out any more. `base`:
        the consumer that a replay is of. Raises RejectMessage; NackMessage where it has to come again.
        """
        identity = f"{raw.metadata.stream}:{raw.metadata.sequence.stream}:{base.durable_name}"
        if identity not in self._buried:
            await self._bury(spec, base, raw, code, cause)
            self._buried.add(identity)
        if refuse is not None:
            await self._refuse(base.durable_name, functools.partial(refuse, raw.data, base.durable_name), patiently)
        self._buried.discard(identity)
        raise RejectMessage

    async def _refuse(self, durable: str, refuse: Callable[[], Awaitable[bool]], patiently: Patiently) -> None:
        """Have the request refused that the message is; it stays in its queue until that is in the record."""
        finding = f"unanswered:{durable}"
        try:
            await patiently(refuse, "refusal")
        except NackMessage:
            raise
        except MalformedEvent as error:
            _log.error("of this message nobody can be told that it was given up", exc_info=error)
        except Exception as error:
            _log.exception("a request that is given up could not be refused; its message stays in its queue")
            hint = "Whoever asked is not told yet. Look at the log of this process for the cause."
            told = PlatformError(errors.HANDLER_FAILED, f"a request to {durable} cannot be refused", hint=hint)
            self._health.degrade(finding, told)
            raise NackMessage(delay=LONGEST_DELAY_SECONDS) from error
        self._health.restore(finding)

    async def _bury(self, spec: ConsumerSpec, base: ConsumerSpec, raw: Msg, code: ErrorCode, cause: str) -> None:
        """Write the dead letter. Where the dead letters cannot be reached, the message stays in its queue."""
        headers = dict(raw.headers or {})
        replay_of = headers.pop(deadletters.REPLAY_HEADER, "")
        burial = deadletters.Burial(
            version=1,
            service=base.service,
            handler=base.handler,
            code=code.code,
            cause=cause,
            deliveries=raw.metadata.num_delivered,
            time=self._clock.now(),
            stream=raw.metadata.stream,
            sequence=raw.metadata.sequence.stream,
            subject=raw.subject,
            headers=headers,
            replay_of=int(replay_of) if replay_of.isdecimal() else None,
        )
        connection = self._connection
        try:
            await deadletters.bury(connection.js, burial, raw.data, max_payload=connection.client.max_payload)
        except PlatformError as error:
            _log.error("a dead letter could not be written; the message stays in its queue", exc_info=error)
            raise NackMessage(delay=delay(raw.subject, raw.metadata.num_delivered)) from error
        self._metrics.dead.labels(spec.durable_name, code.code).inc()
        _log.error("given up: dead letter", extra={"code": code.code, "cause": cause})
