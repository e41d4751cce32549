"""`repo repair --accept-history`: what counts from now on, and what is given up with it."""

from typing import NamedTuple

from cli.output import say
from repository.errors import Replayed
from repository.opened.repository import Repository
from repository.upkeep.accepted_history import accept_history


class Accepted(NamedTuple):
    """A history that counts now. `shown`: its last entry then; `seen`: the last one that was seen of the other one,
    0 where nothing is given up.
    """

    tier: str
    shown: int
    seen: int

    def say(self) -> None:
        """The same for people."""
        say(f"{self.tier}: what it shows counts from now on, up to log entry {self.shown:,}")
        if self.seen > self.shown:
            # Since when the two differ nobody knows: of the other one its last entry alone is remembered.
            lost = f"log entries {self.shown + 1:,} to {self.seen:,}, which were seen,"
            also = "and those before them that this history has otherwise, if they parted earlier"
            said = "what they said is lost, a snapshot perhaps, but for what is named below"
            say(f"{self.tier}: {lost} GIVEN UP, {also}: {said}")
        elif self.seen:
            lost = f"the history that was seen up to log entry {self.seen:,}"
            say(f"{self.tier}: {lost} GIVEN UP, where this one differs: what it said is lost, a snapshot perhaps")


def accept(repository: Repository, name: str) -> Accepted | None:
    """Take the tier's present history for good; None where there is nothing to accept. Raises as `accept_history`."""
    tier = repository.tier(name)
    why, shown = tier.error, tier.log.state.head.number
    if not accept_history(repository, tier):
        return None
    seen = why.context.get("seen") if isinstance(why, Replayed) else None
    return Accepted(name, shown, seen if isinstance(seen, int) else 0)
