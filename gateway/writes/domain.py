"""What the gateway itself records: requests of authenticated people, and denials. Pure."""

from typing import ClassVar

from chassis.domain import Aggregate
from contracts.configuration import ConfigurationBody
from contracts.event import Event
from contracts.gateway_events import AccessDenied, BackupRequested, ConfigurationSubmitted, Evidence


class WriteRequest(Aggregate):
    """One write that somebody asked for. It is made once and never changes: the owner's fact answers it."""

    KIND: ClassVar[str] = "gateway.request"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.resource_id = ""

    def submit_configuration(self, configuration_id: str, body: ConfigurationBody, evidence: Evidence) -> None:
        """An owner asks for a new configuration."""
        self.record(
            ConfigurationSubmitted(request_id=self.id, configuration_id=configuration_id, body=body, evidence=evidence)
        )

    def request_backup(
        self, execution_id: str, configuration_id: str, configuration_version: int, evidence: Evidence
    ) -> None:
        """An operator asks for a backup, of the configuration as it was seen."""
        self.record(
            BackupRequested(
                request_id=self.id,
                execution_id=execution_id,
                configuration_id=configuration_id,
                configuration_version=configuration_version,
                evidence=evidence,
            )
        )

    def apply(self, event: Event) -> None:
        """Remember what the request is about."""
        match event:
            case ConfigurationSubmitted(configuration_id=resource_id) | BackupRequested(execution_id=resource_id):
                self.resource_id = resource_id


class Denial(Aggregate):
    """Something that an authenticated person was denied; one aggregate each, so that nobody waits for another."""

    KIND: ClassVar[str] = "gateway.denial"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.repeats = 0

    def note(self, code: str, route: str, method: str, repeats: int) -> None:
        """Take a denial down; `repeats` says how many there were."""
        self.record(AccessDenied(code=code, route=route, method=method, repeats=repeats))

    def apply(self, event: Event) -> None:
        """Count."""
        match event:
            case AccessDenied(repeats=repeats):
                self.repeats += repeats
