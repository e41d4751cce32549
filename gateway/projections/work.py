"""Views of work that begins with one fact and is followed by others: recoveries, cleanups, repairs and the like."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from contracts.envelope import Envelope
from contracts.event import Event
from gateway.projections.applied import Applied, Database, Row, load_views, upsert
from gateway.projections.projection import Batch


class _View(Protocol):
    def apply(self, envelope: Envelope, event: Any) -> None:
        """Take a fact over."""
        ...


F = TypeVar("F", bound=Event)
B = TypeVar("B", bound=Event)
V = TypeVar("V", bound=_View)


class Work(NamedTuple, Generic[F, B, V]):
    """One kind of work. `fact`: all facts about it have this class; `begins`: that of the first one."""

    fact: type[F]
    id_of: Callable[[F], str]
    begins: type[B]
    begun: Callable[[Envelope, B], V]
    view: msgspec.json.Decoder[V]
    row: Callable[[V], Row]


async def follow(
    database: Database,
    batch: Batch,
    work: Work[F, B, V],
    *,
    load: bytes,
    store: bytes,
    name: str,
    among: tuple[type[Event], ...] = (Event,),
) -> dict[str, V]:
    """Take facts over into views, in the caller's transaction; returns those that were touched, by id.

    `load`, `store`: the statements of `load_views` and `upsert`; `name`: the projection's, for what it cannot read.
    Facts of a work whose beginning is not known are passed over.
    """
    touched: list[tuple[Applied, F]] = [
        (applied, applied.event)
        for applied in batch.events
        if isinstance(applied.event, work.fact) and isinstance(applied.event, among)
    ]
    ids = list({work.id_of(event) for _, event in touched})
    views, unreadable = await load_views(database, load, ids, work.view)
    for applied, event in touched:
        key = work.id_of(event)
        if key in unreadable:
            continue
        if isinstance(event, work.begins):
            views[key] = work.begun(applied.envelope, event)
        elif key in views:
            views[key].apply(applied.envelope, event)
    await upsert(database, store, [work.row(view) for view in views.values()])
    if unreadable:
        batch.unreadable[name] = f"{len(unreadable)} stored views cannot be read by this build"
    return views
