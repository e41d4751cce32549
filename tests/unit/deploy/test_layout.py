"""The home of a platform."""

import os
import stat
from pathlib import Path

import msgspec
import pytest

from chassis.ids import is_id
from contracts.errors import HOME_NOT_FOUND, HOME_UNUSABLE, STACK_NOT_RUNNING, PlatformError
from deploy.stack.begun import CLUSTER, LAYOUT, STORES
from deploy.stack.layout import Layout
from deploy.stack.secrets import open_secrets, read_secrets


def test_home_is_its_owner_s_alone(tmp_path: Path) -> None:
    """Every folder of a new home is closed to others, and every file in it."""
    layout = Layout.create(tmp_path / "a home")
    open_secrets(layout, roles=["r"], regions=["s"])
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [layout.home, *layout.home.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_port_that_was_never_given_is_no_crash(tmp_path: Path) -> None:
    """A home that was never started, or by a build that had no such part."""
    with pytest.raises(PlatformError, match="has no port for gateway yet") as caught:
        Layout.create(tmp_path / "home").port("gateway")
    assert caught.value.code is STACK_NOT_RUNNING


def test_home_is_found_as_it_was_made(tmp_path: Path) -> None:
    """Instance, organisation and ports of the first start are those of the second."""
    first = Layout.create(tmp_path / "home")
    first.remembered.ports = {"gateway": 20_001}
    first.remember()
    second = Layout.create(tmp_path / "home")
    assert second.remembered == first.remembered == Layout.find(tmp_path / "home").remembered
    assert is_id(second.remembered.instance)
    assert second.gateway_url == "http://127.0.0.1:20001"


def test_find_says_that_no_platform_was_started(tmp_path: Path) -> None:
    """Looking for a home does not make one."""
    (tmp_path / "there").mkdir()
    for name, why in (("nowhere", "no such folder"), ("there", "ever started")):
        with pytest.raises(PlatformError, match=why) as refusal:
            Layout.find(tmp_path / name)
        assert refusal.value.code is HOME_NOT_FOUND
    assert not (tmp_path / "nowhere").exists()


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    """A slip of the pen in --home does not spread a platform over somebody's folder."""
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(PlatformError, match="holds other files") as refusal:
        Layout.create(tmp_path)
    assert refusal.value.code is HOME_UNUSABLE
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("there", ["run/lock", "keys/secrets.json", "data/postgres"])
def test_home_that_has_lost_its_layout_is_gone_on_with_by_command_alone(tmp_path: Path, there: str) -> None:
    """Copies that were put into a new folder are no stranger's files; and nothing is made anew beside them."""
    path = tmp_path / there
    path.parent.mkdir()
    path.touch() if there == "run/lock" else path.mkdir()
    for look in (Layout.create, Layout.find):
        with pytest.raises(PlatformError, match="its layout") as refusal:
            look(tmp_path)
        assert "up --begin-anew layout.json" in refusal.value.hint
    assert sorted(tmp_path.rglob("*")) == sorted({path, path.parent})
    # Where the database is not there, its disk may not be mounted; where it is, its keys are missed.
    lost = "lacks keys" if there == CLUSTER else "lacks data that was there before: data/postgres"
    with pytest.raises(PlatformError, match=lost):
        Layout.create(tmp_path, begin_anew=[LAYOUT])
    assert not (tmp_path / "layout.json").exists()
    if there != CLUSTER:
        begun = Layout.create(tmp_path, begin_anew=[LAYOUT, CLUSTER]).remembered.begun
        assert set(begun) == set(STORES)


def test_folder_with_a_folder_for_locks_is_no_home(tmp_path: Path) -> None:
    """As the root of every Linux has one: nothing is gone on with there, by no command."""
    (tmp_path / "run/lock").mkdir(parents=True)
    with pytest.raises(PlatformError, match="is no home of a platform"):
        Layout.find(tmp_path)
    for begin_anew in ([], [LAYOUT, CLUSTER]):
        with pytest.raises(PlatformError, match="holds other files"):
            Layout.create(tmp_path, begin_anew=begin_anew)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.parametrize("is_new", [True, False])
def test_home_of_another_user_is_refused_untouched(tmp_path: Path, *, is_new: bool) -> None:
    """What root writes into somebody's home, its owner could not read: it would be unusable for him from then on."""
    home = tmp_path / "home"
    if is_new:
        home.mkdir()
    else:
        Layout.create(home)
        (home / "logs").rmdir()
    os.chown(home, 54_321, 54_321)
    before = sorted(home.rglob("*"))
    with pytest.raises(PlatformError, match="another user's") as refusal:
        Layout.create(home)
    assert (refusal.value.code, "#54321" in str(refusal.value.hint)) == (HOME_UNUSABLE, True)
    assert sorted(home.rglob("*")) == before


def test_home_that_lost_a_race_with_a_crash_is_completed(tmp_path: Path) -> None:
    """A draft of layout.json that a crash left behind does not make the folder a stranger's."""
    (tmp_path / ".layout.json.1234abcd").touch()
    assert Layout.create(tmp_path).keys.is_dir()


@pytest.mark.parametrize(
    ("content", "message"), [(b"{", "cannot be understood"), (b'{"version":2}', "cannot be understood")]
)
def test_layout_that_cannot_be_read_is_not_replaced(tmp_path: Path, content: bytes, message: str) -> None:
    """A damaged layout.json is reported, and left for a person to look at."""
    layout = Layout.create(tmp_path / "home")
    (layout.home / "layout.json").write_bytes(content)
    with pytest.raises(PlatformError, match=message):
        Layout.create(layout.home)
    assert (layout.home / "layout.json").read_bytes() == content


def test_home_of_a_newer_build_is_refused(tmp_path: Path) -> None:
    """An older build does not touch what it does not know."""
    layout = Layout.create(tmp_path / "home")
    layout.remembered.version = 2
    layout.remember()
    with pytest.raises(PlatformError, match="version 2, this build knows version 1"):
        Layout.create(layout.home)


def test_home_below_a_file_is_refused(tmp_path: Path) -> None:
    """A home that cannot be made is an error with a hint, not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(PlatformError) as refusal:
        Layout.create(tmp_path / "file" / "home")
    assert refusal.value.code is HOME_UNUSABLE


def test_home_whose_path_is_not_utf_8_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """Reports and configurations could not name it; the refusal itself can be printed."""
    home = tmp_path / os.fsdecode(b"h-\xff") / "home"
    with pytest.raises(PlatformError, match=r"h-\\udcff/home is not UTF-8") as refusal:
        Layout.create(home)
    assert refusal.value.code is HOME_UNUSABLE
    str(refusal.value).encode()
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_made_once_and_completed_later(tmp_path: Path) -> None:
    """A new build's role gets a password; those that are in use stay as they are."""
    layout = Layout.create(tmp_path / "home")
    first = msgspec.to_builtins(open_secrets(layout, roles=["a"], regions=["x"]))
    second = open_secrets(layout, roles=["a", "b"], regions=["x", "y"])
    assert second.postgres_admin == first["postgresAdmin"]
    assert second.postgres_roles["a"] == first["postgresRoles"]["a"]
    assert msgspec.to_builtins(second.s3["x"]) == first["s3"]["x"]
    assert len({second.postgres_admin, *second.postgres_roles.values()}) == 3
    assert all(len(password) == 64 for password in second.postgres_roles.values())
    assert read_secrets(layout) == second


def test_damaged_secrets_are_not_replaced_by_new_ones(tmp_path: Path) -> None:
    """New passwords would lock the platform out of its own record."""
    layout = Layout.create(tmp_path / "home")
    layout.secrets_file.write_text("{")
    with pytest.raises(PlatformError, match="cannot be read"):
        open_secrets(layout, roles=["a"], regions=[])
    assert layout.secrets_file.read_text() == "{"
