"""The rules of configurations: given what is registered, when one is submitted, then this objection or none."""

from typing import Any

import msgspec
import pytest

from contracts import errors
from contracts.configuration import ConfigurationBody, Destination, SourceType, StorageDestinations
from contracts.configuration_rules import KnownLocation, Objection, objections, path_objection, taken_away
from contracts.schedule import Frequency, Schedule
from contracts.sealed import Sealed
from services.config.policies import when_configuration_submitted
from tests.support.configurations import body, destinations


def _no_source(field: str) -> Objection:
    return Objection(errors.SOURCE_EXCLUDED, field, errors.SOURCE_EXCLUDED.hint)


REGISTERED = {
    location.name: location
    for location in (
        KnownLocation(name="photos", kind="directory", roles=("source",)),
        KnownLocation(name="bucket", kind="s3", roles=("source",)),
        KnownLocation(name="database", kind="postgres", roles=("source",)),
        KnownLocation(name="local", kind="directory", roles=("tier",)),
        KnownLocation(name="both", kind="directory", roles=("source", "tier")),
        KnownLocation(
            name="own", kind="directory", roles=("source", "tier"), against_source=_no_source("sourceLocation")
        ),
        KnownLocation(
            name="path-to-own", kind="directory", roles=("source",), against_source=_no_source("sourceIdentifier")
        ),
        KnownLocation(name="in-keys", kind="directory", roles=("tier",), is_excluded_tier=True),
        KnownLocation(name="hung", kind="directory", roles=("source", "tier"), answers=False),
        KnownLocation(name="cloud", kind="s3", roles=("tier",)),
        KnownLocation(name="same-cloud", kind="s3", roles=("tier",), place="cloud"),
        KnownLocation(name="own-classes", kind="s3", roles=("tier",), storage_classes=("COLD",)),
        KnownLocation(name="offsite", kind="s3", roles=("tier",), lock=True),
    )
}


def _objection(submitted: ConfigurationBody) -> Objection | None:
    return next(when_configuration_submitted(submitted, REGISTERED.get), None)


@pytest.mark.parametrize(
    "submitted",
    [
        body(),
        body(source_location="both"),
        body(source_location="bucket", source_type=SourceType.S3),
        body(source_location="database", source_type=SourceType.POSTGRES),
        body(storage_destinations=StorageDestinations(cloud_secondary=Destination(location="cloud"))),
        body(storage_destinations=destinations(cloud_primary=Destination(location="both"))),
        body(storage_destinations=destinations(offsite=Destination(location="cloud", storage_class="GLACIER_IR"))),
        body(storage_destinations=destinations(offsite=Destination(location="own-classes", storage_class="COLD"))),
    ],
    ids=[
        *("two tiers", "source that is a tier, too", "bucket", "database", "cloud alone", "directory as a cloud tier"),
        *("class that is read at once", "class of the provider"),
    ],
)
def test_nothing_speaks_against_a_configuration_whose_locations_fit(submitted: ConfigurationBody) -> None:
    """A configuration with a readable source and at least one tier is taken."""
    assert _objection(submitted) is None


@pytest.mark.parametrize(
    ("submitted", "code", "field"),
    [
        (body(storage_destinations=StorageDestinations()), errors.NO_DESTINATION, "storageDestinations"),
        (body(source_location="nowhere"), errors.UNKNOWN_LOCATION, "sourceLocation"),
        (body(source_location="own"), errors.SOURCE_EXCLUDED, "sourceLocation"),
        (body(source_location="path-to-own"), errors.SOURCE_EXCLUDED, "sourceIdentifier"),
        (
            body(storage_destinations=destinations(local=Destination(location="in-keys"))),
            errors.DESTINATION_EXCLUDED,
            "storageDestinations.local.location",
        ),
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
                    cloud_primary=Destination(location="cloud"), cloud_secondary=Destination(location="same-cloud")
                )
            ),
            errors.DESTINATION_TWICE,
            "storageDestinations.cloudSecondary.location",
        ),
        (
            body(
                source_location="both",
                storage_destinations=destinations(cloud_primary=Destination(location="both")),
            ),
            errors.DESTINATION_IS_SOURCE,
            "storageDestinations.cloudPrimary.location",
        ),
    ],
)
def test_objection_names_the_rule_and_the_field(
    submitted: ConfigurationBody, code: errors.ErrorCode, field: str
) -> None:
    """Whoever submitted it learns which field to correct, by the name that it has in the API, and how."""
    objection = _objection(submitted)
    assert objection is not None
    assert (objection.code, objection.field) == (code, field)
    assert objection.hint


@pytest.mark.parametrize(
    ("location", "storage_class"),
    [
        ("cloud", "BOGUS"),
        ("cloud", "x\r\ny"),
        ("cloud", "X&endpoint=http://169.254.169.254"),
        ("cloud", "standard_ia"),
        ("cloud", "DEEP_ARCHIVE"),
        ("own-classes", "STANDARD_IA"),
        ("both", "STANDARD"),
    ],
)
def test_storage_class_that_no_run_could_use_is_refused(location: str, storage_class: str) -> None:
    """A class that the provider has not, that must be thawed, or on a disk: it would fail each run, or do nothing."""
    objection = _objection(
        body(
            storage_destinations=destinations(cloud_primary=Destination(location=location, storage_class=storage_class))
        )
    )
    assert objection is not None
    assert (objection.code, objection.field) == (
        errors.INVALID_FIELD,
        "storageDestinations.cloudPrimary.storageClass",
    )
    assert "leave it out" in objection.hint


def test_every_objection_is_found_in_the_order_of_the_form() -> None:
    """Whoever submits it corrects it once: the gateway and the record tell all of them."""
    submitted = body(
        source_location="nowhere",
        storage_destinations=destinations(
            local=Destination(location="nowhere"),
            offsite=Destination(location="cloud", lock_days=1, storage_class="BOGUS"),
        ),
    )
    every = list(
        objections(
            source_type=submitted.source_type,
            source_location=submitted.source_location,
            storage_destinations=submitted.storage_destinations,
            find=REGISTERED.get,
        )
    )
    assert [objection.field for objection in every] == [
        "sourceLocation",
        "storageDestinations.local.location",
        "storageDestinations.offsite.lockDays",
        "storageDestinations.offsite.storageClass",
    ]
    assert list(when_configuration_submitted(submitted, REGISTERED.get)) == every


@pytest.mark.parametrize(
    "path", ["../../../etc", "..", "/", "/etc/passwd", "a/../../b", "a/..", "../a", "a/../b", "//a", "2027/../../x/"]
)
def test_path_that_leaves_its_location_is_refused(path: str) -> None:
    """A path is relative and only goes down, whatever it would come to."""
    objection = path_objection(path, "sourceIdentifier")
    assert objection is not None
    assert (objection.code, objection.field) == (errors.PATH_OUTSIDE_LOCATION, "sourceIdentifier")


@pytest.mark.parametrize("path", ["", "2027/meyer", "a//b/", "..a/b..", "a/...", "./a", "Zoë & Jürgen", "x" * 255])
def test_path_below_its_location_is_taken(path: str) -> None:
    """Names that only look like a way out are names."""
    assert path_objection(path, "sourceIdentifier") is None


def test_name_that_no_file_system_keeps_is_refused() -> None:
    """A folder of such a name cannot be there when the run looks for it."""
    objection = path_objection("a/" + "ü" * 128, "sourceIdentifier")
    assert objection is not None
    assert objection.code is errors.INVALID_FIELD


def test_location_that_does_not_answer_is_named_after_all_that_is_wrong() -> None:
    """It may answer at the next attempt, so that what can never succeed is told first."""
    submitted = body(
        source_location="hung",
        storage_destinations=StorageDestinations(
            local=Destination(location="hung"), cloud_primary=Destination(location="nowhere")
        ),
    )
    found = list(
        objections(
            source_type=submitted.source_type,
            source_location=submitted.source_location,
            storage_destinations=submitted.storage_destinations,
            find=REGISTERED.get,
        )
    )
    assert [(each.code.code, each.field) for each in found] == [
        ("destination-is-source", "storageDestinations.local.location"),
        ("unknown-location", "storageDestinations.cloudPrimary.location"),
        ("location-unusable", "sourceLocation"),
        ("location-unusable", "storageDestinations.local.location"),
    ]
    assert "location hung does not answer" in found[-1].hint


LOCKED = Destination(location="offsite", lock_days=30)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"name_digest": "another", "tags": ("new",), "is_wedding_critical": True}, []),
        ({"storage_destinations": destinations(cloud_primary=Destination(location="cloud"))}, []),
        ({"storage_destinations": destinations(offsite=msgspec.structs.replace(LOCKED, lock_days=31))}, []),
        ({"source_location": "both"}, ["sourceLocation"]),
        ({"source_identifier": Sealed(key="organisation/studio-a/1", box=b"another")}, ["sourceIdentifier"]),
        ({"storage_destinations": destinations(local=None)}, ["storageDestinations.local"]),
        (
            {"storage_destinations": destinations(offsite=msgspec.structs.replace(LOCKED, location="cloud"))},
            ["storageDestinations.offsite.location"],
        ),
        (
            {"storage_destinations": destinations(local=None, offsite=msgspec.structs.replace(LOCKED, lock_days=29))},
            ["storageDestinations.local", "storageDestinations.offsite.lockDays"],
        ),
        (
            {"exclude": Sealed(key="organisation/studio-a/1", box=b"*.tmp"), "exclude_caches": True},
            ["exclude", "excludeCaches"],
        ),
        (
            {"storage_destinations": destinations(local=Destination(location="local"))},
            ["storageDestinations.local.required"],
        ),
    ],
    ids=[
        *("words alone", "tier more", "longer lock", "source", "path", "tier less", "other place", "two things"),
        *("excludes", "not required any more"),
    ],
)
def test_change_tells_what_it_takes_away(changes: dict[str, Any], fields: list[str]) -> None:
    """What was protected and is not any more, by the fields that say so."""
    assert list(taken_away(body(), body(**changes))) == fields


def test_of_a_bucket_nothing_is_left_out() -> None:
    """A rule that would not be kept is refused, where it is submitted."""
    objection = _objection(body(source_location="bucket", source_type=SourceType.S3, exclude_caches=True))
    assert objection is not None
    assert (objection.code, objection.field) == (errors.INVALID_FIELD, "exclude")
    assert _objection(body(exclude_caches=True)) is None


def test_wedding_that_runs_and_retention_go_by_is_not_moved_away_unseen() -> None:
    """Without a schedule as well: the points around it are kept by it."""
    day, another = (Sealed(key="organisation/studio-a/1", box=box) for box in (b"day", b"another"))
    before = body(schedule=Schedule(frequency=Frequency.DAILY), is_wedding_critical=True, wedding_date=day)
    for changes, fields in (
        ({}, []),
        ({"wedding_date": another}, ["weddingDate"]),
        ({"wedding_date": None, "is_wedding_critical": False}, ["isWeddingCritical", "weddingDate"]),
    ):
        assert list(taken_away(before, msgspec.structs.replace(before, **changes))) == fields
        unplanned = msgspec.structs.replace(before, schedule=None)
        assert list(taken_away(unplanned, msgspec.structs.replace(unplanned, **changes))) == fields
