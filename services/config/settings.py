"""Settings of the config service: those that every service has, and how people are told."""

from typing import Annotated

from msgspec import Meta

from chassis.settings import ServiceSettings


class ConfigSettings(ServiceSettings, frozen=True, kw_only=True):
    """The config service."""

    notify_private: Annotated[
        bool,
        Meta(
            description="Whether notifications may be sent to private and loopback addresses, and by http. Tenants "
            "name the receivers: they would reach what only this machine should."
        ),
    ] = False
    notify_overdue_seconds: Annotated[
        float, Meta(ge=10, le=7 * 86400, description="A scheduled run that has not ended after so long is told of.")
    ] = 7200.0
