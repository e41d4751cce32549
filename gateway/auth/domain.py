"""What the gateway records of those whom it denies something. Pure."""

from typing import ClassVar

from chassis.domain import Aggregate
from contracts.event import Event
from contracts.gateway_events import AccessDenied, Evidence


class Denial(Aggregate):
    """Something that an authenticated person was denied; one aggregate each, so that nobody waits for another."""

    KIND: ClassVar[str] = "gateway.denial"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.repeats = 0

    def note(self, code: str, route: str, method: str, repeats: int, evidence: Evidence | None = None) -> None:
        """Take a denial down; `repeats` says how many there were."""
        self.record(AccessDenied(code=code, route=route, method=method, repeats=repeats, evidence=evidence))

    def apply(self, event: Event) -> None:
        """Count."""
        match event:
            case AccessDenied(repeats=repeats):
                self.repeats += repeats
