"""What the gateway records of what is asked for. Pure."""

from typing import ClassVar

from chassis.domain import Aggregate
from contracts.event import Event


class WriteRequest(Aggregate):
    """One write that somebody asked for. It is made once and never changes: the owner's fact answers it."""

    KIND: ClassVar[str] = "gateway.request"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.asked_for = ""

    def ask(self, event: Event) -> None:
        """Take down what is asked for: the request event of a declared write."""
        self.record(event)

    def apply(self, event: Event) -> None:
        """Remember what the request asks for."""
        self.asked_for = event.NAME
