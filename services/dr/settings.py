"""Settings of the disaster recovery service, beside those that every service has."""

from typing import Annotated

from msgspec import Meta

from chassis.settings import ServiceSettings


class DrSettings(ServiceSettings, frozen=True, kw_only=True):
    """The disaster recovery service."""

    dr_test_locations: Annotated[
        tuple[str, ...],
        Meta(
            examples=["rehearsals"],
            description="Names of locations in which plans are tested, each with the role target, a directory, and one "
            "organisation's alone: of an organisation the first that is its own. The service removes there what a test "
            "has restored, and nothing else. No plan may restore to it.",
        ),
    ] = ()
