"""Messages whose handler fails and that come again: told while they do, and known to have failed, not to have killed.

Promise: those that fail leave room for what comes for the first time, however many they are. From its third try on a
message that fails makes the service degraded, with the reason and what to do, until it is dealt with or given up, which
the dead letters tell. Another replica may be the one that does: then it ends with the next look at the consumer.
"""

from chassis.life.health import Health
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError
from contracts.streams import ConsumerSpec

TOLD_FROM = 3
RETRIES_PER_SECOND = 20.0
"""So many at most, of one consumer together: the server delivers them before whatever comes for the first time."""
_QUICK_TRIES = 1
"""After so many a message waits its turn: it may only have been ahead of what it needs."""
_HINT = (
    "It is tried again with growing pauses, for some minutes, and then kept as a dead letter. The log of this process "
    "has the cause; mend it, and it is dealt with by itself."
)


class Failing:
    """What fails in one process. `deliveries` counts from 1."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._tries: dict[str, dict[int, int]] = {}
        self._why: dict[str, PlatformError] = {}

    def failed(self, spec: ConsumerSpec, sequence: int, deliveries: int, error: Exception) -> None:
        """A message of a stream has failed, and is delivered again."""
        self._tries.setdefault(spec.durable_name, {})[sequence] = deliveries
        if deliveries >= TOLD_FROM:
            self._why[spec.durable_name] = (
                error
                if isinstance(error, PlatformError)
                else PlatformError(errors.HANDLER_FAILED, describe(error), hint=_HINT)
            )
        self._tell(spec)

    def pause(self, spec: ConsumerSpec, deliveries: int, seconds: float) -> float:
        """How long a message waits that was to wait so many seconds: the more of them fail, the longer each does."""
        if deliveries <= _QUICK_TRIES:
            return seconds
        return max(seconds, len(self._tries.get(spec.durable_name, {})) / RETRIES_PER_SECOND)

    def has_failed(self, spec: ConsumerSpec, sequence: int, deliveries: int) -> bool:
        """Whether all that is known of a message is that it failed, here and at its last delivery.

        Then it kills no process, and needs not be handled by itself.
        """
        return self._tries.get(spec.durable_name, {}).get(sequence) == deliveries - 1

    def settled(self, spec: ConsumerSpec, sequence: int) -> None:
        """It was dealt with, or given up."""
        if self._tries.get(spec.durable_name, {}).pop(sequence, None) is not None:
            self._tell(spec)

    def looked(self, spec: ConsumerSpec, *, waiting: int, settled_up_to: int) -> None:
        """As the server has it: so many are without an answer, and none up to this number of the stream."""
        tries = self._tries.get(spec.durable_name, {})
        for sequence in [each for each in tries if not waiting or each <= settled_up_to]:
            del tries[sequence]
        self._tell(spec)

    def _tell(self, spec: ConsumerSpec) -> None:
        name = f"failing:{spec.durable_name}"
        told = {
            sequence: tries for sequence, tries in self._tries.get(spec.durable_name, {}).items() if tries >= TOLD_FROM
        }
        error = self._why.get(spec.durable_name)
        if not told or error is None:
            self._health.restore(name)
            return
        sequence, tries = max(told.items(), key=lambda each: each[1])
        self._health.degrade(
            name,
            error.told_as(
                f"{len(told)} messages of {spec.durable_name} fail again and again, such as message {sequence} of "
                f"{spec.stream}, tried {tries} times of {spec.max_deliveries}: {error.message}"
            ),
        )
