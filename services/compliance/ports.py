"""What the inside of the compliance service needs of the outside."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from chassis.handling import Handling
from contracts.event import Event
from services.compliance.controls.facts import Facts
from services.compliance.domain import Attestation, ComplianceAudit


class AuditLogReading(Protocol):
    """The audit log, to be looked things up in."""

    async def has(self, organisation: str, event_id: str, kind: type[Event]) -> bool:
        """Whether an event is in an organisation's log, or gets there within a moment. Raises UNAVAILABLE."""
        ...

    async def facts(self, organisation: str, at: datetime, kinds: Sequence[type[Event]], *, checks_log: bool) -> Facts:
        """What had happened up to an instant, of some kinds. `checks_log`: every entry is read and compared with what
        was signed. Raises UNAVAILABLE.
        """
        ...

    async def signed(self, organisation: str) -> tuple[int, str | None]:
        """How many entries an organisation's log has, and the root of them as signed (base64). Raises UNAVAILABLE."""
        ...


class Audits(Protocol):
    """The record of audits."""

    async def record_answer(self, thing: ComplianceAudit, handling: Handling) -> None:
        """Record an answer and the message as handled: both or none. Raises CONCURRENT_CHANGE."""
        ...


class AttestationRecord(Protocol):
    """The record of attestations."""

    async def record_answer(self, thing: Attestation, handling: Handling) -> None:
        """Record an answer and the message as handled: both or none. Raises CONCURRENT_CHANGE."""
        ...
