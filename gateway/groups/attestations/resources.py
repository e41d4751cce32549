"""Attestations as the API takes and gives them."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.attestations import ABOUT_MAX, AboutName, AttestationKind
from gateway.http.fields import Printable, Timestamp
from gateway.http.resources import Body, Resource


class NewAttestation(Body, frozen=True, kw_only=True):
    """What somebody puts their name to.

    `statement`: what was done and found, and where the papers are; kept encrypted. `about`: what it is about, by ids or
    names of locations, where the kind needs that. `holds`: whether it is as it has to be. `happenedAt`: when a breach
    was found, or data were asked for; when it is recorded without it.
    """

    kind: AttestationKind
    statement: Printable
    about: Annotated[tuple[AboutName, ...], Meta(max_length=ABOUT_MAX)] = ()
    holds: bool = True
    happened_at: Timestamp | None = None


class Attestation(Resource, frozen=True, kw_only=True):
    """What somebody has put their name to. `logSize`, `logRoot`: what the audit log was when they did."""

    id: str
    request_id: str
    kind: AttestationKind
    holds: bool
    about: list[str]
    statement: str | None
    attested_by: str
    recorded_at: Timestamp
    happened_at: Timestamp | None
    log_size: int
    log_root: str | None
    unreadable_fields: list[str] = msgspec.field(default_factory=list)
