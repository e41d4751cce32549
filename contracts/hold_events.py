"""What the executor announces about holds on recovery points. Owner: executor."""

from typing import Annotated

from msgspec import Meta

from contracts.event import Event, pinned
from contracts.holds import HoldBody
from contracts.refusal import Refusal


class HoldFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a hold that was placed."""

    hold_id: str


@pinned("executor.hold-placed.v1")
class HoldPlaced(HoldFact, frozen=True, kw_only=True):
    """From now on no cleanup lets go what the hold keeps.

    `tagged`: the configurations that have one of its tags, if it is of tags. `kept`: how many points it keeps now.
    `too_late`: how many of those a cleanup had decided to let go before, which may be gone for that, and in
    `too_late_points` the first thousand of them.
    """

    request_id: str
    body: HoldBody
    tagged: tuple[str, ...] = ()
    kept: Annotated[int, Meta(ge=0)] = 0
    too_late: Annotated[int, Meta(ge=0)] = 0
    too_late_points: tuple[str, ...] = ()


@pinned("executor.hold-placement-refused.v1")
class HoldPlacementRefused(Refusal, frozen=True, kw_only=True):
    """A hold was not placed: it keeps nothing."""

    hold_id: str


@pinned("executor.hold-release-awaited.v1")
class HoldReleaseAwaited(HoldFact, frozen=True, kw_only=True):
    """Somebody asked for the hold to be released: it goes on until a second person approves, by `approval_id`."""

    request_id: str
    approval_id: str


@pinned("executor.hold-release-refused.v1")
class HoldReleaseRefused(Refusal, frozen=True, kw_only=True):
    """A hold is not released: it goes on, or is over, or there is none of this id."""

    hold_id: str


@pinned("executor.hold-released.v1")
class HoldReleased(HoldFact, frozen=True, kw_only=True):
    """The hold is over: what it kept is judged by its policies again. Two people have said so, in `approval_id`."""

    approval_id: str
