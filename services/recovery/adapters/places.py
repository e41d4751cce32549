"""Where a recovery point may lie, as places of the vault, and what is told where none of them gives it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from chassis.locations import Locations
from repository.errors import RepositoryError
from repository.opened.open_tier import OpenTier
from services.recovery.adapters.tiers_told import why_not
from services.recovery.kept import KeptPlace
from vault.places import Place
from vault.reading import reading_place
from vault.translation import translated


def places_of(
    locations: Locations, keys_dir: Path, organisation: str, kept: Sequence[KeptPlace]
) -> Iterator[tuple[str, Place]]:
    """Each location once, the newest first; under the tier's name, or where another has that, the location's.

    Raises LOCATIONS_UNREADABLE.
    """
    seen: set[str] = set()
    names: set[str] = set()
    for each in kept:
        if each.location in seen:
            continue
        name = each.tier if each.tier not in names else f"the one at {each.location}"
        seen.add(each.location)
        names.add(name)
        yield name, reading_place(locations, keys_dir, organisation, name, each.location)


@contextmanager
def told(places: Mapping[str, Place], tiers: Sequence[OpenTier] = ()) -> Iterator[None]:
    """As `translated`; what keeps the tiers from giving the point is told of each by its name."""
    with translated(places):
        try:
            yield
        except RepositoryError as error:
            if (why := why_not(error, places, tiers)) is None:
                raise
            raise why from error
