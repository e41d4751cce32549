"""The rules of configurations: given what is registered, when one is submitted, then this objection or none."""

import pytest

from contracts import errors
from contracts.configuration import ConfigurationBody, Destination, StorageDestinations
from services.config.policies import Objection, when_configuration_submitted
from services.config.ports import KnownLocation
from tests.support.configurations import body, destinations

REGISTERED = {
    location.name: location
    for location in (
        KnownLocation(name="photos", kind="directory", roles=("source",)),
        KnownLocation(name="bucket", kind="s3", roles=("source",)),
        KnownLocation(name="local", kind="directory", roles=("tier",)),
        KnownLocation(name="both", kind="directory", roles=("source", "tier")),
        KnownLocation(name="cloud", kind="s3", roles=("tier",)),
        KnownLocation(name="offsite", kind="s3", roles=("tier",), lock=True),
    )
}


def _objection(submitted: ConfigurationBody) -> Objection | None:
    return when_configuration_submitted(submitted, REGISTERED.get)


@pytest.mark.parametrize(
    "submitted",
    [
        body(),
        body(source_location="both"),
        body(storage_destinations=StorageDestinations(cloud_secondary=Destination(location="cloud"))),
        body(storage_destinations=destinations(cloud_primary=Destination(location="both"))),
    ],
    ids=["two tiers", "source that is a tier, too", "cloud alone", "directory as a cloud tier"],
)
def test_nothing_speaks_against_a_configuration_whose_locations_fit(submitted: ConfigurationBody) -> None:
    """A configuration with a readable source and at least one tier is taken."""
    assert _objection(submitted) is None


@pytest.mark.parametrize(
    ("submitted", "code", "field"),
    [
        (body(storage_destinations=StorageDestinations()), errors.NO_DESTINATION, "storageDestinations"),
        (body(source_location="nowhere"), errors.UNKNOWN_LOCATION, "sourceLocation"),
        (body(source_location="local"), errors.LOCATION_KIND_MISMATCH, "sourceLocation"),
        (body(source_location="bucket"), errors.LOCATION_KIND_MISMATCH, "sourceLocation"),
        (
            body(storage_destinations=destinations(cloud_primary=Destination(location="nowhere"))),
            errors.UNKNOWN_LOCATION,
            "storageDestinations.cloudPrimary.location",
        ),
        (
            body(storage_destinations=destinations(cloud_secondary=Destination(location="photos"))),
            errors.LOCATION_KIND_MISMATCH,
            "storageDestinations.cloudSecondary.location",
        ),
        (
            body(storage_destinations=destinations(local=Destination(location="cloud"))),
            errors.LOCATION_KIND_MISMATCH,
            "storageDestinations.local.location",
        ),
        (
            body(storage_destinations=destinations(cloud_primary=Destination(location="offsite"))),
            errors.DESTINATION_TWICE,
            "storageDestinations.offsite.location",
        ),
        (
            body(storage_destinations=destinations(offsite=Destination(location="cloud", lock_days=1))),
            errors.LOCK_NOT_SUPPORTED,
            "storageDestinations.offsite.lockDays",
        ),
        (
            body(
                storage_destinations=destinations(
                    cloud_primary=Destination(location="cloud", storage_class="X&endpoint=http://169.254.169.254")
                )
            ),
            errors.INVALID_FIELD,
            "storageDestinations.cloudPrimary.storageClass",
        ),
    ],
)
def test_objection_names_the_rule_and_the_field(
    submitted: ConfigurationBody, code: errors.ErrorCode, field: str
) -> None:
    """Whoever submitted it learns which field to correct, by the name that it has in the API."""
    assert _objection(submitted) == Objection(code, field)


def test_first_objection_is_the_one_that_is_told() -> None:
    """Of several faults the first in the order of the form is named."""
    submitted = body(
        source_location="nowhere", storage_destinations=destinations(local=Destination(location="nowhere"))
    )
    assert _objection(submitted) == Objection(errors.UNKNOWN_LOCATION, "sourceLocation")
