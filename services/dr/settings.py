"""Settings of the disaster recovery service: those that every service has."""

from chassis.settings import ServiceSettings


class DrSettings(ServiceSettings, frozen=True, kw_only=True):
    """The disaster recovery service."""
