"""Repairs: their read model, and each as a resource. The executor's stream alone changes the table."""

from datetime import datetime
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.envelope import Envelope
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.reading import read_plain
from contracts.repair_events import (
    REPAIR_ENDED,
    REPAIR_STATE_AFTER,
    PlaceRepaired,
    RepairState,
    StorageRepairAccepted,
    StorageRepaired,
    StorageRepairFailed,
    StorageRepairPreparing,
    StorageRepairRequeued,
    StorageTierRepairBegun,
    StorageTierRepaired,
)
from gateway.groups.storage.resources import RepairError, StorageRepair
from gateway.http.resources import ListPage
from gateway.projections.applied import Database, Row, read_view
from gateway.reading.cursor import Cursors, Place
from gateway.reading.slices import Reading, made_of, page_of
from gateway.runs.queries import hint_told, title_of, waiting_told
from gateway.runs.views import ErrorView, WaitView

NAME = "storage-repairs"
_SELECT: LiteralString = """
    SELECT o.view::text, q.actor FROM storage_repairs o LEFT JOIN requests q USING (request_id)
    WHERE o.organisation = %s
"""


class RepairView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One repair, folded from its facts. `version` counts them; `attempts` is the fence. `under_way`: locations that
    were begun and not told.
    """

    repair_id: str
    organisation: str
    request_id: str
    initiated_by: str
    accepted_at: datetime
    dry_run: bool
    read_percent: int = 0
    locations: tuple[str, ...] = ()
    state: str = RepairState.INITIALIZING.value
    version: int = 1
    attempts: int = 0
    places: list[PlaceRepaired] = []
    under_way: list[str] = []
    degraded: bool = False
    seconds: float | None = None
    error: ErrorView | None = None
    waiting: WaitView | None = None
    finished_at: datetime | None = None

    def apply(self, envelope: Envelope, event: Event) -> None:
        """Take a later fact of this repair over."""
        self.version += 1
        match event:
            case StorageRepairPreparing(fence=fence):
                self.attempts = fence
            case StorageRepairRequeued(code=None):
                self.waiting = None
            case StorageRepairRequeued(code=str() as code):
                before = self.waiting
                since = before.since if before is not None and before.code == code else envelope.time
                self.waiting = WaitView(code, since, event.hint, event.next_attempt_at)
            case StorageTierRepairBegun(found_place=place):
                known = next((each for each in self.places if each.location == place.location), None)
                self._put(place if known is None else _cut_off(known))
                self.under_way, self.waiting = [*{*self.under_way, place.location}], None
            case StorageTierRepaired(repaired_place=place):
                self._put(place)
                self.under_way, self.waiting = [each for each in self.under_way if each != place.location], None
            case StorageRepaired():
                told = {place.location for place in event.repaired_places}
                more = [place for place in self.places if place.location not in told]
                self.places, self.under_way = [*event.repaired_places, *more], []
                self.degraded, self.seconds = event.degraded, event.seconds
            case StorageRepairFailed():
                self.error = ErrorView(event.code, event.hint)
                self.places = [_cut_off(each) if each.location in self.under_way else each for each in self.places]
        if (state := REPAIR_STATE_AFTER.get(type(event))) is not None:
            self.state = state.value
            if state in REPAIR_ENDED:
                self.finished_at, self.waiting = envelope.time, None

    def _put(self, place: PlaceRepaired) -> None:
        self.places = [*(each for each in self.places if each.location != place.location), place]


def _cut_off(place: PlaceRepaired) -> PlaceRepaired:
    return msgspec.structs.replace(place, interrupted=place.interrupted + 1)


VIEW = msgspec.json.Decoder(RepairView)


def begun(envelope: Envelope, event: StorageRepairAccepted) -> RepairView:
    """A repair as it is when it was accepted."""
    return RepairView(
        repair_id=event.repair_id,
        organisation=envelope.organisation,
        request_id=event.request_id,
        initiated_by=envelope.actor,
        accepted_at=envelope.time,
        dry_run=event.dry_run,
        read_percent=event.read_percent,
        locations=event.locations,
    )


def row(view: RepairView) -> Row:
    """As it is stored."""
    columns = ("repair_id", "organisation", "request_id", "state", "accepted_at")
    return {**{name: getattr(view, name) for name in columns}, "view": view}


async def one(database: Database, organisation: str, repair_id: str) -> StorageRepair:
    """A repair. Raises NOT_FOUND, also where it is another organisation's."""
    query = _SELECT + " AND o.repair_id = %s"
    found = await (await database.execute(query, (organisation, repair_id))).fetchone()
    if found is None:
        raise PlatformError(errors.NOT_FOUND, "there is no such repair")
    return _told(found)


async def page(
    reading: Reading, sealer: Sealer, organisation: str, *, limit: int, cursor: str | None
) -> ListPage[StorageRepair]:
    """A page of repairs, the latest first. Raises INVALID_CURSOR."""
    return await page_of(
        reading,
        organisation,
        _SELECT,
        [],
        partial(made_of, make=_told),
        key=("o.accepted_at", "o.repair_id"),
        place=lambda each: Place(each.started_at, each.id),
        cursors=Cursors(sealer, organisation, "storage-repairs", _All()),
        limit=limit,
        cursor=cursor,
    )


class _All(msgspec.Struct, frozen=True):
    """No list of repairs is narrowed."""


def _told(found: tuple[Any, ...]) -> StorageRepair:
    stored, actor = found
    view = read_view(stored, VIEW, NAME)
    error = view.error
    return StorageRepair(
        id=view.repair_id,
        version=view.version,
        request_id=view.request_id,
        initiated_by=actor or view.initiated_by,
        dry_run=view.dry_run,
        read_percent=view.read_percent,
        locations=list(view.locations),
        state=read_plain(view.state, RepairState),
        degraded=view.degraded,
        started_at=view.accepted_at,
        finished_at=view.finished_at,
        attempts=view.attempts,
        places=view.places,
        seconds=view.seconds,
        error=None
        if error is None
        else RepairError(code=error.code, title=title_of(error.code), hint=hint_told(error.code, error.hint) or ""),
        waiting=waiting_told(view.waiting),
    )
