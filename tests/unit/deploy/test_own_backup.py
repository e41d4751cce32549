"""The platform's own backup: its kit, where it lies, and what is said of it."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chassis.location import ANY_ORGANISATION, Location
from contracts.errors import PlatformError
from deploy.stack import s3
from deploy.stack.layout import Layout
from deploy.stack.locations import register, write_registry
from deploy.stack.own_backup.findings import findings_of, lines_of
from deploy.stack.own_backup.keeping import SelfBackup
from deploy.stack.own_backup.kit import (
    KEY,
    KIT,
    is_current,
    key_path,
    place_in,
    read_kit,
    usual_folder,
    write_kit,
)
from deploy.stack.own_backup.memory import NAME, Memory, Position, Trouble, changed, read_memory
from deploy.stack.own_backup.places import places_of, refuse_useless
from deploy.stack.own_backup.positions import behind
from deploy.stack.own_backup.rebuilding import rebuild
from deploy.stack.secrets import open_secrets
from repository.errors import KeyFileInvalid, KitInvalid, KitNotMade

NOW = datetime(2027, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home with its own tiers registered."""
    layout = Layout.create(tmp_path / "home")
    layout.remembered.ports = {name: 20_000 + number for number, name in enumerate(s3.port_names())}
    write_registry(layout, open_secrets(layout, roles=[], regions=s3.credential_names()))
    return layout


def _tier(name: str, *, organisation: str = ANY_ORGANISATION, credentials: str | None = None) -> Location:
    url = f"s3://{name}/prefix?endpoint=https://s3.example.com" if credentials else f"file:///srv/{name}"
    kind = "s3" if credentials else "directory"
    return Location(
        name=name, kind=kind, roles=("tier",), organisations=(organisation,), url=url, credentials=credentials
    )  # type: ignore[arg-type]


def _with_kit(layout: Layout, folder: Path) -> Memory:
    write_kit(layout, folder, NOW)
    return read_memory(layout.home)


def test_kit_holds_key_addresses_and_credentials(layout: Layout, tmp_path: Path) -> None:
    """It reads as it was written; of a tier elsewhere it has what that wants to be shown."""
    (layout.credentials / "bucket.json").write_text('{"accessKeyId": "a", "secretAccessKey": "b"}')
    register(layout, _tier("bucket", credentials="bucket"))
    _with_kit(layout, tmp_path / "kit")
    kit = read_kit(tmp_path / "kit")
    assert [each.name for each in kit.tiers] == ["local", "bucket"]
    assert (tmp_path / "kit" / KEY).read_bytes() == key_path(layout).read_bytes()
    place = place_in(kit, tmp_path / "kit", "bucket")
    assert place.url.startswith("s3://bucket/prefix/platform-self-backup?")
    assert place.credentials is not None
    assert place.credentials.read_bytes() == (layout.credentials / "bucket.json").read_bytes()
    assert place_in(kit, tmp_path / "kit", "file:///copy").url == "file:///copy"
    with pytest.raises(KitInvalid, match="names no tier offsite"):
        place_in(kit, tmp_path / "kit", "offsite")


def test_platform_is_saved_where_it_can_be_read_without_it(layout: Layout) -> None:
    """The local tier and what all organisations share; what an operator names counts instead of that."""
    register(layout, _tier("shared"))
    register(layout, _tier("one-studio", organisation="org-1"))
    assert [each.name for each in places_of(layout, Memory())] == ["local", "shared"]
    assert [each.name for each in places_of(layout, Memory(tiers=["one-studio"]))] == ["one-studio"]
    with pytest.raises(PlatformError, match="no registered tier"):
        places_of(layout, Memory(tiers=["gone"]))
    with pytest.raises(PlatformError, match="its server is a part of it"):
        refuse_useless(["local", "offsite"])


def test_kit_is_written_over_no_other(layout: Layout, tmp_path: Path) -> None:
    """Neither over files, nor over another platform's kit, nor into the home; over its own it is."""
    _with_kit(layout, tmp_path / "kit")
    _with_kit(layout, tmp_path / "kit")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").touch()
    with pytest.raises(KitNotMade, match="other files"):
        _with_kit(layout, tmp_path / "files")
    with pytest.raises(KitNotMade, match="lost with it"):
        _with_kit(layout, layout.home / "kit")
    layout.remembered.instance = "another"
    with pytest.raises(KitNotMade, match="another platform"):
        _with_kit(layout, tmp_path / "kit")


def test_key_that_was_given_out_is_never_made_anew(layout: Layout, tmp_path: Path) -> None:
    """Another key would open nothing of what was saved: the kit has the one that does."""
    _with_kit(layout, tmp_path / "kit")
    key_path(layout).unlink()
    with pytest.raises(KeyFileInvalid) as refused:
        write_kit(layout, tmp_path / "kit", NOW)
    assert "Put it back from the recovery kit" in str(refused.value.hint)


def test_first_kit_is_written_once(layout: Layout) -> None:
    """It belongs elsewhere: where it was taken there, the next start makes none in its old place."""
    told: list[str] = []
    SelfBackup(layout, told.append).first_kit()
    assert read_kit(usual_folder(layout)).instance == layout.remembered.instance
    shutil.rmtree(usual_folder(layout))
    SelfBackup(layout, told.append).first_kit()
    assert not usual_folder(layout).exists()
    assert len(told) == 1


def test_first_kit_that_cannot_be_written_stops_no_start(layout: Layout) -> None:
    """Files in its place are left as they are; it is said once and stays a finding."""
    usual_folder(layout).mkdir()
    (usual_folder(layout) / "photo.jpg").touch()
    told: list[str] = []
    SelfBackup(layout, told.append).first_kit()
    (found,) = findings_of(layout, NOW)
    assert (len(told), "other files" in told[0], "other files" in (found.reason or "")) == (1, True, True)
    assert [each.name for each in usual_folder(layout).iterdir()] == ["photo.jpg"]


def test_kit_of_before_is_a_finding(layout: Layout, tmp_path: Path) -> None:
    """A tier that was added since is not in it; nor would new credentials be."""
    memory = _with_kit(layout, tmp_path / "kit")
    assert is_current(layout, memory)
    assert not findings_of(layout, NOW)
    register(layout, _tier("shared"))
    (found,) = findings_of(layout, NOW)
    assert (found.name, "have changed since" in (found.reason or "")) == ("kit", True)


def test_what_is_overdue_is_a_finding(layout: Layout, tmp_path: Path) -> None:
    """A backup that is a day old, with why; a kit that nobody has tried for a quarter of a year."""
    _with_kit(layout, tmp_path / "kit")
    with changed(layout) as memory:
        memory.trouble = Trouble(at=NOW, words="no tier answers")
    (found,) = findings_of(layout, NOW + timedelta(hours=27))
    assert found.name == "own-backup"
    assert "last never: no tier answers" in (found.reason or "")
    with changed(layout) as memory:
        memory.whole_at = NOW + timedelta(days=93)
    (found,) = findings_of(layout, NOW + timedelta(days=93))
    assert "was not tried for 93 d" in (found.reason or "")
    assert "in this home alone" in lines_of(layout, NOW)[0]


def test_no_kit_and_no_memory_are_findings(layout: Layout) -> None:
    """What was never written, and what cannot be read, is said."""
    assert not findings_of(layout, NOW), "it was never started"
    with changed(layout) as memory:
        memory.trouble = Trouble(at=NOW, words="the folder holds other files")
    (found,) = findings_of(layout, NOW)
    assert "no recovery kit was written: the folder holds other files" in (found.reason or "")
    (layout.home / NAME).write_text("{")
    (found,) = findings_of(layout, NOW)
    assert "cannot be read" in (found.reason or "")


def test_record_that_is_less_than_what_was_saved_is_named() -> None:
    """By service: fewer events, another log, or none at all."""
    saved = [Position(service=each, log="a", last=7) for each in ("gateway", "config", "executor", "dr")]
    found = [
        Position(service="gateway", log="a", last=9),
        Position(service="config", log="a", last=6),
        Position(service="executor", log="b", last=7),
    ]
    assert [each.partition(":")[0] for each in behind(found, saved)] == ["config", "executor", "dr"]


def test_rebuild_touches_nothing_that_is_there(layout: Layout, tmp_path: Path) -> None:
    """A home that holds something is put aside by its operator, or not at all."""
    _with_kit(layout, tmp_path / "kit")
    kit = read_kit(tmp_path / "kit")
    place = place_in(kit, tmp_path / "kit", "local")
    with pytest.raises(PlatformError, match="nothing was brought back"):
        rebuild(tmp_path / "kit", place, layout.home, snapshot=None, say=print)
    (tmp_path / "kit" / KIT).write_text("{}")
    with pytest.raises(KitInvalid):
        read_kit(tmp_path / "kit")
