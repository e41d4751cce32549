"""Locations as the API gives them."""

from gateway.http.resources import Resource


class LocationView(Resource, frozen=True, kw_only=True):
    """A registered location that the organisation may use, by its name; never where it is.

    `storageClasses`: what a destination there may name as its `storageClass`.
    """

    name: str
    kind: str
    roles: list[str]
    region: str | None
    lock: bool
    storage_classes: list[str]
