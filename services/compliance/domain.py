"""An entry of the audit log, an event as it was published, and the aggregates: audits and attestations."""

from datetime import datetime
from typing import ClassVar

import msgspec

from chassis.domain import Aggregate
from contracts.event import Event

UNREADABLE = "unreadable"
"""The type of what is no event: it is in the platform's log, byte for byte, and in no organisation's."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way into the log. `organisation`: empty where nobody can tell whose it is."""

    service: str
    log: str
    position: int
    organisation: str
    event_id: str
    type: str
    happened_at: datetime
    actor: str
    access: str | None
    leaf: bytes
    body: bytes


class ComplianceAudit(Aggregate):
    """One audit, or the refusal to make it."""

    KIND: ClassVar[str] = "compliance.compliance-audit"

    def apply(self, event: Event) -> None:
        """An audit has no state: it is what it found."""


class Attestation(Aggregate):
    """Somebody's word, or the refusal to take it."""

    KIND: ClassVar[str] = "compliance.attestation"

    def apply(self, event: Event) -> None:
        """It has no state: it is what was said."""
