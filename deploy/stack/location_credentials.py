"""The credentials that an operator has given to places, as `status` tells of them: half-written or gone, by place.

They stop no start: one tenant's would stop all others. What needs them fails, or waits, and says so by itself, but
perhaps only at night.
"""

from dataclasses import dataclass, field

from chassis.key_errors import mark_of
from chassis.location import Location
from contracts.errors import PlatformError
from deploy.stack.layout import Layout
from deploy.stack.locations import OWN, registered

NAMED_MAX = 5


@dataclass
class LocationCredentials:
    """Looks at those of one home; at one that has not changed once only."""

    layout: Layout
    _seen: dict[str, tuple[tuple[int, ...], str | None]] = field(default_factory=dict)

    def trouble(self) -> str | None:
        """What cannot be used, and what to do; None where all can, or the list of places cannot be read itself."""
        try:
            places = [each for each in registered(self.layout) if each.credentials is not None]
        except PlatformError:
            return None  # It is told as what it is.
        wrong = []
        for place in places:
            mark = mark_of(f"{self.layout.credentials}/{place.credentials}.json")
            known = self._seen.get(f"{place.name} {place.credentials}")
            if known is None or known[0] != mark or not mark:
                known = mark, self._fault(place)
                self._seen[f"{place.name} {place.credentials}"] = known
            if known[1] is not None:
                wrong.append((place.name, known[1]))
        if not wrong:
            return None
        named = ", ".join(f"{name} ({what})" for name, what in wrong[:NAMED_MAX])
        more = f" and {len(wrong) - NAMED_MAX} more" if len(wrong) > NAMED_MAX else ""
        way = (
            "wedsync-backup down, then up, writes the platform's own anew"
            if all(name in OWN for name, _ in wrong)
            else f"put the copy back, or give it anew: wedsync-backup location rotate {wrong[0][0]} --credentials WHERE"
        )
        return f"the credentials of places cannot be used: {named}{more}. Who needs them waits, all else goes on; {way}"

    def _fault(self, place: Location) -> str | None:
        # The supervisor starts without what talks to tiers and databases.
        from repository.errors import RepositoryError
        from repository.tiers.s3.credentials import credentials_from_file
        from sources.postgres.database import secret_of

        path = self.layout.credentials / f"{place.credentials}.json"
        try:
            (secret_of(path) if place.kind == "postgres" else credentials_from_file(path))()
        except RepositoryError as error:
            return str(error)  # It names what is wrong, never what is in it.
        return None
