"""What is stored, as resources."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString

import msgspec

from contracts.configuration import Tier
from contracts.reading import read_plain
from gateway.groups.storage.resources import (
    StorageCost,
    StorageDay,
    StorageForecast,
    StorageOverview,
    StorageTier,
    StorageTiers,
    StorageTotals,
    StoredOfClass,
    StoredOfConfiguration,
)
from gateway.projections.applied import Database
from gateway.settings import Prices

SHOWN = 100
"""So many configurations an overview names."""
GROWTH_DAYS = 30
KNOWN_DAYS_MIN = 7
AHEAD_DAYS = (30, 90, 365)
GIGABYTE = 1_000_000_000
_ASKED_BY_NOBODY = (
    "What is kept is reckoned from what runs and cleanups have told: what the command line stored, pruned or repaired, "
    "and what runs had uploaded that were cancelled or failed, is not in it.",
    "Capacity, free space and latency of a location are known to the workers alone: the readiness and the metrics of "
    "executor-worker tell them.",
)
_NO_FORECAST = "There is no forecast: less than seven days are known."
_NO_PRICES = "What it costs is unknown: the operator has set no table of prices."
_COST_OF_KEEPING = (
    "Costs are those of keeping: transfer, requests, early deletion and minimum storage times are not in it."
)

_TOTALS: LiteralString = """
    SELECT coalesce(sum(points), 0)::bigint, coalesce(sum(latest_bytes), 0)::bigint,
        coalesce(sum(new_bytes), 0)::bigint, coalesce(sum(stored_bytes), 0)::bigint, count(*)
    FROM storage_configurations WHERE organisation = %s
"""
_CONFIGURATIONS: LiteralString = """
    SELECT configuration_id, points, latest_bytes, new_bytes, stored_bytes FROM storage_configurations
    WHERE organisation = %s ORDER BY stored_bytes DESC, configuration_id LIMIT %s
"""
_CLASSES: LiteralString = """
    SELECT content_class, source_bytes, new_bytes, stored_bytes FROM storage_classes
    WHERE organisation = %s ORDER BY stored_bytes DESC, content_class
"""
_DAYS: LiteralString = """
    SELECT day, uploaded_bytes, freed_bytes FROM storage_days WHERE organisation = %s ORDER BY day DESC LIMIT %s
"""
_KEPT: LiteralString = """
    SELECT coalesce(sum(uploaded_bytes - freed_bytes), 0)::bigint, min(day) FROM storage_days WHERE organisation = %s
"""
_PLACES: LiteralString = """
    SELECT location, freed_bytes, again_bytes, locked_bytes, locked_until, pinned_bytes, nullif(cleaned_at, 'epoch')
    FROM storage_places WHERE organisation = %s
"""
# Where a tier lay is what the version of the configuration says by which the run was accepted.
_TIERS: LiteralString = """
    SELECT h.body::json #>> ARRAY['storageDestinations', t.tier, 'location'] AS location,
        array_agg(DISTINCT t.tier), sum(t.uploaded_bytes)::bigint, sum(t.upload_seconds), sum(t.uploads)::bigint,
        sum(t.failures)::bigint, max(t.uploaded_at), max(t.failed_at),
        (array_agg(t.code ORDER BY t.failed_at DESC NULLS LAST))[1], max(t.proven_at)
    FROM storage_tiers t LEFT JOIN configuration_history h USING (configuration_id, version)
    WHERE t.organisation = %s GROUP BY 1
"""


class _Place(msgspec.Struct, frozen=True):
    freed_bytes: int
    again_bytes: int
    locked_bytes: int
    locked_until: datetime | None
    pinned_bytes: int
    cleaned_at: datetime | None

    @property
    def is_seen(self) -> bool:
        """Whether any cleanup has looked at what it keeps."""
        return self.cleaned_at is not None


async def overview(database: Database, organisation: str, prices: Prices | None, now: datetime) -> StorageOverview:
    """All of an organisation."""
    (totals,) = await _rows(database, _TOTALS, organisation)
    points, logical, new, stored, configurations = totals
    shown = await _rows(database, _CONFIGURATIONS, organisation, SHOWN)
    days = [
        StorageDay(day=day, uploaded_bytes=uploaded, freed_bytes=freed)
        for day, uploaded, freed in await _rows(database, _DAYS, organisation, GROWTH_DAYS)
    ]
    ((kept, since),) = await _rows(database, _KEPT, organisation)
    places = await _places(database, organisation)
    told = await _tiers(database, organisation, places, prices)
    forecast = list(_forecast(days, kept, since, now))
    cost = _cost(told, prices)
    return StorageOverview(
        totals=StorageTotals(
            points=points,
            logical_bytes=logical,
            new_bytes=new,
            stored_bytes=stored,
            compression_ratio=new / stored if stored else None,
        ),
        kept_bytes=max(kept, 0),
        locked_bytes=_locked(places),
        configurations=[
            StoredOfConfiguration(
                configuration_id=each, points=of, logical_bytes=latest, new_bytes=fresh, stored_bytes=on_tier
            )
            for each, of, latest, fresh, on_tier in shown
        ],
        configurations_more=configurations - len(shown),
        classes=[
            StoredOfClass(content_class=name, source_bytes=read, new_bytes=fresh, stored_bytes=on_tier)
            for name, read, fresh, on_tier in await _rows(database, _CLASSES, organisation)
        ],
        growth=days,
        forecast=forecast,
        cost=cost,
        unknown=[*([] if forecast else [_NO_FORECAST]), *_unknown(told, places, prices)],
    )


async def tiers(database: Database, organisation: str, prices: Prices | None) -> StorageTiers:
    """Each location."""
    places = await _places(database, organisation)
    told = await _tiers(database, organisation, places, prices)
    return StorageTiers(items=told, cost=_cost(told, prices), unknown=_unknown(told, places, prices))


async def _rows(database: Database, query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
    return await (await database.execute(query, values)).fetchall()


async def _places(database: Database, organisation: str) -> dict[str, _Place]:
    return {name: _Place(*row) for name, *row in await _rows(database, _PLACES, organisation)}


def _locked(places: dict[str, _Place]) -> int | None:
    """What locks keep at the locations that were looked at; None where none was."""
    seen = [each.locked_bytes for each in places.values() if each.is_seen]
    return sum(seen) if seen else None


async def _tiers(
    database: Database, organisation: str, places: dict[str, _Place], prices: Prices | None
) -> list[StorageTier]:
    told = [_tier(places, prices, *row) for row in await _rows(database, _TIERS, organisation)]
    return sorted(told, key=lambda each: (each.location is None, each.location or ""))


def _tier(places: dict[str, _Place], prices: Prices | None, location: str | None, *row: Any) -> StorageTier:
    of, uploaded, seconds, uploads, failures, uploaded_at, failed_at, code, proven_at = row
    place = places.get(location or "")
    seen = place if place is not None and place.is_seen else None
    freed = 0 if place is None else place.freed_bytes - place.again_bytes
    # More can be freed than runs have told of, who had stored by the command line as well.
    kept = uploaded - freed if uploaded >= freed else None
    price = None if prices is None or location is None else prices.by_location.get(location)
    return StorageTier(
        location=location,
        tiers=[read_plain(each, Tier) for each in sorted(of)],
        kept_bytes=kept,
        uploaded_bytes=uploaded,
        freed_bytes=freed,
        locked_bytes=seen.locked_bytes if seen else None,
        locked_until=seen.locked_until if seen else None,
        pinned_bytes=seen.pinned_bytes if seen else None,
        cleaned_at=seen.cleaned_at if seen else None,
        uploaded_at=uploaded_at,
        is_failing=failed_at is not None and (uploaded_at is None or failed_at > uploaded_at),
        failed_at=failed_at,
        failure_code=code,
        error_rate=failures / (uploads + failures) if uploads + failures else None,
        proven_at=proven_at,
        bytes_per_second=uploaded / seconds if seconds else None,
        capacity_bytes=None,
        free_bytes=None,
        latency_seconds=None,
        monthly_cost=None if price is None or kept is None else round(kept / GIGABYTE * price, 4),
    )


def _forecast(days: Sequence[StorageDay], kept: int, since: date | None, now: datetime) -> Iterator[StorageForecast]:
    """A straight line through the last 30 days; nothing where fewer than a week are known."""
    today = now.astimezone(UTC).date()
    known = 0 if since is None else (today - since).days + 1
    if known < KNOWN_DAYS_MIN:
        return
    window = min(known, GROWTH_DAYS)
    first = today - timedelta(days=window - 1)
    a_day = sum(each.uploaded_bytes - each.freed_bytes for each in days if each.day >= first) / window
    for ahead in AHEAD_DAYS:
        yield StorageForecast(in_days=ahead, kept_bytes=max(0, round(kept + a_day * ahead)))


def _cost(told: Sequence[StorageTier], prices: Prices | None) -> StorageCost | None:
    if prices is None:
        return None
    costs = [each.monthly_cost for each in told]
    return StorageCost(
        currency=prices.currency,
        price_date=prices.date,
        monthly=round(sum(each for each in costs if each is not None), 2),
        is_partial=None in costs,
    )


def _unknown(told: Sequence[StorageTier], places: dict[str, _Place], prices: Prices | None) -> list[str]:
    """What is not known, in words."""
    unknown = list(_ASKED_BY_NOBODY)
    cleaned = {name for name, place in places.items() if place.is_seen}
    uncleaned = sorted(each.location for each in told if each.location is not None and each.location not in cleaned)
    if uncleaned:
        unknown.append(
            "What locks keep is known since the first cleanup or optimisation, which was not yet at: "
            f"{', '.join(uncleaned)}."
        )
    if prices is None:
        return [*unknown, _NO_PRICES]
    unpriced = sorted(each.location for each in told if each.location is not None and each.monthly_cost is None)
    if unpriced:
        unknown.append(f"The table of prices of {prices.date} says nothing of: {', '.join(unpriced)}.")
    return [*unknown, _COST_OF_KEEPING]
