"""Other folders, beside one that is to be read or written: each may lie on a disk of its own that does not answer.

What lies in the one or around it has to be known before anything is done. A disk that hangs is no reason not to do it
where no mount leads from the one to the other: it may be the very disk whose loss is to be made good.
"""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from chassis.disk import Disk, answers, says_nothing
from chassis.locations import Locations
from chassis.own_folders import may_lead_to
from vault.stores import folder_of

_log = logging.getLogger(__name__)

T = TypeVar("T")

ANSWER_SECONDS = 3.0
"""How long all of them together are waited for."""


class Neighbour(NamedTuple):
    """A folder of a location. `role`: as which it matters here. `is_open`: whether who asks may know of it."""

    folder: bytes
    name: str
    role: str
    is_open: bool = True

    @property
    def shown(self) -> str:
        """What it is called to who asks."""
        return f"the {self.role} {self.name}" if self.is_open else f"a {self.role} of another organisation"


class NeighbourSilent(OSError):
    """Whether a folder has to do with a neighbour cannot be told: that one's disk does not answer."""

    def __init__(self, neighbour: Neighbour) -> None:
        super().__init__()
        self.neighbour = neighbour


def tiers_beside(locations: Locations, organisation: str) -> list[Neighbour]:
    """The folders of all tiers, whoever may use them: each holds what is other organisations' as well.

    Raises LOCATIONS_UNREADABLE, also where it is not known where one lies.
    """
    tiers = [
        Neighbour(folder_of(each), each.name, "tier", each.is_open_to(organisation))
        for each in locations.tiers()
        if each.kind == "directory"
    ]
    faulty = [
        Neighbour(os.fsencode(folder), "of a faulty entry in the registry", "tier")
        for folder in locations.faulty_tiers()
    ]
    return tiers + faulty


def answering(
    beside: bytes, neighbours: Sequence[Neighbour], disk: Callable[[bytes], Disk], question: Callable[[bytes], T]
) -> list[tuple[Neighbour, T]]:
    """What each neighbour answers, without those whose disk does not answer and to which nothing leads, and those gone.

    All are asked at once. `disk`: of a folder, one for all who ask it. Raises `NeighbourSilent` where something may
    lead to one: it would lie in the folder, or around it, as soon as its disk answers.
    """
    asked = [(disk(each.folder), partial(question, each.folder)) for each in neighbours]
    found: list[tuple[Neighbour, T]] = []
    for each, answer in zip(neighbours, answers(asked, seconds=ANSWER_SECONDS), strict=True):
        if not isinstance(answer, OSError):
            found.append((each, answer))
        elif says_nothing(answer):
            _log.warning("a folder does not answer", extra={"location": each.name, "role": each.role})
            if may_lead_to(beside, each.folder):
                raise NeighbourSilent(each) from answer
    return found
