"""Submitted recoveries: every wrong field that can be told before anything is recorded, at once."""

import os
import re
from collections.abc import Iterator

from chassis.locations import Locations
from contracts import errors
from contracts.configuration_rules import path_objection
from contracts.errors import PlatformError
from gateway.groups.recovery.resources import NewRecovery
from gateway.http.problems import error_of_code
from gateway.http.texts import unreadable_character

WILD_MAX = 4
"""Wildcards in a pattern: each more multiplies what a long name costs that does not match."""
_WILD = re.compile(r"\*+")


def path_as_kept(path: str) -> str:
    """A path below a location in one spelling; empty for the location itself."""
    normal = os.path.normpath(path) if path else ""
    return "" if normal == "." else normal


async def wrong_fields(data: NewRecovery, locations: Locations, organisation: str) -> list[PlatformError]:
    """All that speaks against a recovery by its words, the form's first field first. Raises LOCATIONS_UNREADABLE."""
    wrong: list[PlatformError] = []
    if await locations.not_open([(data.target_location, "target")], organisation):
        message = "no target location of this name is open to the organisation"
        hint = "GET /api/backup/locations tells those with the role target; an operator registers one."
        wrong.append(PlatformError(errors.UNKNOWN_LOCATION, message, field="targetLocation", hint=hint))
    wrong += _unreadable("targetPath", data.target_path)
    if (objection := path_objection(data.target_path, "targetPath")) is not None:
        wrong.append(error_of_code(objection.code.code, field=objection.field, hint=objection.hint))
    for place, pattern in enumerate(data.scope):
        wrong += _wrong_pattern(f"scope[{place}]", pattern)
    return wrong


def _wrong_pattern(field: str, pattern: str) -> Iterator[PlatformError]:
    yield from _unreadable(field, pattern)
    if not pattern.strip("/. "):
        hint = "Name a file or folder, or leave the scope out for all of it."
        yield PlatformError(errors.INVALID_FIELD, "the pattern names nothing", field=field, hint=hint)
    elif ".." in pattern.split("/"):
        hint = "Paths are below the root of what was backed up: leave out the `..`."
        yield PlatformError(errors.INVALID_FIELD, "the pattern leads out of the recovery point", field=field, hint=hint)
    elif len(_WILD.findall(pattern)) > WILD_MAX:
        hint = f"Write at most {WILD_MAX} of * and ** in one pattern; ask for the same by several simpler ones."
        yield PlatformError(errors.INVALID_FIELD, "the pattern has too many wildcards", field=field, hint=hint)


def _unreadable(field: str, text: str) -> Iterator[PlatformError]:
    if (character := unreadable_character(text)) is not None:
        yield PlatformError(
            errors.INVALID_FIELD,
            f"the text has a character that nobody can read: {character}",
            field=field,
            hint="Take the character out: what is shown has to be what was written.",
        )
