"""What is remembered of where an organisation's repository was begun, and how far its logs went."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from repository.opened.seen import SeenTier


class BegunTier(NamedTuple):
    """What is remembered of a tier. `repository_id`: in hex, empty where it is not known; `seen`: its latest head."""

    repository_id: str
    seen: SeenTier | None = None


class Begun(Protocol):
    """What was begun where (`BegunRepositories`)."""

    def of(self, organisation: str) -> Mapping[str, BegunTier]:
        """What was begun, by location, the oldest first."""
        ...

    def intended(self, organisation: str) -> Sequence[str]:
        """Locations at which one was about to be begun and was not noted since."""
        ...

    def intend(self, organisation: str, locations: Sequence[str]) -> None:
        """Note where one is about to be begun, before it is."""
        ...

    def begins_anew(self, organisation: str) -> bool:
        """Whether somebody has said that nothing is left of what the organisation had."""
        ...

    def others_at(self, location: str, organisation: str) -> list[str]:
        """Some other organisations that have a repository at the location."""
        ...

    def remember(self, organisation: str, location: str, repository_id: str, seen: SeenTier | None) -> None:
        """Note a repository that was found or begun, and what was seen of the tier: a head is only raised."""
        ...
