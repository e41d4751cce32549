"""What is kept costs, by the table of prices: keeping it, reading it back, and letting it go too early. Pure.

A location that the table does not name costs nobody knows what: None, and never nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import date

from gateway.groups.storage.resources import StorageCost, StorageTier
from gateway.settings import Prices

GIGABYTE = 1_000_000_000
MONTH_DAYS = 30


def monthly(prices: Prices | None, location: str | None, kept: int | None) -> float | None:
    """Of keeping so many bytes for a month."""
    return _cost(None if prices is None else prices.by_location.get(location or ""), kept)


def restore(prices: Prices | None, location: str | None, kept: int | None) -> float | None:
    """Of reading all of them once: more than any restore from there costs."""
    return _cost(None if prices is None else prices.read_by_location.get(location or ""), kept)


def early_deletion(
    prices: Prices | None, location: str | None, kept: int | None, uploaded: Mapping[date, int], today: date
) -> float | None:
    """Of letting all of it go today, at most: what the location bills until the minimum storage time is over.

    `uploaded`: on each day at the tiers that lie there. Whether what went since was of the latest days nobody knows.
    """
    price = None if prices is None else prices.by_location.get(location or "")
    if prices is None or price is None or kept is None:
        return None
    least = prices.minimum_days.get(location or "", 0)
    cost, left = 0.0, kept
    for day in sorted(uploaded, reverse=True):
        days = least - (today - day).days
        if days <= 0 or left <= 0:
            break
        young = min(uploaded[day], left)
        cost += young / GIGABYTE * price * days / MONTH_DAYS
        left -= young
    return round(cost, 4)


def in_all(told: Sequence[StorageTier], prices: Prices | None) -> StorageCost | None:
    """Of all locations; a restore is from the one from which it costs least."""
    if prices is None:
        return None
    costs = [each.monthly_cost for each in told]
    restores = [each.restore_cost for each in told if each.kept_bytes and each.restore_cost is not None]
    early = [each.early_deletion_cost for each in told if each.early_deletion_cost is not None]
    return StorageCost(
        currency=prices.currency,
        price_date=prices.date,
        monthly=_sum(costs),
        is_partial=None in costs,
        restore=round(min(restores), 2) if restores else None,
        early_deletion=_sum(early) if early else None,
    )


def _cost(price: float | None, kept: int | None) -> float | None:
    return None if price is None or kept is None else round(kept / GIGABYTE * price, 4)


def _sum(costs: Sequence[float | None]) -> float:
    return round(sum(each for each in costs if each is not None), 2)
