"""What is stored, as resources."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, LiteralString

import msgspec

from contracts.configuration import Tier
from contracts.reading import read_plain
from gateway.groups.storage import costs
from gateway.groups.storage.forecast import forecasts
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
JUDGED_DAYS = 800
"""By so many days of the past forecasts are judged, and what is younger than a minimum storage time is found."""
_ASKED_BY_NOBODY = (
    "What is kept is reckoned from what runs and cleanups have told: what the command line stored, pruned or repaired, "
    "and what runs had uploaded that were cancelled or failed, is not in it.",
)
_NO_FORECAST = "There is no forecast: less than seven days are known."
_NO_PRICES = "What it costs is unknown: the operator has set no table of prices."
_NO_REQUESTS = "Requests are not in what it costs, nor what a restore's target bills."

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
_TIER_DAYS: LiteralString = """
    SELECT tier, day, uploaded_bytes FROM storage_tier_days
    WHERE organisation = %s AND day > %s::date - 3660 ORDER BY day
"""
_KEPT: LiteralString = """
    SELECT coalesce(sum(uploaded_bytes - freed_bytes), 0)::bigint FROM storage_days WHERE organisation = %s
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
        (array_agg(t.code ORDER BY t.failed_at DESC NULLS LAST))[1], max(t.proven_at),
        (array_agg(t.capacity_bytes ORDER BY t.measured_at DESC NULLS LAST))[1],
        (array_agg(t.free_bytes ORDER BY t.measured_at DESC NULLS LAST))[1],
        (array_agg(t.latency_seconds ORDER BY t.measured_at DESC NULLS LAST))[1], max(t.measured_at)
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
        for day, uploaded, freed in await _rows(database, _DAYS, organisation, JUDGED_DAYS)
    ]
    ((kept,),) = await _rows(database, _KEPT, organisation)
    places = await _places(database, organisation)
    told = await _tiers(database, organisation, places, prices, now)
    cost = costs.in_all(told, prices)
    forecast = _forecast(days, kept, cost, now)
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
        growth=days[:GROWTH_DAYS],
        forecast=forecast,
        cost=cost,
        unknown=[*([] if forecast else [_NO_FORECAST]), *_unknown(told, places, prices)],
    )


async def tiers(database: Database, organisation: str, prices: Prices | None, now: datetime) -> StorageTiers:
    """Each location."""
    places = await _places(database, organisation)
    told = await _tiers(database, organisation, places, prices, now)
    return StorageTiers(items=told, cost=costs.in_all(told, prices), unknown=_unknown(told, places, prices))


async def _rows(database: Database, query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
    return await (await database.execute(query, values)).fetchall()


async def _places(database: Database, organisation: str) -> dict[str, _Place]:
    return {name: _Place(*row) for name, *row in await _rows(database, _PLACES, organisation)}


def _locked(places: dict[str, _Place]) -> int | None:
    """What locks keep at the locations that were looked at; None where none was."""
    seen = [each.locked_bytes for each in places.values() if each.is_seen]
    return sum(seen) if seen else None


async def _tiers(
    database: Database, organisation: str, places: dict[str, _Place], prices: Prices | None, now: datetime
) -> list[StorageTier]:
    today = now.astimezone(UTC).date()
    uploaded: dict[str, dict[date, int]] = {}
    if prices is not None and prices.minimum_days:
        for tier, day, taken in await _rows(database, _TIER_DAYS, organisation, today):
            uploaded.setdefault(tier, {})[day] = taken
    reckoned = _Reckoned(places, prices, uploaded, today)
    told = [reckoned.tier(*row) for row in await _rows(database, _TIERS, organisation)]
    return sorted(told, key=lambda each: (each.location is None, each.location or ""))


class _Reckoned(msgspec.Struct, frozen=True):
    """What is known beside the sums of a location. `uploaded`: of each tier, by day."""

    places: dict[str, _Place]
    prices: Prices | None
    uploaded: Mapping[str, Mapping[date, int]]
    today: date

    def tier(self, location: str | None, *row: Any) -> StorageTier:
        """One location."""
        of, uploaded, seconds, uploads, failures, uploaded_at, failed_at, code, proven_at, *room = row
        capacity, free, latency, measured_at = room
        place = self.places.get(location or "")
        seen = place if place is not None and place.is_seen else None
        freed = 0 if place is None else place.freed_bytes - place.again_bytes
        # More can be freed than runs have told of, who had stored by the command line as well.
        kept = uploaded - freed if uploaded >= freed else None
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
            capacity_bytes=capacity,
            free_bytes=free,
            latency_seconds=latency,
            measured_at=measured_at,
            monthly_cost=costs.monthly(self.prices, location, kept),
            restore_cost=costs.restore(self.prices, location, kept),
            early_deletion_cost=costs.early_deletion(self.prices, location, kept, self._by_day(of), self.today),
        )

    def _by_day(self, tiers: Iterable[str]) -> dict[date, int]:
        days: Counter[date] = Counter()
        for each in tiers:
            days.update(self.uploaded.get(each, {}))
        return days


def _forecast(days: Sequence[StorageDay], kept: int, cost: StorageCost | None, now: datetime) -> list[StorageForecast]:
    grown = {each.day: each.uploaded_bytes - each.freed_bytes for each in days}
    if grown:  # What was kept before the days that are looked at is as old as the first of them.
        grown[min(grown)] += kept - sum(grown.values())
    return [
        StorageForecast(
            in_days=each.in_days,
            kept_bytes=each.kept_bytes,
            monthly_cost=None if cost is None or kept <= 0 else round(cost.monthly * each.kept_bytes / kept, 2),
            error=None if each.error is None else round(each.error, 4),
            judged=each.judged,
        )
        for each in forecasts(grown, now.astimezone(UTC).date())
    ]


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
    unmeasured = sorted(each.location for each in told if each.location is not None and each.measured_at is None)
    if unmeasured:
        unknown.append(f"Latency and room are known since the next run, which was not yet at: {', '.join(unmeasured)}.")
    roomless = sorted(each.location or "" for each in told if each.measured_at and each.capacity_bytes is None)
    if roomless:
        unknown.append(f"How much room is left is told by no bucket: {', '.join(filter(None, roomless))}.")
    if prices is None:
        return [*unknown, _NO_PRICES]
    unread = sorted(each.location for each in told if each.location is not None and each.restore_cost is None)
    if unread:
        unknown.append(f"What reading costs is in no table of prices, of: {', '.join(unread)}.")
    unpriced = sorted(each.location for each in told if each.location is not None and each.monthly_cost is None)
    if unpriced:
        unknown.append(f"The table of prices of {prices.date} says nothing of: {', '.join(unpriced)}.")
    return [*unknown, _NO_REQUESTS]
