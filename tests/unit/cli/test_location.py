"""`wedsync-backup location` on a home where nothing runs: what is refused, what is kept, and where."""

import asyncio
import errno
import io
import json
import os
import shlex
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chassis.clock import SystemClock
from chassis.disk import Disk, DiskSilent
from chassis.location import Location
from chassis.locations import Locations
from cli import tiers
from cli.exit_codes import ExitCode
from cli.main import main
from contracts import errors
from contracts.errors import PlatformError
from deploy.locations.check import _tried
from deploy.locations.history import repair_command
from deploy.locations.kept import Begun, kept, look, to_begin_anew
from deploy.stack import s3
from deploy.stack.layout import Layout
from deploy.stack.locations import directory_url, register, source_location, write_registry
from deploy.stack.secrets import open_secrets
from repository.stored.config import CONFIG_KEY
from repository.stored.log_entry import entry_object_key
from repository.tiers.folder.store import DirectoryObjectStore
from tests.support.mounted import mounted
from vault.key_files import name_of

SECRET = "hush-hush-hush-1234"
BUCKET = "s3://album-backups/tier?endpoint=https://s3.example&region=eu-central-1"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home that was started once: the stack's own four tiers are registered."""
    layout = Layout.create(tmp_path / "a home")
    layout.remembered.ports = {name: 20_000 + number for number, name in enumerate(s3.port_names())}
    write_registry(layout, open_secrets(layout, roles=[], regions=s3.credential_names()))
    return layout


class Command:
    """`location` on a home, with what it printed."""

    def __init__(self, layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
        self._layout, self._capsys = layout, capsys
        self.said = ""

    def __call__(self, *words: str | Path) -> int:
        """One command; its exit code."""
        self._capsys.readouterr()
        code = main(["location", *map(str, words), "--home", str(self._layout.home)])
        said = self._capsys.readouterr()
        self.said = said.out + said.err
        assert SECRET not in self.said
        return code

    def found(self) -> list[dict[str, Any]]:
        """What the test of the tier `disk` finds."""
        self("test", "disk", "--json")
        findings: list[dict[str, Any]] = json.loads(self.said)["findings"]
        return findings

    def error(self, *words: str | Path) -> tuple[int, dict[str, Any]]:
        """One command that is refused; its exit code and its error."""
        code = self(*words, "--json")
        error: dict[str, Any] = json.loads(self.said)["error"]
        assert error["hint"], error
        return code, error


@pytest.fixture
def location(layout: Layout, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command."""
    return Command(layout, capsys)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder to back up."""
    folder = tmp_path / "Fotos & more"
    folder.mkdir()
    return folder


def _add(name: str, role: str, url: str, *more: str) -> tuple[str, ...]:
    return ("add", name, "--role", role, "--url", url, *more)


def test_source_is_registered_for_the_home_s_own_organisation(location: Command, layout: Layout, photos: Path) -> None:
    """A registry that somebody has open sees it at its next look; nobody else may use it."""
    open_before = Locations(layout.locations_file)
    organisation = layout.remembered.organisation
    assert open_before.find("photos", organisation) is None
    assert location(*_add("photos", "source", directory_url(photos))) == ExitCode.OK
    found = open_before.find("photos", organisation)
    assert found is not None
    assert (found.kind, found.roles, found.url) == ("directory", ("source",), directory_url(photos))
    assert open_before.find("photos", "another") is None


@pytest.mark.parametrize(
    ("words", "code", "field", "exit_code"),
    [
        (("Photos", "source", "{here}"), "invalid-field", "name", ExitCode.USAGE),
        (("a" * 64, "source", "{here}"), "invalid-field", "name", ExitCode.USAGE),
        (("pho\u202etos", "source", "{here}"), "invalid-field", "name", ExitCode.USAGE),
        (("photos\n", "source", "{here}"), "invalid-field", "name", ExitCode.USAGE),
        (("photos", "source", "{here}\u200b"), "invalid-field", "url", ExitCode.USAGE),
        (("photos", "source", "ftp://host/photos"), "invalid-field", "url", ExitCode.USAGE),
        (("photos", "source", "/srv/photos"), "invalid-field", "url", ExitCode.USAGE),
        (("photos", "source", "file://photos"), "invalid-field", "url", ExitCode.USAGE),
        (("photos", "source", "file:photos"), "invalid-field", "url", ExitCode.USAGE),
        (("photos", "source", "file:///srv/a%00b"), "invalid-field", "url", ExitCode.USAGE),
        (("photos", "source", "{here}?"), "invalid-field", "url", ExitCode.USAGE),
        (("photos", "source", "{here}?a=b"), "invalid-field", "url", ExitCode.USAGE),
        (("photos", "source", "{here}/absent"), "source-unreachable", "url", ExitCode.NOT_FOUND),
        (("photos", "source", "{file}"), "source-unreachable", "url", ExitCode.NOT_FOUND),
        (("disk", "tier", "{here}/absent"), "tier-unreachable", "url", ExitCode.UNAVAILABLE),
        (("photos", "source", "{home}"), "location-excluded", "url", ExitCode.REFUSED),
        (("photos", "source", "{home}/keys"), "location-excluded", "url", ExitCode.REFUSED),
        (("disk", "tier", "{home}/data/tiers/local/x"), "location-excluded", "url", ExitCode.REFUSED),
        (("disk", "tier", "{around}"), "location-excluded", "url", ExitCode.REFUSED),
        (("restored", "target", "{around}"), "location-excluded", "url", ExitCode.REFUSED),
        (("restored", "target", "{here}", "--organisation", "*"), "invalid-field", "organisation", ExitCode.USAGE),
        (("local", "source", "{here}"), "location-taken", "name", ExitCode.REFUSED),
        (("disk", "tier", "{here}", "--lock"), "invalid-field", "lock", ExitCode.USAGE),
        (("disk", "tier", "{here}", "--organisation", "../x"), "invalid-field", "organisation", ExitCode.USAGE),
        (("disk", "tier", "{here}", "--credentials", "env"), "invalid-field", "credentials", ExitCode.USAGE),
        (("cloud", "tier", f"s3://key:{SECRET}@bucket/x"), "invalid-field", "url", ExitCode.USAGE),
        (("cloud", "tier", "s3://bucket/x?endpoint=ftp://y", "--credentials", "env"), "invalid-field", "url", 2),
        (("cloud", "tier", "s3://bucket/x?secret=y", "--credentials", "env"), "invalid-field", "url", 2),
        (("db", "source", f"postgres://me:{SECRET}@host/db"), "invalid-field", "url", ExitCode.USAGE),
        (("db", "source", f"postgres://host/db?password={SECRET}"), "invalid-field", "url", ExitCode.USAGE),
        (("db", "source", "postgres://host"), "invalid-field", "url", ExitCode.USAGE),
        (("db", "source", "postgres-cluster://me@host"), "invalid-field", "url", ExitCode.USAGE),
        (("db", "tier", "postgres://host/db"), "invalid-field", "role", ExitCode.USAGE),
    ],
)
def test_what_can_never_work_is_refused_when_it_is_added(
    location: Command, layout: Layout, photos: Path, words: tuple[str, ...], code: str, field: str, exit_code: int
) -> None:
    """By code, by field and with what to do; the registry is what it was."""
    (photos / "file").touch()
    here, home = directory_url(photos), directory_url(layout.home)
    before = layout.locations_file.read_bytes()
    known = {"{here}": here, "{home}": home, "{around}": directory_url(layout.home.parent), "{file}": f"{here}/file"}
    name, role, url, *more = words
    for placeholder, value in known.items():
        url = url.replace(placeholder, value)
    told, error = location.error(*_add(name, role, url, *more))
    assert (error["code"], error["field"], told) == (code, field, exit_code), error
    assert layout.locations_file.read_bytes() == before


def test_link_into_the_home_is_refused(location: Command, layout: Layout, tmp_path: Path) -> None:
    """Where a path leads is what counts."""
    (tmp_path / "innocent").symlink_to(layout.keys)
    told, error = location.error(*_add("photos", "source", directory_url(tmp_path / "innocent")))
    assert (told, error["code"]) == (ExitCode.REFUSED, "location-excluded")


def test_one_place_is_registered_once(location: Command, photos: Path, tmp_path: Path) -> None:
    """By another name, by a link, as another role, within a tier; two organisations may share a source."""
    (tmp_path / "link").symlink_to(photos)
    (photos / "inner").mkdir()
    assert location(*_add("disk", "tier", directory_url(photos))) == ExitCode.OK
    for name, role, folder in (
        ("again", "tier", photos),
        ("linked", "tier", tmp_path / "link"),
        ("photos", "source", photos),
    ):
        told, error = location.error(*_add(name, role, directory_url(folder)))
        assert (told, error["code"], "disk" in error["message"]) == (ExitCode.REFUSED, "location-taken", True)
    for role in ("source", "tier"):
        told, error = location.error(*_add("inner", role, directory_url(photos / "inner")))
        assert (told, error["code"]) == (ExitCode.REFUSED, "location-excluded")
    shared = tmp_path / "shared"
    shared.mkdir()
    assert location(*_add("of-a", "source", directory_url(shared), "--organisation", "a")) == ExitCode.OK
    assert location(*_add("of-b", "source", directory_url(shared), "--organisation", "b")) == ExitCode.OK
    assert location(*_add("of-a-too", "source", directory_url(shared), "--organisation", "a")) == ExitCode.REFUSED


def test_credentials_go_into_the_organisation_s_own_folder(
    location: Command, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file, the environment or standard input; readable by their owner alone, and nowhere else."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(_pair("STDIN")).encode())))
    monkeypatch.setenv("OFFSITE_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("OFFSITE_SECRET_ACCESS_KEY", SECRET)
    given = tmp_path / "given.json"
    given.write_text(json.dumps(_pair("FILE")))
    given.chmod(0o600)
    for number, (reference, key, who) in enumerate(
        (("-", "STDIN", "org-a"), ("env:OFFSITE", "ENV", "org-a"), (f"file:{given}", "FILE", "*"))
    ):
        name = f"cloud-{number}"
        url = BUCKET.replace("tier", name)
        words = _add(name, "tier", url, "--untested", "--organisation", who, "--credentials", reference)
        assert location(*words) == ExitCode.OK
        path = layout.credentials / (f"{name}.json" if who == "*" else f"{who}/{name}.json")
        assert json.loads(path.read_bytes()) == _pair(key)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert SECRET not in layout.locations_file.read_text()
    assert Locations(layout.locations_file).find("cloud-0", "org-b") is None
    assert location("list") == ExitCode.OK
    assert location("list", "--json") == ExitCode.OK


def _pair(key: str) -> dict[str, str]:
    return {"accessKeyId": key, "secretAccessKey": SECRET}


@pytest.mark.parametrize(
    "reference",
    ["env:NOBODY", "file:/absent", f"key:{SECRET}", SECRET, "ask", "profile:nobody"],
)
def test_credentials_that_are_not_there_are_refused(
    location: Command, layout: Layout, reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By field, without a trace in registry or folder; what was written in the wrong place is not repeated."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "absent"))
    before = layout.locations_file.read_bytes()
    told, error = location.error(*_add("cloud", "tier", BUCKET, "--credentials", reference))
    assert (told, error["code"], error["field"]) == (ExitCode.REFUSED, "credentials-unusable", "credentials")
    assert layout.locations_file.read_bytes() == before


def test_file_of_credentials_that_others_may_read_is_refused(location: Command, tmp_path: Path) -> None:
    """A secret that others may have read is to be rotated first."""
    given = tmp_path / "given.json"
    given.write_text(json.dumps(_pair("FILE")))
    given.chmod(0o644)
    told, error = location.error(*_add("cloud", "tier", BUCKET, "--untested", "--credentials", f"file:{given}"))
    assert (told, error["code"], "chmod 600" in error["hint"]) == (ExitCode.REFUSED, "credentials-unusable", True)


def test_registry_keeps_its_rights_and_the_operator_s_entries(location: Command, layout: Layout, photos: Path) -> None:
    """Who may read it is the operator's to say; a change of one entry is no change of another."""
    layout.locations_file.chmod(0o640)
    before = json.loads(layout.locations_file.read_bytes())["locations"]
    assert location(*_add("photos", "source", directory_url(photos))) == ExitCode.OK
    assert stat.S_IMODE(layout.locations_file.stat().st_mode) == 0o640
    assert json.loads(layout.locations_file.read_bytes())["locations"][:-1] == before


def test_of_many_changes_at_once_none_is_lost(layout: Layout, tmp_path: Path) -> None:
    """Each holds the registry from its reading to its writing."""
    names = [f"photos-{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: register(layout, source_location(name, tmp_path / name, organisation="a")), names))
    found = {each.name for each in asyncio.run(Locations(layout.locations_file).offered_to("a"))}
    assert found.issuperset(names)


def test_test_has_a_finding_for_each_check(location: Command, photos: Path, tmp_path: Path) -> None:
    """A tier on the home's own disk is a warning; nothing is left in it. One that is gone is named."""
    disk = tmp_path / "disk"
    disk.mkdir()
    assert location(*_add("disk", "tier", directory_url(disk))) == ExitCode.OK
    assert location(*_add("photos", "source", directory_url(photos))) == ExitCode.OK
    assert location("test", "photos") == ExitCode.OK
    assert location("test", "disk", "--json") == ExitCode.DEGRADED
    found = {each["check"]: each["outcome"] for each in json.loads(location.said)["findings"]}
    assert list(found) == ["reachable", "readable", "writable", "separate", "alone", "space", "kept"]
    assert (found["separate"], found["kept"]) == ("warning", "unknown")
    assert not list(disk.iterdir())
    disk.rmdir()
    assert location("test", "disk") == ExitCode.UNAVAILABLE
    assert "mount its disk" in location.said
    photos.rmdir()
    assert location("test", "photos") == ExitCode.NOT_FOUND
    assert location("test", "nobody") == ExitCode.NOT_FOUND
    assert location("test", "photos", "--organisation", "another") == ExitCode.NOT_FOUND


@pytest.fixture
def tier(tmp_path: Path) -> Location:
    """A tier in a folder that is empty yet."""
    disk = tmp_path / "disk"
    disk.mkdir()
    return Location(
        name="disk", kind="directory", roles=("tier",), organisations=("*",), url=directory_url(disk), lock=False
    )


def test_tier_that_was_in_use_and_is_empty_is_not_well(tier: Location, layout: Layout, tmp_path: Path) -> None:
    """Its folder can be written to, and is not what it was: that is vanished, of all or of some organisations."""
    disk = tmp_path / "disk"

    def found(*organisations: str) -> tuple[str, str | None]:
        begun = [Begun(each, head=(0, sha256(b"seen").digest())) for each in organisations]
        finding = kept(tier, layout.platform_keys, begun)
        return finding.outcome.value, finding.code

    assert found() == ("ok", None)
    assert found("org-a", "org-b") == ("failed", "tier-vanished")
    store = DirectoryObjectStore(str(disk / "org-a"), "disk")
    store.put(CONFIG_KEY, b"config")
    store.put(entry_object_key(0), b"seen")
    assert found("org-a") == ("ok", None)
    assert found("org-a", "org-b") == ("failed", "tier-vanished")
    assert kept(tier, layout.platform_keys, None).outcome.value == "unknown"


def test_tier_that_went_back_is_not_well(tier: Location, layout: Layout, tmp_path: Path) -> None:
    """What runs fail by is found by the test, too, with whose it is; of what nobody has seen it is unknown."""
    whole, older = Begun("whole", head=(1, sha256(b"one").digest())), Begun("older", head=(2, sha256(b"two").digest()))
    for each in (whole, older):
        store = DirectoryObjectStore(str(tmp_path / "disk" / each.organisation), "disk")
        store.put(CONFIG_KEY, b"config")
        store.put(entry_object_key(1), b"one")
    assert kept(tier, layout.platform_keys, [whole]).outcome.value == "ok"
    found = kept(tier, layout.platform_keys, [whole, older])
    assert (found.outcome.value, found.code, "of older" in found.detail) == ("failed", "tier-rolled-back", True), found
    found = kept(tier, layout.platform_keys, [whole, older, Begun("missing")])
    assert (found.code, "an older state" in found.detail) == ("tier-vanished", True), found
    found = kept(tier, layout.platform_keys, [whole, Begun("older")])
    assert (found.outcome.value, "of older" in found.detail) == ("unknown", True), found


@pytest.mark.parametrize("is_there", [True, False])
def test_list_of_tiers_says_which_one_did_not_answer(
    tier: Location,
    layout: Layout,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_there: bool,
) -> None:
    """What it shows is unknown: that is no exit code 0, and why is told. One registered no more nobody asks."""
    register(layout, tier)
    DirectoryObjectStore(str(tmp_path / "disk" / "whole"), "disk").put(CONFIG_KEY, b"config")
    now = SystemClock().now()
    remembered = [("disk", now, Begun("whole", repository_id="r")), ("removed", now, Begun("whole"))]
    monkeypatch.setattr("deploy.locations.usage.begun", lambda _layout: remembered)
    if not is_there:
        (tmp_path / "disk").rename(tmp_path / "aside")
    code = tiers._list(layout, for_machines=False)
    said = capsys.readouterr().out
    assert code == (ExitCode.OK if is_there else ExitCode.DEGRADED), said
    assert ("disk: what it shows is unknown: " in said) is not is_there
    assert tiers._list(layout, for_machines=True) == code
    assert list(json.loads(capsys.readouterr().out)["unknown"]) == ([] if is_there else ["disk"])
    if not is_there:
        monkeypatch.setattr(tiers, "forget", lambda *_arguments, **_options: ["whole"])
        assert tiers._begin_anew(layout, "disk", None, is_anyway=False) == ExitCode.DEGRADED
        assert "disk: whether it is gone could not be seen: " in capsys.readouterr().out


def test_one_tenant_s_loss_is_not_another_s(tier: Location, layout: Layout, tmp_path: Path) -> None:
    """A location is begun anew for who has lost something there; of who has not the memory stays: it is the guard."""
    begun = [Begun("gone"), Begun("whole")]
    DirectoryObjectStore(str(tmp_path / "disk" / "whole"), "disk").put(CONFIG_KEY, b"config")
    found = look(tier, layout.platform_keys, begun)
    with pytest.raises(PlatformError) as refused:
        to_begin_anew("disk", found, None, is_anyway=False)
    assert refused.value.code is errors.LOCATION_IN_USE
    assert "has the repository of whole" in str(refused.value)
    assert "wedsync-backup tiers begin-anew disk --organisation gone;" in refused.value.hint
    assert to_begin_anew("disk", found, None, is_anyway=True) == ["gone"]
    for owner in (None, "whole"):
        with pytest.raises(PlatformError, match="is not gone"):
            to_begin_anew("disk", look(tier, layout.platform_keys, begun[1:]), owner, is_anyway=owner is None)


def test_disk_that_is_read_only_or_hangs_is_no_lack_of_rights(tmp_path: Path) -> None:
    """No right that anybody gives helps: the mount is named, with what may be behind it, or the disk."""

    def refuse() -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    tried = partial(_tried, Disk(tmp_path), errors.TIER_UNREACHABLE, "writable")
    found = tried(refuse, "", errors.LOCATION_ACCESS_DENIED, "Give the right.")
    assert (found.outcome.value, found.code) == ("failed", "tier-read-only")
    assert "mount it for writing" in (found.hint or "")

    def hang() -> None:
        raise DiskSilent(tmp_path, 5.0)

    found = tried(hang, "", errors.LOCATION_ACCESS_DENIED, "Give the right.")
    assert (found.outcome.value, found.code) == ("failed", "tier-unreachable")
    assert "Look at the disk" in (found.hint or "")


def test_target_remembers_where_its_disk_is_mounted(location: Command, layout: Layout, photos: Path) -> None:
    """Without it, and where that was never noted, a test says so; so it does of one that several may use."""
    url = directory_url(photos)
    with mounted(photos, "size=1m"):
        assert location(*_add("restored", "target", url)) == ExitCode.OK
        assert f"mounted at {photos}" in location.said
        assert location("test", "restored") == ExitCode.OK
    assert location("test", "restored") != ExitCode.OK
    assert "its disk is not mounted: it was at" in location.said
    assert "[target-unusable]" in location.said
    entry = next(each for each in json.loads(layout.locations_file.read_text())["locations"] if each["url"] == url)
    register(layout, msgspec.convert({**entry, "mount": None, "organisations": ["*"]}, Location))
    assert location("test", "restored") != ExitCode.OK
    assert "was not noted" in location.said
    assert "[target-excluded]" in location.said
    assert location(*_add("theirs", "target", url, "--organisation", "another")) == ExitCode.REFUSED
    assert "[location-taken]" in location.said


def test_database_that_does_not_answer_is_registered_untested_alone(location: Command) -> None:
    """And what its address says that means nothing is refused."""
    banana = _add("db", "source", "postgresql://me@127.0.0.1:1/album?sslmode=banana")
    assert location.error(*banana)[1]["code"] == "invalid-field"
    words = _add("db", "source", "postgresql://me@127.0.0.1:1/album?sslmode=disable")
    told, error = location.error(*words)
    assert (told, error["code"]) == (ExitCode.NOT_FOUND, "source-unreachable")
    assert location(*words, "--untested") == ExitCode.OK
    assert location("test", "db", "--json") == ExitCode.NOT_FOUND
    (found,) = json.loads(location.said)["findings"]
    assert (found["check"], found["outcome"], found["code"]) == ("reachable", "failed", "source-unreachable")


@pytest.mark.parametrize(
    ("change", "times"), [(b'"comment": ""', 1), (b'"region": "M\xfcnchen"', 1), (b'"lock": false', 2)]
)
def test_faulty_entry_costs_itself_and_is_taken_away(
    location: Command, layout: Layout, photos: Path, change: bytes, times: int
) -> None:
    """A start, and what others add, keep it as it is written; it is listed as faulty, and removed by its name."""
    entry = (
        b'{"name":"t2","kind":"directory","roles":["tier"],"organisations":["*"],"url":"file:///t2",' + change + b"}"
    )
    whole = layout.locations_file.read_bytes()
    layout.locations_file.write_bytes(whole.replace(b"[", b"[" + (entry + b",") * times, 1))
    write_registry(layout, open_secrets(layout, roles=[], regions=s3.credential_names()))
    assert location(*_add("photos", "source", directory_url(photos))) == ExitCode.OK
    assert layout.locations_file.read_bytes().count(change.partition(b":")[2].strip()) >= times
    assert location("list") == ExitCode.DEGRADED
    assert "location t2: " in location.said
    assert location(*_add("t2", "tier", directory_url(photos.parent / "t2"))) == ExitCode.REFUSED
    assert location("test", "t2") != ExitCode.NOT_FOUND
    assert location("remove", "t2", "--anyway") == ExitCode.DEGRADED
    assert location("list") == ExitCode.OK
    assert "photos" in location.said
    assert "t2" not in location.said.replace(str(photos.parent), "")


def test_remove_needs_to_know_who_uses_a_location(location: Command, layout: Layout, photos: Path) -> None:
    """While nothing runs that is unknown, and told so; with --anyway it is gone, and its folder is not."""
    (photos / "IMG_1.JPG").write_bytes(b"first")
    assert location(*_add("photos", "source", directory_url(photos))) == ExitCode.OK
    told, error = location.error("remove", "photos")
    assert (told, error["code"], "cannot be known" in error["message"]) == (8, "stack-not-running", True)
    assert location("remove", "photos", "--anyway") == ExitCode.DEGRADED
    assert Locations(layout.locations_file).find("photos", layout.remembered.organisation) is None
    assert (photos / "IMG_1.JPG").read_bytes() == b"first"
    assert location("remove", "photos") == ExitCode.NOT_FOUND
    assert location("remove", "local", "--anyway") == ExitCode.REFUSED


def test_credentials_are_rotated_whole(
    location: Command, layout: Layout, monkeypatch: pytest.MonkeyPatch, photos: Path
) -> None:
    """The new ones take the place of the old; where they are not there, the old stay."""
    monkeypatch.setenv("NEW_ACCESS_KEY_ID", "FIRST")
    monkeypatch.setenv("NEW_SECRET_ACCESS_KEY", SECRET)
    words = _add("cloud", "tier", BUCKET, "--untested", "--organisation", "org-a", "--credentials", "env:NEW")
    assert location(*words) == ExitCode.OK
    path = layout.credentials / "org-a" / "cloud.json"
    monkeypatch.setenv("NEW_ACCESS_KEY_ID", "SECOND")
    assert location("rotate", "cloud", "--untested", "--credentials", "env:NEW") == ExitCode.OK
    assert json.loads(path.read_bytes()) == _pair("SECOND")
    assert location("rotate", "cloud", "--untested", "--credentials", "env:NOBODY") == ExitCode.REFUSED
    assert json.loads(path.read_bytes()) == _pair("SECOND")
    assert location("rotate", "offsite", "--credentials", "env:NEW") == ExitCode.USAGE
    assert location("remove", "cloud", "--anyway") == ExitCode.DEGRADED
    assert not path.exists()


def test_credentials_of_one_organisation_serve_no_other(layout: Layout) -> None:
    """An entry that would lend them to somebody else is no entry."""
    theirs = Location(
        name="x", kind="s3", roles=("tier",), organisations=("org-b",), url="s3://bucket/x", credentials="org-a/cloud"
    )
    register(layout, theirs)
    assert Locations(layout.locations_file).find("x", "org-b") is None


def test_tier_takes_nothing_out_of_a_source_s_backups(location: Command, photos: Path) -> None:
    """A folder of a source that holds somebody's files is no tier; an empty one, such as another disk's, may be."""
    full, empty = photos / "2027", photos / "disk"
    full.mkdir()
    (full / "IMG_1.JPG").touch()
    (empty / "lost+found").mkdir(parents=True)
    assert location(*_add("photos", "source", directory_url(photos))) == ExitCode.OK
    told, error = location.error(*_add("inner", "tier", directory_url(full)))
    assert (told, error["code"], error["field"]) == (ExitCode.REFUSED, "location-excluded", "url")
    assert "photos" in error["message"]
    assert [path.name for path in full.iterdir()] == ["IMG_1.JPG"]
    assert location(*_add("disk", "tier", directory_url(empty))) == ExitCode.OK
    separate = next(each for each in location.found() if each["check"] == "separate")
    assert (separate["outcome"], "lies in the source photos" in separate["detail"]) == ("warning", True)


def _repository(place: Path, key: Path) -> Path:
    """One with a folder of its own, as `repo` and an organisation have it."""
    assert main(["repo", "init", "--key-file", str(key), "--tier", directory_url(place)]) == ExitCode.OK
    return place


@pytest.mark.parametrize("there", ["photo.jpg", "Photos/1.jpg", "acme/photo.jpg", ".hidden"])
def test_tier_is_not_added_among_other_files_unasked(location: Command, tmp_path: Path, there: str) -> None:
    """Who clears their own folder clears the tier. What is meant is registered, and `test` goes on saying so."""
    disk = tmp_path / "disk"
    (disk / there).parent.mkdir(parents=True)
    (disk / there).touch()
    words = _add("disk", "tier", directory_url(disk))
    told, error = location.error(*words)
    assert (told, error["code"], error["field"]) == (ExitCode.REFUSED, "place-in-use", "url")
    assert there.split("/")[0] in error["message"]
    assert "--beside-other-files" in error["hint"]
    assert location(*words, "--beside-other-files") == ExitCode.OK
    assert location("test", "disk") == ExitCode.DEGRADED
    alone = next(each for each in location.found() if each["check"] == "alone")
    assert (alone["outcome"], alone["code"]) == ("warning", "place-in-use")
    assert [str(each.relative_to(disk)) for each in disk.rglob("*") if each.is_file()] == [there]


@pytest.mark.parametrize("inside", ["", "packs", "not-there-yet/../keys"])
def test_tier_is_never_added_within_a_repository(
    location: Command, layout: Layout, tmp_path: Path, inside: str
) -> None:
    """Neither with a word that it is meant; nor is one that is registered by hand taken for well."""
    repository = _repository(tmp_path / "disk" / "acme", tmp_path / "key")
    place = repository / inside
    (repository / "not-there-yet").mkdir()
    (repository / "packs").mkdir(exist_ok=True)
    for more in ((), ("--beside-other-files",)):
        told, error = location.error(*_add("disk", "tier", directory_url(place), *more))
        assert (told, error["code"], "repository" in error["message"]) == (ExitCode.REFUSED, "place-in-use", True)
    by_hand = Location(name="disk", kind="directory", roles=("tier",), organisations=("*",), url=directory_url(place))
    register(layout, by_hand)
    assert location("test", "disk") == ExitCode.REFUSED


def test_tier_that_organisations_had_used_is_added_again(location: Command, tmp_path: Path) -> None:
    """The registry may be lost; their repositories, whole or half begun, are no strangers."""
    disk = tmp_path / "disk"
    _repository(disk / "acme", tmp_path / "key")
    for each in ("begun/pending", "lost+found", "empty"):
        (disk / each).mkdir(parents=True)
    assert location(*_add("disk", "tier", directory_url(disk))) == ExitCode.OK
    assert next(each for each in location.found() if each["check"] == "alone")["outcome"] == "ok"


def test_tier_lies_in_no_home_of_another_platform(location: Command, tmp_path: Path) -> None:
    """What it has there is its own, and goes with it."""
    other = Layout.create(tmp_path / "another home")
    place = other.local_tier
    place.mkdir(parents=True)
    told, error = location.error(*_add("disk", "tier", directory_url(place)))
    assert (told, error["code"]) == (ExitCode.REFUSED, "location-excluded")
    assert str(other.home) in error["message"]


@pytest.mark.parametrize(
    "url",
    ["file:///", "file:///proc", "file:///sys", "file:///sys/fs/cgroup", "file:///dev", "file:///proc/self/fd"],
)
@pytest.mark.parametrize("role", ["source", "tier"])
def test_folder_that_the_kernel_shows_is_no_location(location: Command, role: str, url: str) -> None:
    """Nobody's files are there, and reading it may never end."""
    code, error = location.error(*_add("kernel", role, url))
    assert (code, error["code"], error["field"]) == (ExitCode.REFUSED, "location-excluded", "url")


def test_link_does_not_hide_what_the_kernel_shows(location: Command, tmp_path: Path) -> None:
    """It is told by the file system that the folder lies on."""
    (tmp_path / "link").symlink_to("/proc/sys")
    code, error = location.error(*_add("kernel", "source", directory_url(tmp_path / "link")))
    assert (code, error["code"]) == (ExitCode.REFUSED, "location-excluded")


def test_registry_that_is_gone_is_not_an_empty_one(location: Command, layout: Layout, photos: Path) -> None:
    """Nothing is listed as if nothing had been registered, nor made anew with one entry in the place of all."""
    layout.note_begun()
    layout.locations_file.unlink()
    for words in (("list",), _add("photos", "source", directory_url(photos)), ("remove", "photos", "--anyway")):
        code, error = location.error(*words)
        assert (code, error["code"]) == (ExitCode.FAILED, "home-unusable")
        assert "is gone, with all that was registered" in error["message"]
    assert not layout.locations_file.exists()
    write_registry(layout, open_secrets(layout, roles=[], regions=s3.credential_names()))
    assert location("list") == ExitCode.OK


def test_bucket_in_which_a_tier_lies_is_a_source_with_a_warning(
    location: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who saves all of it would save the tier with it, and is refused at the first run; a part beside it is well."""
    monkeypatch.setenv("OUR_ACCESS_KEY_ID", "KEY")
    monkeypatch.setenv("OUR_SECRET_ACCESS_KEY", SECRET)
    more = ("--untested", "--credentials", "env:OUR")
    assert location(*_add("cloud", "tier", BUCKET, *more)) == ExitCode.OK
    assert location(*_add("album", "source", BUCKET.replace("/tier", "/photos"), *more)) == ExitCode.OK
    assert "warning" not in location.said
    assert location(*_add("whole", "source", BUCKET.replace("/tier", ""), *more)) == ExitCode.OK
    assert "warning: in it lies the tier cloud. Let each configuration name a part" in location.said
    assert location(*_add("again", "source", BUCKET.replace("/tier", ""), *more, "--organisation", "b", "--json")) == 0
    (finding,) = json.loads(location.said.splitlines()[0])["findings"]
    assert (finding["check"], finding["outcome"]) == ("separate", "warning")


def test_command_that_answers_other_tiers_is_printed_whole(layout: Layout) -> None:
    """Addresses and where the credentials lie, of each tier; no secret; and as a shell takes it."""
    tiers = [
        Location(name="disk", kind="directory", roles=("tier",), organisations=("*",), url="file:///a%20disk"),
        Location(name="cloud", kind="s3", roles=("tier",), organisations=("*",), url=BUCKET, credentials="acme/cloud"),
    ]
    keys = layout.platform_keys
    assert shlex.split(repair_command(tiers[0], tiers[1:], keys, "acme")) == [
        *("wedsync-backup", "repo", "repair", "--accept-history", "disk"),
        *("--key-file", str(keys / name_of("acme"))),
        *("--tier", "disk=file:///a%20disk/acme", "--tier", f"cloud={BUCKET.replace('/tier', '/tier/acme')}"),
        *("--credentials", f"cloud=file:{keys / 'credentials' / 'acme' / 'cloud.json'}"),
    ]


@pytest.mark.parametrize("action", ["begin-anew", "accept-history"])
def test_slip_in_what_a_tier_s_command_is_about_is_told(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """By code, with the nearest name: nothing was done. What was begun at a location that is no more is known."""
    asked: list[str] = []

    def answered(_layout: Layout, query: str, _parameters: dict[str, str | None]) -> list[tuple[object, ...]]:
        asked.append(query)
        return [("old-disk", "gone-studio")] if query == tiers.REMEMBERED else []

    monkeypatch.setattr(tiers, "_query", answered)
    monkeypatch.setattr("deploy.stack.state.running_state", lambda *_: None)
    monkeypatch.setattr("deploy.locations.usage.begun", lambda _: [])

    def told(*words: str) -> tuple[int, str]:
        asked.clear()
        code = main(["tiers", action, *words, "--home", str(layout.home)])
        return code, (said := capsys.readouterr()).out + said.err

    for words, code, meant in (
        (("ofsite",), "unknown-location", "Is offsite meant?"),
        (("old-dsk",), "unknown-location", "Is old-disk meant?"),
        (("offsite", "--organisation", "gone-stdio"), "unknown-organisation", "Is gone-studio meant?"),
    ):
        exit_code, said = told(*words)
        assert (exit_code, f"[{code}]" in said, meant in said) == (ExitCode.NOT_FOUND, True, True), said
        assert asked == [tiers.REMEMBERED], "nothing is forgotten"
    for known in (("offsite",), ("old-disk", "--organisation", "gone-studio")):
        exit_code, said = told(*known)
        assert (exit_code, "nothing is to be done" in said) == (ExitCode.NOT_FOUND, True), said


def test_list_of_an_organisation_that_there_is_not_is_refused(location: Command, photos: Path) -> None:
    """An empty list would say that it has no places. One that a place was opened to is known."""
    assert location("list", "--organisation", "acme-wedings") == ExitCode.NOT_FOUND
    assert "[unknown-organisation]" in location.said
    assert location(*_add("photos", "source", directory_url(photos), "--organisation", "acme-weddings")) == ExitCode.OK
    assert location("list", "--organisation", "acme-weddings") == ExitCode.OK
    assert location("list", "--organisation", "acme-wedings") == ExitCode.NOT_FOUND
    assert "Is acme-weddings meant?" in location.said
