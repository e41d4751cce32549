"""What a configuration says for the planner: its policy, the zone of its days, and its wedding."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, tzinfo

from chassis.calendar.plan import UnknownZone, zone_named
from chassis.retention.points import Point, Source
from contracts import errors
from contracts.configuration import ConfigurationBody
from contracts.errors import PlatformError
from contracts.retention import RetentionRules
from contracts.sealed import Sealed


def source_of(
    configuration_id: str,
    body: ConfigurationBody,
    points: Sequence[Point],
    rules: RetentionRules | None,
    wedding: tuple[bool, date | None],
) -> Source:
    """A configuration with its points. `wedding`: as `wedding_of` says."""
    is_known, day = wedding
    return Source(
        id=configuration_id,
        points=points,
        rules=rules,
        zone=zone_of(body),
        wedding=day,
        is_wedding_unknown=not is_known,
    )


def wedding_of(body: ConfigurationBody, opened: Callable[[Sealed], str]) -> tuple[bool, date | None]:
    """Whether it is known when the wedding of a critical configuration is, and when. One that was erased is none.

    `opened`: opens the sealed date, and raises why it cannot.
    """
    if not body.is_wedding_critical or body.wedding_date is None:
        return True, None
    try:
        return True, date.fromisoformat(opened(body.wedding_date))
    except PlatformError as error:
        return error.code is errors.SEALING_KEY_MISSING, None


def zone_of(body: ConfigurationBody) -> tzinfo:
    """In which its days begin: that of its schedule, else UTC."""
    if body.schedule is None:
        return UTC
    try:
        return zone_named(body.schedule.time_zone)
    except UnknownZone:
        return UTC
