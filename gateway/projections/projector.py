"""The projector: follows the streams of all services and keeps the read models up to date.

Promise: position and views change in one transaction, so that an event is applied exactly once, whatever is killed
when; streams need no order among each other, since each writes tables and columns of its own. One projector works at
a time, by an advisory lock, whose session ends when it falls silent; others stand by, and tell when the one that leads
does not come forward.

What answers is never emptied. A projection that is new or changed, or that somebody wants made anew, and all of them
where the record has become another log, are built in the shadow (`gateway.projections.shadow`) while reads and events
go on. What cannot be applied is passed over and shown (`gateway.projections.intake`). A stream that has lost events
stands still: that is not ready, and says what to do.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import msgspec
import psycopg
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from chassis.bus.nats_client import QuickClient
from chassis.life.health import Health
from chassis.life.tasks import Supervised, until_set
from chassis.postgres.database import advisory_key, connection_arguments, translated
from chassis.reading.stored import Place, position_of
from chassis.reading.stream_reader import Found, StreamReader, contradicted, every_stream
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from contracts.subjects import EVENTS, SERVICES, events_of, once_stored
from gateway.projections import intake, state
from gateway.projections.applied import Database
from gateway.projections.intake import Intake
from gateway.projections.judgement import Judgement
from gateway.projections.metrics import ProjectorMetrics
from gateway.projections.projection import Batch, Projection, Side, catalogue, instances
from gateway.projections.session import end_when_silent, heard_while
from gateway.projections.shadow import ShadowBuilder, is_at_work, pending
from gateway.projections.state import Made, Stand

LOG = logging.getLogger(__name__)

BATCH = 250
"""Few enough that requests on the same event loop do not wait long for a batch."""
POLL_SECONDS = 0.5
"""How often each stream is looked at although nobody announced anything: bounds the age of an answer."""
REPLICA_PAUSE_SECONDS = 0.0015
"""What one server of a cluster has announced another may answer without for about this long."""
ANNOUNCED_SECONDS = 2.0
STANDBY_SECONDS = 1.0
"""How often a gateway that stands by tries to lead, and compares the streams with what was applied."""
STALL_SECONDS = 15.0
"""Longer than a batch may take, and than Postgres lets it wait for a lock."""
FORGET_EVERY = 20_000
PIPELINED_MAX = 100
"""Up to this many messages are written in a pipeline, with three waits in all; more of them are copied."""
BUILT_HERE_MAX = 2_000
"""Up to this many messages are built here; for more, which would keep requests waiting, another process is started."""
BUILD_AGAIN_SECONDS = 5.0


class Round(msgspec.Struct):
    """What one look at the streams has found: events applied, and whether there are more."""

    applied: int = 0
    is_behind: bool = False
    trouble: PlatformError | None = None


class Projector:
    """Applies what the streams hold. `nats` gives the connected client once it is asked.

    `loop` is the part of the process that follows them: progress is what was applied, or a look at all streams that
    came to its end; a stream that cannot be read is told of under a name of its own. `catch_up` returns once everything
    is applied. `build_apart` builds what is due in another process.
    """

    def __init__(
        self,
        *,
        dsn: str,
        schema: str,
        nats: Callable[[], QuickClient],
        telemetry: Telemetry,
        health: Health | None = None,
        batch: int = BATCH,
        build_apart: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._dsn = dsn
        self._schema = schema
        self._nats = nats
        self._batch = batch
        self._build_apart = build_apart
        self._metrics = ProjectorMetrics(telemetry)
        self._metrics.behind.set_function(self._seconds_behind)
        self._judgement = Judgement(health)
        self.loop = Supervised("projector", self._run, telemetry=telemetry, stall_seconds=STALL_SECONDS)
        self._wake = asyncio.Event()
        self._announced: dict[str, tuple[int, float]] = {}
        self._caught_up_at = time.monotonic()
        self._stand: Stand | None = None
        self._projections: list[Projection] = []
        self._of_swap = -1
        self._building: asyncio.Task[None] | None = None
        self._build_after = float("-inf")
        self._since_forget = 0

    def _seconds_behind(self) -> float:
        return time.monotonic() - self._caught_up_at if self._judgement.leads else 0.0

    async def catch_up(self) -> int:
        """Apply everything that the streams hold now, and return how many events that were."""
        total = 0
        async with self._connected() as (database, readers):
            if not await self._take_lead(database):
                raise PlatformError(errors.CONCURRENT_CHANGE, "another projector is at work; it applies the events")
            await self._begin_to_lead(database)
            await self._see_what_answers(await state.made(database), await state.read(database))
            while True:
                looked = await self._round(database, readers, SERVICES)
                if looked.trouble is not None:
                    raise looked.trouble
                if not looked.applied:
                    return total
                total += looked.applied

    async def _run(self) -> None:
        """Follow the streams until it fails or is cancelled; stand by while another one works."""
        try:
            with translated():
                async with self._connected() as (database, readers):
                    while not await self._take_lead(database):
                        await self._stand_by(database, readers)
                        await asyncio.sleep(STANDBY_SECONDS)
                    await self._begin_to_lead(database)
                    self._judgement.lead(leads=True)
                    await self._follow(database, readers)
        except (NatsError, OSError) as error:
            raise PlatformError(errors.UNAVAILABLE, "nats does not answer", part="nats") from error

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[Database, Mapping[str, StreamReader]]]:
        """A connection that may take the lead, and readers by owner."""
        arguments = connection_arguments(self._dsn, self._schema)
        database = await psycopg.AsyncConnection.connect(self._dsn, **arguments)
        async with database, every_stream(self._nats()) as readers:
            yield database, readers

    async def _stand_by(self, database: Database, readers: Mapping[str, StreamReader]) -> None:
        """Look whether the one that leads comes forward; of each stream only the end is looked at."""
        self._judgement.lead(leads=False)
        ends: dict[str, Place | PlatformError] = {}
        for reader in readers.values():
            try:
                ends[reader.stream] = await reader.end()
            except PlatformError as error:
                ends[reader.stream] = error
        stand, found = await state.read(database), await state.made(database)
        for stream, end in ends.items():
            if isinstance(end, PlatformError):
                self._judgement.of_stream(stream, end)
                continue
            place = stand.place_of(stream)
            moves = (place, stand.swaps, *(made.places.get(stream) for made in found.values()))
            if place.differs_from(end):
                self._judgement.of_stream(stream, contradicted(stream, place))
                continue
            is_applied = place.is_at(end) and not stand.is_left_behind(stream)
            # An empty record lies behind what another log has left.
            is_applied = is_applied or (not place.position and stand.log_of(stream) not in ("", end.log))
            self._judgement.of_standby(stream, is_applied=is_applied, moves=moves, found=found)
        self.loop.progressed()

    async def _follow(self, database: Database, readers: Mapping[str, StreamReader]) -> None:
        subscriptions = [
            await self._nats().subscribe(once_stored(events_of(owner)), cb=self._announce) for owner in SERVICES
        ]
        looked_at = float("-inf")
        await self._take_in_what_is_known_now(database)
        try:
            while True:
                now = time.monotonic()
                is_built = self._building is not None and self._building.done()
                due = is_built or now - looked_at >= POLL_SECONDS
                self._wake.clear()
                if due:
                    await self._see_to_shadows(database)
                looked = await self._round(database, readers, SERVICES if due else self._awaited(now))
                if due:
                    self._judgement.of_streams(await intake.passed_over(database))
                if due or looked.applied:
                    self.loop.progressed()
                if due and not looked.is_behind:
                    looked_at = now
                    if looked.trouble is None:
                        self._caught_up_at = now
                if not looked.applied:
                    await self._pause(looked_at)
        finally:
            if self._building is not None:
                self._building.cancel()
                await asyncio.gather(self._building, return_exceptions=True)
                self._building = None
            with contextlib.suppress(NatsError):
                for subscription in subscriptions:
                    await subscription.unsubscribe()

    async def _take_in_what_is_known_now(self, database: Database) -> None:
        """After an update: what an earlier build has passed over is taken in."""
        known = sorted({each.type for each in await intake.passed_over(database) if intake.is_known_now(each)})
        if known:
            await state.want(database, catalogue(), f"this build can read {', '.join(known)}")

    async def _see_to_shadows(self, database: Database) -> None:
        """Have built what is due, and apply to what answers now."""
        self._stand = await state.read(database)
        found = await state.made(database)
        await self._see_what_answers(found, self._stand)
        due = state.due(found)
        if self._building is not None:
            if not self._building.done():
                self._judgement.of_due({name: found[name] for name in due})
                return
            building, self._building = self._building, None
            failure = None if building.cancelled() else building.exception()
            if failure is not None:
                LOG.error("read models could not be made anew", exc_info=failure)
                self._build_after = time.monotonic() + BUILD_AGAIN_SECONDS
            self._judgement.of_build(failure)
        self._judgement.of_due({name: found[name] for name in due})
        if due and time.monotonic() >= self._build_after and not await is_at_work(database, self._schema):
            self._metrics.rebuilds.inc()
            self._building = asyncio.create_task(self._build(found), name="shadow")
            self._building.add_done_callback(lambda _: self._wake.set())

    async def _see_what_answers(self, found: Mapping[str, Made], stand: Stand) -> None:
        if stand.swaps != self._of_swap:
            names = [name for name, projection in found.items() if projection.version]
            self._projections, self._of_swap = instances(names, Side.LIVE), stand.swaps

    async def _build(self, found: Mapping[str, Made]) -> None:
        if self._build_apart is not None and await pending(self._nats(), found) > BUILT_HERE_MAX:
            await self._build_apart()
            return
        try:
            await ShadowBuilder(dsn=self._dsn, schema=self._schema, nats=self._nats, batch=self._batch).build()
        except PlatformError as error:
            # Somebody else is at it.
            if error.code is not errors.CONCURRENT_CHANGE:
                raise

    async def _pause(self, looked_at: float) -> None:
        """Wait for the next announcement; for a moment only while one is known that was not found yet."""
        now = time.monotonic()
        awaited = [heard_at for _, heard_at in self._announced.values()]
        if awaited:
            # The longer it takes, the less often is looked: the server that has it may be gone.
            await asyncio.sleep(min(0.02, max(REPLICA_PAUSE_SECONDS, (now - min(awaited)) / 4)))
            return
        await until_set(self._wake, max(0.0, looked_at + POLL_SECONDS - now))

    def _awaited(self, now: float) -> Sequence[str]:
        """The owners whose announced events are not applied yet; an announcement that never came true is forgotten."""
        self._announced = {
            owner: heard for owner, heard in self._announced.items() if now - heard[1] <= ANNOUNCED_SECONDS
        }
        return tuple(self._announced)

    async def _announce(self, message: Msg) -> None:
        """A stream has stored an event. Only a hint, which may be lost: what is applied is what is read from there."""
        owner = message.subject.removeprefix(once_stored(f"{EVENTS}.")).partition(".")[0]
        position = position_of(message.headers or {})
        known = self._announced.get(owner)
        if known is None or position > known[0]:
            self._announced[owner] = (position, time.monotonic())
        self._wake.set()

    async def _round(self, database: Database, readers: Mapping[str, StreamReader], owners: Sequence[str]) -> Round:
        """One batch of each stream, in turn."""
        looked = Round()
        if not owners or not self._projections:
            return looked  # Nothing answers yet: the first build takes everything in.
        stand = self._stand = self._stand or await state.read(database)
        for owner in owners:
            reader = readers[owner]
            if stand.is_left_behind(reader.stream):
                looked.trouble = await self._leave(database, reader.stream)
                continue
            place, log = stand.place_of(reader.stream), stand.log_of(reader.stream)
            try:
                found = await heard_while(database, reader.after(place, self._batch, log=log))
            except PlatformError as error:
                looked.trouble = error
                self._judgement.of_stream(reader.stream, error)
                continue
            self._judgement.of_stream(reader.stream, found.trouble)
            looked.trouble = found.trouble or looked.trouble
            if found.has_more:
                looked.is_behind = True
                reader.read_ahead(found.place, self._batch)
            if found.events or found.strays:
                stand = self._stand = await self._apply(database, stand, reader.stream, found)
                looked.applied += len(found.events)
            if owner in self._announced and self._announced[owner][0] <= stand.place_of(reader.stream).position:
                del self._announced[owner]
        return looked

    async def _leave(self, database: Database, stream: str) -> PlatformError:
        """See to it that everything is made anew, since an operator has said that the record is another log."""
        made = await state.made(database)
        if not all(each.wanted or each.building for each in made.values()):
            LOG.warning("the record is another log now", extra={"stream": stream})
            await state.want(database, catalogue(), f"{stream} is another log now")
        self._judgement.of_other_log(stream, made)
        return PlatformError(errors.UNAVAILABLE, "the read models are made anew from the record", stream=stream)

    async def _apply(self, database: Database, stand: Stand, stream: str, found: Found) -> Stand:
        """Take messages that follow `stand` into the read models; where they stand then."""

        async def apply(part: Found, taken: Intake) -> bool:
            nonlocal stand
            stand = await self._apply_at_once(database, stand, stream, part, taken)
            return stand.place_of(stream) == part.place

        await intake.apply_what_fits(stream, found, apply)
        return stand

    async def _apply_at_once(self, database: Database, stand: Stand, stream: str, found: Found, taken: Intake) -> Stand:
        batch = Batch(taken.events, stand.numbered_behind)
        async with contextlib.AsyncExitStack() as stack:
            if len(found.events) <= PIPELINED_MAX:
                await stack.enter_async_context(database.pipeline())
            await stack.enter_async_context(database.transaction())
            locked = await state.lock(database)
            if locked.swaps != stand.swaps or locked.place_of(stream) != stand.place_of(stream):
                # Other tables answer, or somebody has applied more: what was read does not follow any longer.
                return locked
            batch.sequence = locked.numbered_behind
            for projection in self._projections:
                await projection.project(database, batch)
            reached = batch.sequence + batch.numbered if batch.numbered else None
            after = await state.advance(
                database, locked, stream, found.place, reached, by=[each.made_by() for each in self._projections]
            )
            await intake.note(database, Side.LIVE, taken.passed)
            for name, reason in batch.unreadable.items():
                await state.want(database, [name], reason)
            await self._forget_old(database, after.sequence, batch.numbered)
        self._metrics.applied.labels(stream).inc(len(found.events))
        self._metrics.skipped.labels(stream).inc(len(taken.passed))
        return after

    async def _forget_old(self, database: Database, sequence: int, new: int) -> None:
        self._since_forget += new
        if self._since_forget >= FORGET_EVERY:
            self._since_forget = 0
            for projection in self._projections:
                await projection.forget_old(database, sequence)

    async def _begin_to_lead(self, database: Database) -> None:
        await state.lead(database)
        await end_when_silent(database)
        self._stand = None

    async def _take_lead(self, database: Database) -> bool:
        key = advisory_key(f"projector/{self._schema}")
        rows = await (await database.execute("SELECT pg_try_advisory_lock(%s)", (key,))).fetchall()
        return bool(rows[0][0])
