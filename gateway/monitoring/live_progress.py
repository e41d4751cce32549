"""The latest progress of each run and recovery, from the memory stream and then from what is published.

Progress is not history: a lost report is replaced by the next one. Which worker's counts is told by its fence, and of
one worker's the last that was heard: never by its clock. What has ended is forgotten, whatever is reported of
it later, and so is a run that nothing was reported of for as long as the stream keeps a report.
"""

import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from chassis.bus.nats_client import QuickClient
from chassis.reading.stream_reader import StreamReader
from chassis.telemetry.logging import describe
from contracts.config_events import BackupFellDue
from contracts.errors import PlatformError
from contracts.executor_events import ENDED, STATE_AFTER, BackupRefused
from contracts.progress import Progress
from contracts.reading import read_json
from contracts.recovery_events import RECOVERY_ENDED, RECOVERY_STATE_AFTER, RecoveryRefused
from contracts.streams import PROGRESS_KEPT_SECONDS, PROGRESS_STREAM
from contracts.subjects import PROGRESS, once_stored
from gateway.projections.fact import Fact

LOG = logging.getLogger(__name__)

RUNS_MAX = 20_000
_DECODER = msgspec.json.Decoder(Progress)
ENDS = frozenset(fact.NAME for fact, state in STATE_AFTER.items() if state in ENDED) | frozenset(
    fact.NAME for fact, state in RECOVERY_STATE_AFTER.items() if state in RECOVERY_ENDED
)
NO_RUN = frozenset({BackupFellDue.NAME, BackupRefused.NAME, RecoveryRefused.NAME})
"""They name a run that is not there, or not yet."""


class LiveProgress:
    """A part of the process (see `chassis.life.runtime`). `nats` gives the connected client once it is asked."""

    name = "progress"

    def __init__(self, nats: Callable[[], QuickClient], clock: Callable[[], float] = time.monotonic) -> None:
        self._nats = nats
        self._clock = clock
        self._latest: OrderedDict[str, tuple[Progress, float]] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._listeners: list[Callable[[Progress], None]] = []
        self._subscription: Subscription | None = None

    def listen(self, listener: Callable[[Progress], None]) -> None:
        """Call `listener` with each report."""
        self._listeners.append(listener)

    def of(self, organisation: str, execution_id: str) -> Progress | None:
        """The latest report about a run of an organisation."""
        progress, _ = self._latest.get(execution_id, (None, 0.0))
        return progress if progress is not None and progress.organisation == organisation else None

    def tell(self, new: Sequence[Fact]) -> None:
        """New facts: the progress of a run that has ended is no longer of use."""
        for fact in new:
            if fact.type in ENDS and fact.execution_id is not None:
                self._latest.pop(fact.execution_id, None)
                self._ended[fact.execution_id] = None
                if len(self._ended) > RUNS_MAX:
                    self._ended.popitem(last=False)

    async def start(self) -> None:
        """Listen, then take over what the stream remembers; without the stream only new reports are known."""
        self._subscription = await self._nats().subscribe(once_stored(f"{PROGRESS}.>"), cb=self._hear)
        reader = StreamReader(self._nats(), PROGRESS_STREAM)
        try:
            async for message in reader.everything():
                self._take(message.body, is_remembered=True)
        except PlatformError as error:
            LOG.warning("remembered progress cannot be read", extra={"cause": describe(error)})
        finally:
            await reader.close()

    async def stop(self) -> None:
        """Stop listening."""
        if self._subscription is not None:
            with contextlib.suppress(NatsError):  # a connection that is gone has let go of it already
                await self._subscription.unsubscribe()

    async def check(self) -> None:
        """Always well: without progress everything else goes on."""

    async def _hear(self, message: Msg) -> None:
        self._take(message.data)

    def _take(self, body: bytes, *, is_remembered: bool = False) -> None:
        try:
            progress = read_json(body, _DECODER)
        except msgspec.MsgspecError as error:
            LOG.warning("progress cannot be read", extra={"cause": describe(error)})
            return
        known, _ = self._latest.get(progress.execution_id, (None, 0.0))
        if progress.execution_id in self._ended or (known is not None and _is_older(progress, known, is_remembered)):
            return
        now = self._clock()
        self._latest[progress.execution_id] = (progress, now)
        self._latest.move_to_end(progress.execution_id)
        self._forget_old(now)
        for listener in self._listeners:
            listener(progress)

    def _forget_old(self, now: float) -> None:
        while self._latest:
            _, heard_at = next(iter(self._latest.values()))
            if len(self._latest) <= RUNS_MAX and now - heard_at <= PROGRESS_KEPT_SECONDS:
                return
            self._latest.popitem(last=False)


def _is_older(report: Progress, known: Progress, is_remembered: bool) -> bool:
    """Whether a report is of a worker that was passed over, or the stream's memory of what was heard since."""
    return is_remembered or 0 < report.fence < known.fence
