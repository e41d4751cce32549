"""Submitted configurations: every wrong field that can be told before anything is recorded, at once."""

import re
from collections.abc import Iterator

import msgspec

from chassis.calendar.rules import schedule_objections, wedding_objections
from chassis.clock import SystemClock
from chassis.locations import Locations
from contracts import errors
from contracts.configuration_rules import Find, names_in, objections, path_objection
from contracts.errors import PlatformError
from contracts.refusal import Objection
from gateway.groups.configurations.resources import NewConfiguration
from gateway.http.problems import error_of_code
from gateway.http.texts import kept, unreadable, wrong_texts
from repository.errors import RepositoryError
from sources.patterns import Patterns

WILD_MAX = 4
"""Wildcards in a pattern: each more multiplies what a long name costs that does not match."""
_WILD = re.compile(r"\*+")


def as_kept(data: NewConfiguration) -> NewConfiguration:
    """A configuration with its texts as they are kept."""
    purpose = None if data.purpose is None else kept(data.purpose)
    tags = tuple(kept(tag) for tag in data.tags)
    subject = None if data.data_subject is None else kept(data.data_subject)
    return msgspec.structs.replace(data, name=kept(data.name), tags=tags, purpose=purpose, data_subject=subject)


async def wrong_fields(data: NewConfiguration, locations: Locations, organisation: str) -> list[PlatformError]:
    """All that speaks against a configuration, the form's first field first. Raises LOCATIONS_UNREADABLE."""
    wrong = wrong_by_itself(data)
    # A path that is wrong by itself is looked for nowhere.
    path = "" if any(each.field == "sourceIdentifier" for each in wrong) else data.source_identifier
    names = names_in(data.source_location, data.storage_destinations)
    known = await locations.known(names, organisation, source=(data.source_location, path))
    return [*wrong, *wrong_with(data, known.get)]


def wrong_by_itself(data: NewConfiguration) -> list[PlatformError]:
    """What of it is wrong whatever there is."""
    return list(_wrong_texts(data))


def wrong_with(data: NewConfiguration, find: Find) -> list[PlatformError]:
    """What of it is wrong with the locations that there are, and at this time."""
    return [*_against_rules(data, find), *_against_schedule(data)]


def _wrong_texts(data: NewConfiguration) -> Iterator[PlatformError]:
    yield from wrong_texts(("name", data.name), *((f"tags[{place}]", tag) for place, tag in enumerate(data.tags)))
    if data.purpose is not None:
        yield from wrong_texts(("purpose", data.purpose))
    if data.data_subject is not None:
        yield from wrong_texts(("dataSubject", data.data_subject))
    for place, category in enumerate(data.data_categories):
        # The schema's `$` lets a line break through at the end.
        yield from unreadable(f"dataCategories[{place}]", category)
    for place, pattern in enumerate(data.exclude):
        yield from _wrong_pattern(f"exclude[{place}]", pattern)
    path = data.source_identifier
    yield from unreadable("sourceIdentifier", path)
    if (objection := path_objection(path, "sourceIdentifier")) is not None:
        yield _error(objection)


def _wrong_pattern(field: str, pattern: str) -> Iterator[PlatformError]:
    """What the worker would refuse, told now; and what would cost it more than a look at every name of the source."""
    yield from unreadable(field, pattern)
    if len(_WILD.findall(pattern)) > WILD_MAX:
        hint = f"Write at most {WILD_MAX} of * and ** in one pattern; leave out the same by several simpler ones."
        yield PlatformError(errors.INVALID_FIELD, "the pattern has too many wildcards", field=field, hint=hint)
        return
    try:
        Patterns([pattern.encode("utf-8", "surrogateescape")])
    except RepositoryError as error:
        yield PlatformError(errors.INVALID_FIELD, error.message, field=field, hint=error.hint)


def _against_rules(data: NewConfiguration, find: Find) -> Iterator[PlatformError]:
    every = objections(
        source_type=data.source_type,
        source_location=data.source_location,
        storage_destinations=data.storage_destinations,
        leaves_out=bool(data.exclude) or data.exclude_caches,
        find=find,
    )
    return map(_error, every)


def _against_schedule(data: NewConfiguration) -> Iterator[PlatformError]:
    now = SystemClock().now()
    against_wedding = wedding_objections(
        data.wedding_date,
        now,
        is_critical=data.is_wedding_critical,
        is_given=data.wedding_date is not None,
        is_scheduled=data.schedule is not None,
    )
    yield from map(_error, against_wedding)
    if data.schedule is not None:
        yield from map(_error, schedule_objections(data.schedule, now))


def _error(objection: Objection) -> PlatformError:
    return error_of_code(objection.code.code, field=objection.field, hint=objection.hint)
