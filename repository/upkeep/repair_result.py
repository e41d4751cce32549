"""What a repair says of one tier: what was done, where what was replaced is kept, and what is left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from repository.upkeep.check_report import Finding


class RepairAction(NamedTuple):
    """One object made whole. `source`: a tier's name, or how it was made."""

    object_key: str
    source: str


@dataclass
class RepairResult:
    """What was done on one tier, and the damage that is left.

    `set_aside`: where the bytes are that something was put over, by object key. `given_up`: numbers of log entries
    that were bridged, with whatever snapshot they held. `bad_orphans`: what bears a pack's name, is none that is whole,
    and is in no index: it stays there, and nobody counts on it. `harmed`: snapshots that the tier alone does not give
    back whole. `is_interrupted`: `check_cancelled` ended the work.
    """

    tier: str
    actions: list[RepairAction] = field(default_factory=list)
    unrepaired: list[Finding] = field(default_factory=list)
    set_aside: dict[str, str] = field(default_factory=dict)
    given_up: list[int] = field(default_factory=list)
    bad_orphans: list[str] = field(default_factory=list)
    harmed: list[str] = field(default_factory=list)
    is_interrupted: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether no damage is left of what was known."""
        return not self.unrepaired and not self.is_interrupted
