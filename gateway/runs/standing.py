"""How a configuration stands, as columns beside its view: what the status counts, compares and groups by.

Promise: the status of thousands of configurations is one grouping in Postgres. `standing` is equal for configurations
that are judged alike; `uploaded_<tier>` is the last upload, `failure_<tier>` the last failure as text: its time in UTC
(`TIME_LENGTH` characters that sort like it), a space, its code. A recovery point counts for the source, places and
locks that it was made with: `CHANGED` names those that the configuration has changed since (`made_version`).
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import LiteralString

import msgspec

from contracts import errors
from contracts.configuration import Tier
from contracts.reading import read_json
from gateway.runs.views import RunsView, TierRecord

TIME_LENGTH = 27
SOURCE = "source"
CHANGED: LiteralString = """
    CASE WHEN c.since = '{}' OR r.made_version >= c.version THEN '{}'::text[] ELSE ARRAY(
        SELECT key FROM jsonb_each_text(c.since) WHERE value::bigint > coalesce(r.made_version, 0)
        ORDER BY key COLLATE "C") END
"""
"""What the configuration `c` says otherwise than when the recovery point of its runs `r` was made: the source, tiers
(by their name) whose place is another, and locks (`lock_of`)."""

FIRST_CHANGED: LiteralString = """
    (SELECT min(h.changed_at) FROM configuration_history h
        WHERE h.configuration_id = c.configuration_id AND h.version > coalesce(c.made_version, 0)
            AND {which} = ANY(h.changed))
"""
"""When a thing (`which`) was first changed since the recovery point of the row `c` was made."""
UNPROTECTED_SINCE: LiteralString = f"""
    CASE
        WHEN c.protected_at IS NULL THEN c.created_at
        WHEN c.changed = '{{}}' THEN c.protected_at
        WHEN '{SOURCE}' = ANY(c.changed) THEN coalesce({FIRST_CHANGED.format(which=f"'{SOURCE}'")}, c.protected_at)
        WHEN c.standing::jsonb -> 1 <@ to_jsonb(c.changed) THEN coalesce(
            (SELECT max({FIRST_CHANGED.format(which="held.tier")})
                FROM jsonb_array_elements_text(c.standing::jsonb -> 1) AS held(tier)),
            c.protected_at)
        ELSE c.protected_at END
"""  # noqa: S608  # of this program's own words
"""Since when a configuration has no good backup, of a row `c` with its own columns, those of its runs, and `changed`.

A recovery point of another source, or of which all copies lie where the configuration looks no more, is none: since the
first such change nothing was ever backed up, however often it was changed again. One without any: since its creation.
"""


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """What is judged of a configuration's runs.

    `ended`: how the latest that has ended did: `never`, `failed`, `degraded` or `completed`. `held`: the tiers that
    hold the latest recovery point, None where there is none. `is_verified`: each of them was read back. `proven`: the
    tiers that have ever taken an upload. `behind`: those that have failed since their last one. `gone`: those of them
    of which nobody can say at present that they have what they took. `unlocked`: those whose lock is longer since.
    """

    ended: str
    held: tuple[Tier, ...] | None = None
    is_verified: bool = False
    proven: tuple[Tier, ...] = ()
    behind: tuple[Tier, ...] = ()
    gone: tuple[Tier, ...] = ()
    unlocked: tuple[Tier, ...] = ()


_STILL_THERE = frozenset(
    code.code for code in (errors.TIER_FULL, errors.TIER_READ_ONLY, errors.TIER_BEHIND, errors.LOCK_NOT_PROVEN)
)
"""Codes of failures after which a tier has what it took before."""


NEVER_RUN = Standing("never")
_STANDING = msgspec.json.Decoder(Standing)


def standing_in(view: RunsView) -> Standing:
    """How a configuration stands by its runs."""
    point = view.recovery_point
    return Standing(
        _ended(view),
        None if point is None else tuple(tier for tier in Tier if tier in point.tiers),
        point is not None and set(point.tiers) <= set(point.verified),
        tuple(tier for tier in Tier if tier in view.tiers and view.tiers[tier].uploaded_at is not None),
        tuple(tier for tier in Tier if tier in view.tiers and view.tiers[tier].is_behind),
        tuple(tier for tier in Tier if tier in view.tiers and _is_gone(view.tiers[tier])),
    )


def columns_of(view: RunsView) -> dict[str, object]:
    """The columns `standing`, `protected_at`, then `uploaded_…` of each tier, then `failure_…` of each, by name."""
    point = view.recovery_point
    records = [(tier, view.tiers.get(tier)) for tier in Tier]
    return {
        "standing": msgspec.json.encode(standing_in(view)).decode(),
        "protected_at": None if point is None else point.completed_at,
        "made_version": None if point is None else point.version,
        **{f"uploaded_{tier.name.lower()}": None if r is None else r.uploaded_at for tier, r in records},
        **{f"failure_{tier.name.lower()}": None if r is None else _failure(r) for tier, r in records},
    }


def lock_of(tier: Tier) -> str:
    """The name of a tier's lock among what has changed."""
    return f"{tier.value} lock"


def counted(standing: Standing, changed: Collection[str]) -> Standing:
    """What of it counts once a configuration has changed these things since the recovery point was made."""
    if not changed:
        return standing
    has_failed = standing.ended == "failed"
    if SOURCE in changed:
        return msgspec.structs.replace(
            standing, ended="failed" if has_failed else "never", held=None, is_verified=False, proven=()
        )
    return msgspec.structs.replace(
        standing,
        ended="degraded" if standing.ended == "completed" else standing.ended,
        held=None if standing.held is None else tuple(tier for tier in standing.held if tier not in changed),
        proven=tuple(tier for tier in standing.proven if tier not in changed),
        unlocked=tuple(tier for tier in Tier if lock_of(tier) in changed),
    )


def _failure(record: TierRecord) -> str | None:
    return None if record.failed_at is None else f"{text_of(record.failed_at)} {record.code or ''}"


def standing_of(stored: str | None) -> Standing:
    """What a row says; of a configuration without runs there is no row."""
    return NEVER_RUN if stored is None else read_json(stored, _STANDING)


def text_of(time: datetime) -> str:
    """A time as text that sorts like it."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _is_gone(record: TierRecord) -> bool:
    return record.is_behind and record.code not in _STILL_THERE


def _ended(view: RunsView) -> str:
    if view.ended is None:
        return "never"
    if view.ended.state != "completed":
        return "failed"
    return "degraded" if view.ended.degraded else "completed"
