"""The registry of locations."""

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from chassis.life.health import DEGRADED, NOT_READY, READY, Health
from chassis.location import decoded, entries_of
from chassis.locations import Locations
from chassis.own_folders import OwnFolders
from contracts.errors import (
    INVALID_FIELD,
    LOCATIONS_UNREADABLE,
    PATH_OUTSIDE_LOCATION,
    SOURCE_EXCLUDED,
    SOURCE_NOT_A_FOLDER,
    SOURCE_UNREACHABLE,
    PlatformError,
)
from contracts.refusal import Objection
from tests.support.hung_mount import hung_mount


def _write(path: Path, *locations: dict[str, object]) -> None:
    path.write_text(json.dumps({"locations": list(locations)}))


LOCAL = {
    "name": "local",
    "kind": "directory",
    "roles": ["tier"],
    "organisations": ["*"],
    "url": "file:///srv/backup",
}
PHOTOS = {
    "name": "photos",
    "kind": "directory",
    "roles": ["source"],
    "organisations": ["org-a"],
    "url": "file:///srv/photos",
}


def test_location_is_found_only_by_the_organisations_it_is_open_to(tmp_path: Path) -> None:
    """A name that is another organisation's is as unknown as one that nobody registered."""
    _write(tmp_path / "l.json", LOCAL, PHOTOS)
    locations = Locations(tmp_path / "l.json")
    found = locations.find("photos", "org-a")
    assert found is not None
    assert found.url == "file:///srv/photos"
    assert locations.find("photos", "org-b") is None
    assert [location.name for location in asyncio.run(locations.offered_to("org-b"))] == ["local"]


def test_registry_is_read_again_when_the_file_has_changed(tmp_path: Path) -> None:
    """An operator registers a location without restarting anything."""
    path = tmp_path / "l.json"
    _write(path, LOCAL)
    locations = Locations(path)
    assert locations.find("photos", "org-a") is None
    _write(path, LOCAL, PHOTOS)
    assert locations.find("photos", "org-a") is not None


@pytest.mark.parametrize("is_at_sources", [True, False])
@pytest.mark.parametrize(
    ("url", "path", "field"),
    [
        ("{root}", "", None),
        ("{root}", "2027", None),
        ("{root}", "2028", "sourceIdentifier"),
        ("{root}/gone", "", "sourceLocation"),
        ("{root}/gone", "2027", "sourceLocation"),
    ],
)
def test_source_that_is_not_there_is_told_by_who_sees_what_the_workers_see(
    tmp_path: Path, url: str, path: str, field: str | None, *, is_at_sources: bool
) -> None:
    """On another machine, or as another user, nobody can know it: it is a run's to say."""
    (tmp_path / "photos/2027").mkdir(parents=True)
    _write(tmp_path / "l.json", {**PHOTOS, "url": url.format(root=f"file://{tmp_path}/photos")})
    against = _against_source(tmp_path / "l.json", path, is_at_sources=is_at_sources)
    assert (against is None) is (field is None or not is_at_sources)
    if against is not None:
        assert (against.code, against.field, "no such folder" in against.hint) == (SOURCE_UNREACHABLE, field, True)


def _against_source(registry: Path, path: str, *, is_at_sources: bool = True) -> Objection | None:
    locations = Locations(registry, is_at_sources=is_at_sources)
    return asyncio.run(locations.known({"photos"}, "org-a", source=("photos", path)))["photos"].against_source


@pytest.mark.parametrize("mode", [0o000, 0o100, 0o400])
@pytest.mark.parametrize(("path", "field"), [("", "sourceLocation"), ("inside", "sourceIdentifier")])
def test_source_that_may_not_be_read_is_told(mode: int, path: str, field: str) -> None:
    """Both rights are needed, to read its names and to enter it."""
    with tempfile.TemporaryDirectory(prefix="wedsync-source-") as name, _as_nobody(Path(name)):
        (locked := Path(name, "photos", path)).mkdir(parents=True)
        _write(Path(name, "l.json"), {**PHOTOS, "url": f"file://{name}/photos"})
        assert _against_source(Path(name, "l.json"), path) is None
        locked.chmod(mode)
        against = _against_source(Path(name, "l.json"), path)
        locked.chmod(0o700)
        assert against is not None
        assert (against.code, against.field, "right to read" in against.hint) == (SOURCE_UNREACHABLE, field, True)


@contextmanager
def _as_nobody(folder: Path) -> Iterator[None]:
    """Without the rights of root, where the tests have them."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 54321, 54321)
    os.seteuid(54321)
    try:
        yield
    finally:
        os.seteuid(0)


_DEEP = {
    "list": "[" * 10_000 + "]" * 10_000,
    "objects": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "text with brackets": '["\\"]}", ' + "[" * 10_000 + "]" * 10_000 + "]",
}


@pytest.mark.parametrize("deep", _DEEP.values(), ids=_DEEP)
def test_entry_that_is_nested_too_deeply_costs_itself_alone(tmp_path: Path, deep: str) -> None:
    """The others are in use; of this one name and folder are read, so that no source is taken for what may hold it."""
    entries = [
        json.dumps(LOCAL),
        f'{{"lock": {deep}, ' + json.dumps({**PHOTOS, "name": "deep"})[1:],
        json.dumps(PHOTOS),
    ]
    body = f'{{"locations": [{", ".join(entries)}]}}'.encode()
    good, fault = decoded(body, {})
    assert set(good) == {"local", "photos"}
    assert fault is not None
    assert [(each.name, each.folder, each.is_judged) for each in fault.entries] == [("deep", "/srv/photos", True)]
    assert not fault.is_blind
    raws, found = entries_of(body)
    assert [bytes(raw).decode() for raw in raws] == entries
    assert [each.name for each in found] == ["local", "deep", "photos"]


def test_document_that_is_nested_elsewhere_too_deeply_is_no_registry() -> None:
    """Nor is a list of nothing but brackets an entry of it."""
    for body in (
        f'{{"locations": [], "more": {_DEEP["list"]}}}',
        _DEEP["list"],
        f'{{"locations": {_DEEP["objects"]}}}',
    ):
        with pytest.raises((ValueError, msgspec.MsgspecError, RecursionError)):
            decoded(body.encode(), {})


FAULTY: list[dict[str, object]] = [
    {**LOCAL, "name": "local\n"},
    *(
        {**LOCAL, "url": url}
        for url in (
            "file:///srv/a%00b",
            "file://host/etc",
            "file:srv",
            "file:///srv#1",
            "file:///srv?1",
            "file://[/srv",
        )
    ),
    *({**LOCAL, "kind": "s3", "url": url} for url in ("s3:///prefix", "s3://key:secret@bucket", "s3://bucket/a%00b")),
    *(
        {**LOCAL, "kind": "s3", "url": f"s3://bucket/tier?endpoint={endpoint}"}
        for endpoint in (
            "http://one.test:port",
            "http://one.test:99999",
            "http://one.test:0",
            "one.test",
            "http://[one",
        )
    ),
    *(
        {**LOCAL, "kind": "s3", "url": "s3://bucket", "credentials": name}
        for name in ("../../identity", "..", "", "/etc/passwd", "a/b", "a\0b")
    ),
    *({**LOCAL, "organisations": [each]} for each in ("", "org a", "..", "org.*")),
]
BROKEN = [
    "",
    "{}",
    "[" * 100_000,
    '{"locations": [{"name": "UPPER"}]}',
    '{"locations": [], "more": 1}',
    json.dumps({"locations": [LOCAL, LOCAL]}),
    json.dumps({"locations": [{**LOCAL, "url": "s3://bucket"}]}),
    json.dumps({"locations": [{**LOCAL, "storageClasses": ["A&b=c"]}]}),
    json.dumps({"locations": [LOCAL]})[:-20],
    *(json.dumps({"locations": [each]}) for each in FAULTY),
]


@pytest.mark.parametrize("text", [*BROKEN, None])
async def test_registry_that_was_never_read_is_not_ready_and_tells_tenants_nothing(
    tmp_path: Path, text: str | None
) -> None:
    """Half-written, contradictory or missing: who asks learns the code, operators learn which file and why."""
    path, health = tmp_path / "l.json", Health("test")
    if text is not None:
        path.write_text(text)
    locations = Locations(path, health)
    with pytest.raises(PlatformError) as caught:
        locations.find("local", "org-a")
    assert (caught.value.code.code, caught.value.code.status, caught.value.field) == ("locations-unreadable", 503, None)
    assert str(tmp_path) not in caught.value.message + caught.value.hint
    report = await health.report()
    (finding,) = report.checks
    assert (report.status, finding.code) == (NOT_READY, "locations-unreadable")
    assert str(path) in str(finding.reason)
    assert not re.search("`|xpected|Object|JSON is malformed|truncated|recursion", str(finding.reason))
    assert "WEDSYNC_LOCATIONS_FILE" in str(finding.hint)
    _write(path, LOCAL)
    assert (await health.report()).status == READY


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({**LOCAL, "kind": "tape"}, "location local: kind is one of directory, s3, postgres"),
        ({"name": "local", "kind": "s3"}, "location local: roles and organisations and url must be there"),
        ({**LOCAL, "urls": ""}, "location local: there is no field 'urls': the fields are name, kind,"),
        ({**LOCAL, "region": 1}, "location local: region is a text"),
        ({**LOCAL, "name": "L"}, "location L: name is small letters"),
    ],
)
def test_entry_with_a_wrong_field_is_told_by_the_names_of_the_file(entry: dict[str, object], words: str) -> None:
    """In our words: a library speaks of `str` and `Object`."""
    with pytest.raises(ValueError, match=re.escape(words)):
        decoded(json.dumps({"locations": [entry]}).encode(), {})


@pytest.mark.parametrize("entry", FAULTY)
async def test_entry_that_can_never_be_used_is_named(tmp_path: Path, entry: dict[str, object]) -> None:
    """Operators read which location it is and what is wrong with it; nobody is sent to another place for it."""
    path, health = tmp_path / "l.json", Health("test")
    _write(path, entry)
    Locations(path, health)
    (finding,) = (await health.report()).checks
    assert finding.code == "locations-unreadable"
    assert f"location {entry['name']}: " in str(finding.reason)


@pytest.mark.parametrize("entry", [*FAULTY, {"name": "UPPER"}, {"kind": "s3"}, {**PHOTOS, "roles": ["banana"]}, PHOTOS])
async def test_entry_that_can_never_be_used_costs_that_entry(tmp_path: Path, entry: dict[str, object]) -> None:
    """At a process's first look the others are in use, and somebody is told to look; what was read before stays."""
    path, health = tmp_path / "l.json", Health("test")
    other = {**LOCAL, "name": "other"}
    _write(path, other, entry, *[entry] * (entry == PHOTOS))
    locations = Locations(path, health)
    assert [each.name for each in locations.tiers()] == ["other"]
    assert locations.find("photos", "org-a") is None
    report = await health.report()
    assert report.status == DEGRADED
    (finding,) = [each for each in report.checks if each.status == DEGRADED]
    assert str(path) in str(finding.reason)
    assert "all other entries are in use" in str(finding.hint)
    _write(path, LOCAL, PHOTOS, other)
    assert (await health.report()).status == READY
    _write(path, other, entry, *[entry] * (entry == PHOTOS))
    assert locations.find("other", "org-b") is not None
    assert (locations.find("local", "org-b") is not None) == (entry.get("name") == "local")
    assert (locations.find("photos", "org-a") is not None) == (entry.get("name") == "photos")


@pytest.mark.parametrize("change", [{"credentials": "team b"}, {"region": "M\xfcnchen"}, {"comment": ""}, {}])
async def test_tier_of_a_faulty_entry_is_no_part_of_a_source(tmp_path: Path, change: dict[str, object]) -> None:
    """At a process's first look, too: what of it can be read counts; whoever names it is told to wait."""
    path, health = tmp_path / "l.json", Health("test")
    (tmp_path / "photos" / "tier").mkdir(parents=True)
    photos = {**PHOTOS, "url": f"file://{tmp_path}/photos"}
    tier = {**LOCAL, "url": f"file://{tmp_path}/photos/tier"} | change
    text = json.dumps({"locations": [photos, tier, *[tier] * (change == {})]}, ensure_ascii=False)
    path.write_bytes(text.encode("latin-1"))
    locations = Locations(path, health)
    assert locations.faulty_tiers()[0] == f"{tmp_path}/photos/tier"
    against = (await locations.known(["photos"], "org-a", source=("photos", "tier")))["photos"].against_source
    assert against is not None
    assert against.code is SOURCE_EXCLUDED
    assert locations.is_faulty("local", "org-b")
    with pytest.raises(PlatformError) as caught:
        await locations.known(["photos", "local"], "org-a")
    assert caught.value.code is LOCATIONS_UNREADABLE
    (finding,) = [each for each in (await health.report()).checks if each.status == DEGRADED]
    assert "what names this one waits" in str(finding.hint)


async def test_no_source_is_judged_while_nobody_knows_where_a_tier_lies(tmp_path: Path) -> None:
    """It may be within; one of which a source is known, or what was read before, keeps nobody."""
    path, health = tmp_path / "l.json", Health("test")
    bad = {**LOCAL, "url": "file:srv"}
    _write(path, PHOTOS, bad)
    locations = Locations(path, health)
    with pytest.raises(PlatformError) as caught:
        locations.faulty_tiers()
    assert caught.value.code is LOCATIONS_UNREADABLE
    with pytest.raises(PlatformError) as caught:
        await locations.known(["photos"], "org-a", source=("photos", ""))
    assert caught.value.code is LOCATIONS_UNREADABLE
    (finding,) = [each for each in (await health.report()).checks if each.status == DEGRADED]
    assert "no backup begins" in str(finding.hint)
    _write(path, PHOTOS, {**bad, "roles": ["source"], "organisations": ["org-b"]})
    assert locations.faulty_tiers() == []
    assert not locations.is_faulty("local", "org-a")
    _write(path, PHOTOS, LOCAL)
    assert locations.find("local", "org-a") is not None
    _write(path, PHOTOS, bad)
    assert locations.faulty_tiers() == []


@pytest.mark.parametrize("text", [*BROKEN, None])
async def test_last_good_registry_stays_in_use_and_readiness_says_so(tmp_path: Path, text: str | None) -> None:
    """A file that breaks while the platform runs stops nothing, and somebody is told to look."""
    path, health = tmp_path / "l.json", Health("test")
    _write(path, LOCAL, PHOTOS)
    locations = Locations(path, health)
    assert locations.find("photos", "org-a") is not None
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    assert locations.find("photos", "org-a") is not None
    report = await health.report()
    assert report.status == DEGRADED
    (finding,) = [each for each in report.checks if each.status == DEGRADED]
    assert str(path) in str(finding.reason)
    _write(path, LOCAL)
    assert locations.find("photos", "org-a") is None
    assert (await health.report()).status == READY


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("file:///srv/backup", "file:///srv/./backup/", True),
        ("file:///srv/backup", "file:///srv/back%75p", True),
        ("file:///srv/backup", "file:///srv/backup2", False),
        ("s3://bucket/tier?region=a", "s3://bucket/tier/?region=b&storage-class=STANDARD_IA", True),
        ("s3://bucket/tier?endpoint=https://S3.test/", "s3://bucket/tier?endpoint=https://s3.test", True),
        ("s3://bucket/tier?endpoint=https://one.test", "s3://bucket/tier?endpoint=https://two.test", False),
        ("s3://bucket/tier", "s3://bucket/other", False),
    ],
)
async def test_two_names_of_one_place_are_found_out(tmp_path: Path, one: str, other: str, is_same: bool) -> None:
    """However an operator has written it, one folder or one prefix of a bucket is one place."""
    kind = "s3" if one.startswith("s3") else "directory"
    _write(tmp_path / "l.json", {**LOCAL, "kind": kind, "url": one}, {**PHOTOS, "kind": kind, "url": other})
    found = await Locations(tmp_path / "l.json").known(["local", "photos"], "org-a")
    assert (found["local"].place == found["photos"].place) is is_same


async def test_symlink_is_the_place_that_it_leads_to(tmp_path: Path) -> None:
    """A second way into a folder is no second folder."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    urls = [f"file://{tmp_path}/disk", f"file://{tmp_path}/link"]
    _write(tmp_path / "l.json", {**LOCAL, "url": urls[0]}, {**PHOTOS, "url": urls[1]})
    found = await Locations(tmp_path / "l.json").known(["local", "photos", "nowhere"], "org-a")
    assert found["local"].place == found["photos"].place
    assert "nowhere" not in found


async def test_location_among_the_platform_s_own_folders_is_marked(tmp_path: Path) -> None:
    """As a source also by the path below it, and where it is a tier's folder; as a tier but where tiers may lie."""
    for name in ("home/keys", "home/tiers/local", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "elsewhere" / "link").symlink_to(tmp_path / "home" / "keys")
    urls = {"keys": "home/keys", "tier": "home/tiers/local", "all": ".", "else": "elsewhere", "below": "elsewhere/tier"}
    _write(
        tmp_path / "l.json",
        *(
            {**LOCAL, "name": name, "roles": ["tier"] if name in {"tier", "below"} else ["source"]}
            | {"url": f"file://{tmp_path / path}"}
            for name, path in urls.items()
        ),
    )
    own = OwnFolders([tmp_path / "home"], open_to_tiers=[tmp_path / "home" / "tiers"])
    locations = Locations(tmp_path / "l.json", own=own)

    async def found(name: str, path: str = "") -> tuple[str, bool]:
        known = (await locations.known([name], "org-a", source=(name, path)))[name]
        against = known.against_source
        assert against is None or against.code is SOURCE_EXCLUDED
        return "" if against is None else str(against.field), known.is_excluded_tier

    assert await found("keys") == ("sourceLocation", True)
    assert await found("tier") == ("sourceLocation", False)
    assert await found("all") == ("", False)
    assert await found("all", "home/keys/new") == ("sourceIdentifier", False)
    assert await found("else", "photos") == ("", False)
    assert await found("else", "link") == ("sourceIdentifier", False)
    assert await found("else", "tier/org-a") == ("sourceIdentifier", False)


async def test_source_that_its_disk_shows_to_be_none_is_told(tmp_path: Path) -> None:
    """A link that leads out, a file, a link to itself; what is not there, or is behind a closed door, may come."""
    root = tmp_path / "photos"
    (root / "2027" / "meyer").mkdir(parents=True)
    (root / "list.txt").write_text("")
    for name, target in {
        "out": tmp_path,
        "beside": tmp_path / "photos-of-others",
        "itself": root / "itself",
        "within": root / "2027",
        "later": root / "not-mounted",
        "file": root / "list.txt",
    }.items():
        (root / name).symlink_to(target)
    (tmp_path / "linked").symlink_to(root)
    urls = {"photos": root, "linked": tmp_path / "linked", "file": root / "list.txt", "absent": tmp_path / "absent"}
    _write(tmp_path / "l.json", *({**PHOTOS, "name": name, "url": f"file://{url}"} for name, url in urls.items()))
    locations = Locations(tmp_path / "l.json")

    async def found(name: str, path: str = "") -> tuple[str, str] | None:
        against = (await locations.known([name], "org-a", source=(name, path)))[name].against_source
        return None if against is None else (against.code.code, str(against.field))

    for name in ("photos", "linked"):
        for path in ("", "2027", "2027/meyer", "within/meyer", "later", "not-there/at/all"):
            assert await found(name, path) is None, (name, path)
        for path in ("out", "out/elsewhere", "beside"):
            assert await found(name, path) == (PATH_OUTSIDE_LOCATION.code, "sourceIdentifier"), (name, path)
        for path in ("list.txt", "list.txt/below", "file", "itself", "itself/below"):
            assert await found(name, path) == (SOURCE_NOT_A_FOLDER.code, "sourceIdentifier"), (name, path)
    assert await found("file") == (SOURCE_NOT_A_FOLDER.code, "sourceLocation")
    assert await found("absent", "2027") is None


async def test_location_on_a_disk_that_hangs_keeps_nobody_waiting(tmp_path: Path) -> None:
    """What needs no disk asks none; where the place is needed it is told in time that it does not answer."""
    (tmp_path / "disk").mkdir()
    _write(
        tmp_path / "l.json",
        {**LOCAL, "url": f"file://{tmp_path}/disk/backup"},
        {**PHOTOS, "url": f"file://{tmp_path}/photos"},
    )
    locations = Locations(tmp_path / "l.json")
    with hung_mount(tmp_path / "disk"):
        assert [each.classes for each in await locations.offered_to("org-a")] == [(), ()]
        asked = asyncio.create_task(locations.known(["local", "photos"], "org-a"))
        await asyncio.sleep(0)
        assert (await locations.known(["photos"], "org-a"))["photos"].answers
        assert not asked.done()
        found = await asked
        assert {name: each.answers for name, each in found.items()} == {"local": False, "photos": True}
    assert (await locations.known(["local"], "org-a"))["local"].answers


async def test_registry_on_a_disk_that_hangs_holds_no_event_loop(tmp_path: Path) -> None:
    """Reading it hangs, and others go on: what was read before is in use, degraded; else whoever asks is refused."""
    path = tmp_path / "locations.json"
    _write(path, LOCAL)
    health = Health("t")
    read_before, never_read = Locations(path, health), Locations(path)
    assert [each.name for each in await read_before.offered_to("org-a")] == ["local"]
    path.unlink()
    os.mkfifo(path)  # Whoever opens it waits for a writer, as long as there is none.
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    try:
        offered, tiers, known, refusal = await asyncio.gather(
            read_before.offered_to("org-a"),
            read_before.tiers_now(),
            read_before.known(["local"], "org-a"),
            never_read.offered_to("org-a"),
            return_exceptions=True,
        )
        assert offered == tiers == [read_before._seen and read_before._seen[1]["local"]]
        assert isinstance(known, dict)
        assert set(known) == {"local"}
        assert isinstance(refusal, PlatformError)
        assert refusal.code is LOCATIONS_UNREADABLE
        found = [(each.name, each.status) for each in (await health.report()).checks]
        assert found == [("locations", READY), ("locations-file", DEGRADED)]
    finally:
        ticking.cancel()
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # lets go of whoever waits
    assert ticks > 10


async def test_part_of_a_database_is_no_source(tmp_path: Path) -> None:
    """Whoever names one learns it when the configuration is submitted."""
    _write(tmp_path / "l.json", {**PHOTOS, "kind": "postgres", "url": "postgres://host/shop?lock-timeout=5"})
    locations = Locations(tmp_path / "l.json")
    part = (await locations.known(["photos"], "org-a", source=("photos", "public")))["photos"].against_source
    assert part is not None
    assert (part.code, part.field) == (INVALID_FIELD, "sourceIdentifier")
    assert (await locations.known(["photos"], "org-a", source=("photos", "")))["photos"].against_source is None


async def test_part_of_a_bucket_that_has_to_do_with_a_tier_is_no_source(tmp_path: Path) -> None:
    """One that lies in a tier, or holds one, be the tier's entry faulty; a sibling is one, and another server's is."""
    server = "?endpoint=http://127.0.0.1:9000"
    bucket = {**PHOTOS, "kind": "s3", "url": f"s3://weddings{server}"}
    _write(
        tmp_path / "l.json",
        bucket,
        {**bucket, "name": "within", "url": f"s3://weddings/tier/album{server}"},
        {**bucket, "name": "elsewhere", "url": "s3://weddings/tier?endpoint=http://127.0.0.1:9001"},
        {**LOCAL, "kind": "s3", "url": f"s3://weddings/tier{server}"},
        {**LOCAL, "name": "faulty", "kind": "s3", "url": f"s3://weddings/kept/faulty{server}", "comment": ""},
    )
    locations = Locations(tmp_path / "l.json")

    async def field(name: str, path: str) -> str | None:
        against = (await locations.known([name], "org-a", source=(name, path)))[name].against_source
        assert against is None or against.code is SOURCE_EXCLUDED
        return None if against is None else against.field

    assert [await field("photos", path) for path in ("", "kept", "tier/2027", "kept/faulty")] == [
        "sourceLocation",
        *["sourceIdentifier"] * 3,
    ]
    assert [await field("photos", path) for path in ("album", "tier2", "kept/other")] == [None] * 3
    assert (await field("within", ""), await field("elsewhere", "")) == ("sourceLocation", None)
    assert len(locations.tier_buckets()) == 2
