"""What a cleanup knows, and what it finds that is to be done. Plain values."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from contracts.cleanup_events import GoingPoint, WaitingPoint
from contracts.configuration import ConfigurationBody
from contracts.retention import RetentionRules


class KnownPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery point of the record that is not gone. `is_proven`, `is_catch_up`: as of `chassis.retention.Point`.

    `readers`: recoveries that were accepted and have not ended. `holds`: the ids of those that keep it.
    """

    id: str
    configuration_id: str
    snapshot_id: str
    at: datetime
    is_proven: bool
    is_catch_up: bool = False
    readers: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()


class Knowledge(msgspec.Struct, frozen=True, kw_only=True):
    """What the record has, at one moment. `now`: by the database's clock; `newest`: the newest instant it knows.

    `turn`: what is compared when points are decided to go: a hold that came since has to be looked at.
    `configurations`: of the points, each as it says now; `rules`: by policy. `released_holds`: ids of those over.
    """

    now: datetime
    newest: datetime | None
    points: Sequence[KnownPoint]
    configurations: Mapping[str, ConfigurationBody]
    rules: Mapping[str, RetentionRules]
    turn: int = 0
    released_holds: Collection[str] = ()


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan says over what the tiers have. `gone`: points that some tier's log calls forgotten already.

    `unseen`: points that no tier that answers has: nothing is known against them, and they count for no rule.
    `turn`: of what was known.
    """

    going: Sequence[GoingPoint] = ()
    gone: Sequence[GoingPoint] = ()
    waiting: Sequence[WaitingPoint] = ()
    kept: int = 0
    overdue: int = 0
    unseen: int = 0
    turn: int = 0
