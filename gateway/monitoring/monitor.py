"""The WebSocket: what happens to an organisation's backups, as it happens.

Promise: a snapshot first, at one instant of the read models, then every fact after it in order, none twice and none
left out, also for a slow reader, who reads them from the store later; progress is the latest only. After a drop, of the
socket or of any server, a reader resumes by (epoch, sequence). Where that cannot be, since the facts are numbered anew
or too old ones are missing, the snapshot has what ended meanwhile, too. A socket is closed when the token that opened
it ends or the key that signed the token is withdrawn, and when nothing is subscribed to for a minute. One person may
have a quarter of the organisation's sockets, so that nobody takes them all.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect
from msgspec import UNSET
from psycopg import IsolationLevel

from chassis.clock import Clock
from chassis.postgres.database import translated
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError
from contracts.progress import Progress
from gateway.auth.principal import Principal
from gateway.auth.rate_limit import TokenBuckets, refuse_above
from gateway.http.problems import problem_of
from gateway.monitoring import projection as facts
from gateway.monitoring.feed import FactFeed
from gateway.monitoring.frames import (
    Failure,
    ProgressFrame,
    Resume,
    Resumed,
    Snapshot,
    Subscribe,
    fact_frame,
    understood,
)
from gateway.monitoring.live_progress import ENDS, NO_RUN, LiveProgress
from gateway.monitoring.named import unknown
from gateway.projections import state
from gateway.projections.applied import Database, ViewUnreadable
from gateway.projections.fact import Fact
from gateway.reading.shares import SharedConnections
from gateway.reading.slices import made_of
from gateway.runs.queries import SELECT, of_row
from gateway.runs.resources import Execution

LOG = logging.getLogger(__name__)

READ_AT_ONCE = 500
SEND_SECONDS_MAX = 30.0
"""How long a reader may take for one message before the socket is closed."""
UNUSED_SECONDS_MAX = 60.0
"""How long a socket may be open without a subscription."""
FULL_RETRY_SECONDS = 30
SHOWN_MAX = 200
ENDED_HOURS_MAX = 24
"""How far back ended runs are shown to a reader of whom it is not known what it has heard last."""
CLOCKS_APART_SECONDS = 60
"""The clocks of those who record facts may differ: this much more is shown."""

TOKEN_ENDED = 4401
TOO_SLOW = 4408
UNUSED = 4409
TRY_AGAIN = 1013

_ENCODER = msgspec.json.Encoder()
_SHOWN = (
    SELECT.replace("%s", "%(organisation)s")
    + """
      AND (e.execution_id = ANY(%(executions)s)
           OR (e.configuration_id = ANY(%(configurations)s) OR %(all)s)
              AND (e.finished_at IS NULL OR e.finished_at >= %(ended_since)s))
    ORDER BY e.finished_at IS NOT NULL, e.accepted_at DESC, e.execution_id DESC LIMIT %(limit)s
"""
)


class Monitor:
    """The open sockets of this process. One reads the feed for all of them."""

    def __init__(
        self,
        *,
        connections: SharedConnections,
        feed: FactFeed,
        progress: LiveProgress,
        clock: Clock,
        people: TokenBuckets,
        sockets_per_organisation: int,
    ) -> None:
        self._connections = connections
        self.feed = feed
        self.progress = progress
        self.clock = clock
        self.people = people
        self._sockets_max = sockets_per_organisation
        self._readers: defaultdict[str, set[Reader]] = defaultdict(set)
        progress.listen(self._hear_progress)
        feed.listen(self._hear_facts)

    def refuse_if_full(self, principal: Principal) -> None:
        """Raises TOO_MANY_REQUESTS where an organisation, or the person, has as many sockets as it may."""
        readers = self._readers.get(principal.organisation, ())
        own = sum(reader.principal.actor == principal.actor for reader in readers)
        for who, count, limit in (
            ("the organisation has", len(readers), self._sockets_max),
            ("you have", own, -(-self._sockets_max // 4)),
        ):
            if count >= limit:
                raise PlatformError(
                    errors.TOO_MANY_REQUESTS,
                    f"{who} too many open sockets",
                    hint="Close a socket that is no longer needed, then try again.",
                    limit=limit,
                    retry_after_seconds=FULL_RETRY_SECONDS,
                )

    def end_withdrawn(self, is_valid: Callable[[str], bool]) -> None:
        """Close the sockets of people whose token's key is no longer valid, by its thumbprint."""
        for readers in self._readers.values():
            for reader in readers:
                if not is_valid(reader.principal.signed_by):
                    reader.withdrawn.set()

    def __len__(self) -> int:
        return sum(len(readers) for readers in self._readers.values())

    async def serve(self, socket: WebSocket[Any, Any, Any], principal: Principal) -> None:
        """Serve an accepted socket until it is closed by either side."""
        reader = Reader(self, socket, principal)
        readers = self._readers[principal.organisation]
        readers.add(reader)
        try:
            await reader.serve()
        finally:
            readers.discard(reader)
            if not readers:
                self._readers.pop(principal.organisation, None)

    @asynccontextmanager
    async def reading(self, organisation: str) -> AsyncIterator[Database]:
        """A connection to read the read models on, for an organisation (see `Gateway.reading`)."""
        with translated():
            await self.feed.until_answering()
            async with self._connections.of(organisation) as database:
                try:
                    yield database
                except ViewUnreadable as error:
                    await state.want(database, [error.projection], "a stored view cannot be read by this build")
                    raise

    def _hear_progress(self, progress: Progress) -> None:
        for reader in self._readers.get(progress.organisation, ()):
            reader.offer(progress)

    def _hear_facts(self, new: Sequence[Fact]) -> None:
        organisations = {fact.organisation for fact in new} if new else set(self._readers)
        for organisation in organisations:
            for reader in self._readers.get(organisation, ()):
                reader.wake.set()


class Reader:
    """One open socket: where it stands, what it wants, and the progress that waits for it."""

    def __init__(self, monitor: Monitor, socket: WebSocket[Any, Any, Any], principal: Principal) -> None:
        self._monitor = monitor
        self._socket = socket
        self.principal = principal
        self._subscription: Subscribe | None = None
        self._asked: Subscribe | None = None
        self._stand = Resume("", 0)
        self._configurations: dict[str, str] = {}
        self._progress: dict[str, Progress] = {}
        self.wake = asyncio.Event()
        self.withdrawn = asyncio.Event()

    def offer(self, progress: Progress) -> None:
        """Progress to be told; what the reader has not taken yet is replaced."""
        if self._subscription is not None:
            self._progress[progress.execution_id] = progress
            self.wake.set()

    async def serve(self) -> None:
        """Listen and tell, until the client is gone, has no right or no use for it any more, or reads too slowly."""
        left = max(0.0, self.principal.expires_at - self._monitor.clock.now().timestamp())
        listening = asyncio.create_task(self._listen())
        telling = asyncio.create_task(self._tell())
        withdrawn = asyncio.create_task(self.withdrawn.wait())
        tasks = {listening, telling, withdrawn}
        closing: tuple[int, str] | None = None
        try:
            first = min(left, UNUSED_SECONDS_MAX)
            done, _ = await asyncio.wait(tasks, timeout=first, return_when=asyncio.FIRST_COMPLETED)
            if not done and first < left and not self._is_subscribed:
                closing = (UNUSED, "nothing was subscribed to")
            elif not done:
                done, _ = await asyncio.wait(tasks, timeout=left - first, return_when=asyncio.FIRST_COMPLETED)
            if withdrawn in done:
                closing = (TOKEN_ENDED, "the key of the token was withdrawn")
            elif telling in done:
                telling.result()
            elif not done and closing is None:
                closing = (TOKEN_ENDED, "the token has expired")
        except TimeoutError:
            closing = (TOO_SLOW, "the reader is too slow")
        except PlatformError as error:
            LOG.warning("socket closed", extra={"cause": describe(error)})
            closing = (TRY_AGAIN, error.code.code)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if closing is not None:
            with contextlib.suppress(WebSocketDisconnect, TimeoutError, OSError):
                async with asyncio.timeout(1.0):
                    await self._socket.close(*closing)

    @property
    def _is_subscribed(self) -> bool:
        return self._subscription is not None or self._asked is not None

    async def _listen(self) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                text = await self._socket.receive_data(mode="text")
                try:
                    # A subscription costs what a request costs.
                    refuse_above(self._monitor.people.take((self.principal.organisation, self.principal.actor)))
                    self._asked = understood(text)
                    self.wake.set()
                except PlatformError as error:
                    await self._send(Failure(problem=problem_of(error)))

    async def _tell(self) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await self.wake.wait()
                self.wake.clear()
                if (asked := self._asked) is not None:
                    self._asked = None
                    await self._take_up(asked)
                if self._subscription is not None:
                    await self._tell_facts(self._subscription)
                    await self._tell_progress(self._subscription)

    async def _take_up(self, asked: Subscribe) -> None:
        async with self._monitor.reading(self.principal.organisation) as database:
            wrong = await unknown(database, self.principal.organisation, asked)
        if wrong is not None:
            await self._send(Failure(problem=problem_of(wrong)))
            return
        self._subscription = asked
        await self._begin(asked)

    async def _begin(self, subscription: Subscribe) -> None:
        if subscription.resume is UNSET:
            await self._send_snapshot(subscription)
            return
        stand = Resume.parse(subscription.resume)
        if await self._can_resume(stand):
            self._stand = stand
            await self._send(Resumed(resume=str(stand)))
        else:
            await self._send_snapshot(subscription, stand)

    async def _can_resume(self, stand: Resume) -> bool:
        """Whether all facts after a stand are still kept."""
        async with self._monitor.reading(self.principal.organisation) as database:
            now = await state.read(database)
            return now.epoch == stand.epoch and await state.is_kept(database, stand.sequence)

    async def _send_snapshot(self, subscription: Subscribe, heard: Resume | None = None) -> None:
        """Tell how things stand, with what has ended since a reader stood at `heard`."""
        async with self._monitor.reading(self.principal.organisation) as database:
            since = None if heard is None else await self._heard_at(database, heard)
            self._stand, executions = await _snapshot(database, self.principal.organisation, subscription, since)
        self._progress.clear()
        known = (self._monitor.progress.of(self.principal.organisation, run.id) for run in executions[:SHOWN_MAX])
        for run in executions:
            self._configurations[run.id] = run.configuration_id
        await self._send(
            Snapshot(
                resume=str(self._stand),
                executions=executions[:SHOWN_MAX],
                ended_since=since,
                is_complete=len(executions) <= SHOWN_MAX,
                progress=[progress for progress in known if progress is not None],
            )
        )

    async def _heard_at(self, database: Database, heard: Resume) -> datetime:
        """From when on a reader has not heard what happened."""
        at = await facts.time_of(database, heard.epoch, heard.sequence)
        if at is None:
            return self._monitor.clock.now() - timedelta(hours=ENDED_HOURS_MAX)
        return at - timedelta(seconds=CLOCKS_APART_SECONDS)

    async def _tell_facts(self, subscription: Subscribe) -> None:
        while True:
            batch = await self._new_facts()
            if batch is None:
                await self._send_snapshot(subscription, self._stand)
                return
            new, reached = batch
            for fact in new:
                self._stand = Resume(self._stand.epoch, fact.sequence)
                self._note(fact)
                if subscription.wants(fact.execution_id, fact.configuration_id):
                    await self._send(fact_frame(self._stand.epoch, fact))
            if len(new) < READ_AT_ONCE:
                # Numbers are shared by all organisations: those up to here are others', and need not be read again.
                self._stand = Resume(self._stand.epoch, max(self._stand.sequence, reached))
                return

    def _note(self, fact: Fact) -> None:
        """Remember which configuration a running run belongs to: progress does not say it."""
        if fact.execution_id is None or fact.configuration_id is None:
            return
        if fact.type in ENDS:
            self._configurations.pop(fact.execution_id, None)
        elif fact.type not in NO_RUN:
            self._configurations[fact.execution_id] = fact.configuration_id

    async def _new_facts(self) -> tuple[list[Fact], int] | None:
        """The facts that follow, and the number up to which they are all; None where the reader cannot go on."""
        feed, stand = self._monitor.feed, self._stand
        remembered = feed.since(self.principal.organisation, stand.epoch, stand.sequence)
        if remembered is not None:
            return remembered, feed.sequence
        async with self._monitor.reading(self.principal.organisation) as database:
            following = await facts.after(
                database, stand.sequence, READ_AT_ONCE, epoch=stand.epoch, organisation=self.principal.organisation
            )
            # Looked at afterwards: what was read is the whole of it where its beginning is still kept.
            now = await state.read(database)
            if now.epoch != stand.epoch or not await state.is_kept(database, stand.sequence):
                return None
        return following, following[-1].sequence if following else stand.sequence

    async def _tell_progress(self, subscription: Subscribe) -> None:
        while self._progress:
            execution_id, progress = next(iter(self._progress.items()))
            del self._progress[execution_id]
            if subscription.wants(execution_id, self._configurations.get(execution_id)):
                await self._send(ProgressFrame(progress=progress))

    async def _send(self, frame: msgspec.Struct) -> None:
        # The server holds back while its buffer is full: who reads slowly is waited for here, alone.
        async with asyncio.timeout(SEND_SECONDS_MAX):
            await self._socket.send_data(_ENCODER.encode(frame).decode(), mode="text")


async def _snapshot(
    database: Database, organisation: str, wanted: Subscribe, ended_since: datetime | None
) -> tuple[Resume, list[Execution]]:
    """Where the read models stand and the runs that are shown, of one instant; one more than `SHOWN_MAX` at most."""
    await database.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    try:
        async with database.transaction():
            stand = await state.read(database)
            parameters = {
                "organisation": organisation,
                "executions": list(wanted.executions),
                "configurations": list(wanted.configurations),
                "all": wanted.all,
                "ended_since": ended_since,
                "limit": SHOWN_MAX + 1,
            }
            rows = await (await database.execute(_SHOWN, parameters)).fetchall()
    finally:
        await database.set_isolation_level(None)
    return Resume(stand.epoch, stand.sequence), await made_of(rows, of_row)
