"""Templates name locations that the organisation has, and tell what it has not."""

import msgspec
import pytest

from contracts.configuration import Tier
from contracts.configuration_rules import KnownLocation, objections
from gateway.groups.configurations.resources import NewConfiguration
from gateway.groups.configurations.templates import TEMPLATES, BuiltIn, Template, fitted


def _known(*names: str, lock: bool = True) -> dict[str, KnownLocation]:
    """Locations by their names: sources are called photos, directories disk, all others are buckets."""
    made = {}
    for name in names:
        is_directory = name.startswith(("photos", "local", "disk"))
        made[name] = KnownLocation(
            name=name,
            kind="directory" if is_directory else "postgres" if name == "database" else "s3",
            roles=("source",) if name.startswith("photos") or name in ("album", "database") else ("tier",),
            lock=lock and not is_directory,
        )
    return made


def _template(name: str) -> BuiltIn:
    return next(each for each in TEMPLATES if each.id == name)


def _places(template: Template) -> dict[str, str]:
    assert template.configuration is not None
    tiers = template.configuration.storage_destinations.by_tier()
    return {tier.value: destination.location for tier, destination in tiers.items()}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda each: each.id)
@pytest.mark.parametrize(
    "names",
    [
        ("local", "cloud-primary", "cloud-secondary", "offsite"),
        ("photos-b", "disk-a", "disk-b", "bucket-a", "bucket-b"),
        ("disk",),
        ("bucket",),
        ("offsite", "local"),
    ],
)
def test_template_can_be_sent_as_it_is(template: BuiltIn, names: tuple[str, ...]) -> None:
    """Whatever locations there are: no rule speaks against it, every field is explained, some tier is required."""
    known = _known("photos", "album", "database", *names)
    told = fitted(template, known)
    body = told.configuration
    assert body is not None
    assert msgspec.json.decode(msgspec.json.encode(body), type=NewConfiguration) == body
    said = (body.source_type, body.source_location, body.storage_destinations)
    assert not list(
        objections(source_type=said[0], source_location=said[1], storage_destinations=said[2], find=known.get)
    )
    assert any(each.required for each in body.storage_destinations.by_tier().values())
    fields = {field.encode_name for field in msgspec.structs.fields(NewConfiguration)}
    assert {each.field.partition(".")[0] for each in told.fields} == fields
    left_out = {wanted.tier.value for wanted in template.tiers} - _places(told).keys()
    assert {f"storageDestinations.{tier}" for tier in left_out} <= {each.field for each in told.unmet}


def test_location_that_is_called_as_a_tier_is_that_tier() -> None:
    """And nothing else takes it, though it would fit."""
    told = fitted(_template("wedding-photos"), _known("photos", "local", "cloud-primary", "another", "offsite"))
    assert _places(told) == {
        "local": "local",
        "cloudPrimary": "cloud-primary",
        "cloudSecondary": "another",
        "offsite": "offsite",
    }
    assert not told.unmet


def test_what_no_location_takes_is_named_and_nothing_is_made_up() -> None:
    """A lock that cannot be had is none in the body; without a source, or without any tier, there is no body."""
    unlocked = fitted(_template("archive-only"), _known("photos", "cloud-secondary", "offsite", lock=False))
    assert unlocked.configuration is not None
    assert unlocked.configuration.storage_destinations.by_tier()[Tier.OFFSITE].lock_days == 0
    assert [each.field for each in unlocked.unmet] == ["storageDestinations.offsite.lockDays"]
    for names, missing in ((("local", "offsite"), "sourceLocation"), (("photos",), "storageDestinations.offsite")):
        told = fitted(_template("archive-only"), _known(*names))
        assert told.configuration is None
        assert missing in [each.field for each in told.unmet]


def test_place_that_is_gone_or_does_not_answer_is_not_named() -> None:
    """Two names of one place are one tier."""
    known = _known("photos", "disk-a", "disk-b", "disk-c")
    known["disk-a"] = msgspec.structs.replace(known["disk-a"], answers=False)
    known["disk-c"] = msgspec.structs.replace(known["disk-c"], place="/srv/disk")
    known["disk-b"] = msgspec.structs.replace(known["disk-b"], place="/srv/disk")
    assert _places(fitted(_template("whole-supplier"), known)) == {"local": "disk-b"}
