"""What a release is made of: parts, licences, advisories."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from deploy.supply import advisories, licences
from deploy.supply.locks import BUILD, DEVELOP, RUN, Pin, pins
from deploy.supply.sbom import sbom
from tests.architecture.packages import ROOT

SCHEMA = json.loads((ROOT / "tests/contract/cyclonedx-1.6.schema.json").read_text())


def test_parts_list_names_each_package_of_the_lock() -> None:
    """As CycloneDX 1.6 has it, with version, licence and hashes; twice the same bytes."""
    made = sbom(made_at=datetime(2026, 11, 29, tzinfo=UTC))
    assert made == sbom(made_at=datetime(2026, 11, 29, tzinfo=UTC))
    document = json.loads(made)
    jsonschema.Draft7Validator(SCHEMA).validate(document)
    components = {(each["name"], each["version"]): each for each in document["components"]}
    assert components.keys() == {(pin.name, pin.version) for pin in pins(RUN)}
    lines = (ROOT / RUN).read_text().splitlines()
    of_windows = {line.split("==")[0] for line in lines if "sys_platform == 'win32'" in line}
    assert {name for name, _ in components} == {
        line.split("==")[0] for line in lines if line[:1].isalnum()
    } - of_windows
    assert all(each["externalReferences"][0]["hashes"] and each["licenses"] for each in components.values())
    document["components"][0]["licence"] = "MIT"
    with pytest.raises(jsonschema.ValidationError, match="licence"):
        jsonschema.Draft7Validator(SCHEMA).validate(document)


def test_licences_are_those_that_the_packages_have_and_may_be_taken() -> None:
    """One that changes with a version is seen here (`python -m deploy.supply licences --write`, and read it)."""
    listed, wanted = licences.listed(), pins(RUN, BUILD, DEVELOP)
    assert listed.keys() == {pin.name for pin in wanted}
    assert {name: licences.declared(name) for name in listed if licences.declared(name)} == {
        name: licence for name, licence in listed.items() if licences.declared(name)
    }
    assert licences.refused(wanted, listed) == []


@pytest.mark.parametrize(
    ("name", "licence", "is_refused"),
    [
        ("any", "MIT", False),
        ("any", "GPL-3.0-only OR MIT", False),
        ("any", "MIT AND GPL-3.0-only", True),
        ("any", "AGPL-3.0-only", True),
        ("any", "LGPL-3.0-only", True),
        ("psycopg", "LGPL-3.0-only", False),
        ("psycopg", "GPL-3.0-only", True),
        ("any", "", True),
    ],
)
def test_licence_that_nobody_has_allowed_is_refused(name: str, licence: str, is_refused: bool) -> None:
    """Copyleft is taken of the packages that were decided about, and of no other."""
    assert bool(licences.refused([Pin(name, "1", ())], {name: licence})) is is_refused


def _advisory(**more: Any) -> dict[str, Any]:
    entry = {"package": {"ecosystem": "PyPI", "name": "Some_Package"}} | more.pop("entry")
    return {"id": "PYSEC-0000-1", "affected": [entry], **more}


def _range(*events: tuple[str, str]) -> dict[str, Any]:
    return {"ranges": [{"type": "ECOSYSTEM", "events": [{kind: version} for kind, version in events]}]}


@pytest.mark.parametrize(
    ("version", "entry", "is_hit"),
    [
        ("1.9", _range(("introduced", "0"), ("fixed", "1.10")), True),
        ("1.10", _range(("introduced", "0"), ("fixed", "1.10")), False),
        ("1.10rc1", _range(("introduced", "0"), ("fixed", "1.10")), True),
        ("2.0", _range(("fixed", "1.10"), ("introduced", "0"), ("introduced", "2.0"), ("fixed", "2.1")), True),
        ("1.5", _range(("introduced", "0"), ("last_affected", "1.5")), True),
        ("1.5.1", _range(("introduced", "0"), ("last_affected", "1.5")), False),
        ("0.9", _range(("introduced", "1.0")), False),
        ("1.0.0", {"versions": ["1.0"]}, True),
        ("1.1", {"versions": ["1.0", "no version"]}, False),
        ("3", {}, True),
        ("3", {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}], "versions": ["2"]}, False),
    ],
)
def test_pin_is_affected_as_osv_says(version: str, entry: dict[str, Any], is_hit: bool) -> None:
    """By the ranges and the versions that are named; names are compared as the registry does."""
    pin = Pin("some-package", version, ())
    text = advisories.gather([_advisory(entry=entry)], ["some.package"], source="s", until=date(2026, 1, 1))
    known = advisories.Known("s", date(2026, 1, 1), json.loads(text)["advisories"])
    assert [hit.pin for hit in advisories.hits([pin, Pin("another", version, ())], known)] == [pin] * is_hit
    known.advisories[0] = {**known.advisories[0], "withdrawn": "2026-01-01T00:00:00Z"}
    assert list(advisories.hits([pin], known)) == []


def test_file_of_advisories_names_what_it_cannot_know() -> None:
    """Nothing that it has is about a pin; it is of a day, and too old a month after that."""
    known = advisories.read()
    assert list(advisories.hits(pins(RUN, BUILD, DEVELOP), known)) == []
    assert len(known.advisories) > 100
    assert "CC-BY-4.0" in known.source
    assert known.is_fresh(known.until + timedelta(days=30))
    assert not known.is_fresh(known.until + timedelta(days=31))


def test_lines_that_are_no_pins_are_not_passed_over(tmp_path: Path) -> None:
    """A lock that is read in part would make a parts list in part."""
    (tmp_path / RUN).write_text("a==1 \\\n    --hash=sha256:" + "0" * 64 + "\nb==2\n")
    with pytest.raises(AssertionError, match="no pins"):
        pins(RUN, root=tmp_path)
