"""Settings of the compliance service: those that every service has."""

from chassis.settings import ServiceSettings


class ComplianceSettings(ServiceSettings, frozen=True, kw_only=True):
    """The compliance service."""
