"""What the gateway records: requests of authenticated people, and denials. Owner: gateway."""

from typing import Annotated

from msgspec import Meta

from contracts.configuration import ConfigurationBody
from contracts.event import Event, Value, pinned


class Evidence(Value, frozen=True, kw_only=True):
    """How the actor had proved who they are: assurance level, factors and the token's id, never the token."""

    assurance: str
    factors: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    token_id: str | None = None


@pinned("gateway.configuration-submitted.v1")
class ConfigurationSubmitted(Event, frozen=True, kw_only=True):
    """An owner asked for a new configuration. The configuration's id is allocated with the request."""

    request_id: str
    configuration_id: str
    body: ConfigurationBody
    evidence: Evidence


@pinned("gateway.backup-requested.v1")
class BackupRequested(Event, frozen=True, kw_only=True):
    """An operator asked for an immediate backup of a configuration, as it was at `configuration_version`."""

    request_id: str
    execution_id: str
    configuration_id: str
    configuration_version: int
    evidence: Evidence


@pinned("gateway.access-denied.v1")
class AccessDenied(Event, frozen=True, kw_only=True):
    """An authenticated actor was denied something. Repeats within a minute are counted, not copied."""

    code: str
    route: str
    method: str
    repeats: Annotated[int, Meta(ge=1)] = 1
