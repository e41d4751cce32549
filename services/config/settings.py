"""Settings of the config service: those that every service has."""

from chassis.settings import ServiceSettings


class ConfigSettings(ServiceSettings, frozen=True, kw_only=True):
    """The config service."""
