"""The platform's own folders, by whatever name."""

import os
import subprocess
from pathlib import Path

import pytest

from chassis.own_folders import OwnFolders, may_lead_to
from tests.support.hung_mount import hung_mount


@pytest.fixture
def own(tmp_path: Path) -> OwnFolders:
    for name in ("keys/platform/organisations", "data/tiers/local", "data/postgres", "photos"):
        (tmp_path / name).mkdir(parents=True)
    folders = [tmp_path / "keys", tmp_path / "data", tmp_path / "away"]
    return OwnFolders(folders, open_to_tiers=[tmp_path / "data" / "tiers"])


@pytest.mark.parametrize(
    ("name", "is_own", "is_own_as_tier"),
    [
        ("photos", False, False),
        ("photos/not-yet/there", False, False),
        (".", False, False),
        ("keys", True, True),
        ("keys/platform/organisations", True, True),
        ("keys/not-yet/there", True, True),
        ("photos/../keys/platform", True, True),
        ("data/postgres", True, True),
        ("data/tiers/local", True, False),
    ],
)
def test_folder_and_what_lies_below_it_is_held(
    tmp_path: Path, own: OwnFolders, name: str, is_own: bool, is_own_as_tier: bool
) -> None:
    """Also what is not there yet; tiers may lie where that is said."""
    path = os.fsencode(tmp_path / name)
    assert (own.hold(path), own.hold_tier(path)) == (is_own, is_own_as_tier)


def test_symlink_is_what_it_leads_to(tmp_path: Path, own: OwnFolders) -> None:
    """A link among the photos is the way to the keys."""
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "keys" / "platform")
    assert own.hold(os.fsencode(tmp_path / "photos" / "link"))


def test_mount_of_a_subfolder_is_what_it_shows(tmp_path: Path, own: OwnFolders) -> None:
    """A bind mount has no way up to the folder that it was taken from."""
    shown = tmp_path / "photos" / "with space"
    shown.mkdir()
    done = subprocess.run(
        ["mount", "--bind", str(tmp_path / "keys" / "platform"), str(shown)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"nothing may be mounted here: {done.stderr.decode().strip()}")
    try:
        assert own.hold(os.fsencode(shown))
        assert own.hold(os.fsencode(shown / "organisations"))
        assert os.fsencode(shown) in own.places()
        assert not own.hold(os.fsencode(tmp_path / "photos"))
    finally:
        subprocess.run(["umount", "-l", str(shown)], check=True)
    assert not own.hold(os.fsencode(shown))


def test_disk_that_is_gone_is_not_said_to_hold_nothing_of_ours(tmp_path: Path, own: OwnFolders) -> None:
    """What its server does not say any more is unknown, for a tier there and for a folder of our own there."""
    (tmp_path / "tier").mkdir()
    with hung_mount(tmp_path / "tier") as mount:
        mount.die()
        with pytest.raises(OSError):
            own.hold_tier(os.fsencode(tmp_path / "tier" / "local"))
        theirs = OwnFolders([tmp_path / "tier" / "keys"])
        with pytest.raises(OSError):
            theirs.hold(os.fsencode(tmp_path / "photos"))


def test_whether_a_source_may_lead_to_a_silent_disk_is_told_without_asking_it(tmp_path: Path) -> None:
    """It may from above the mount, wherever it is mounted from; from beside it nothing leads there."""
    for name in ("photos", "disks/tier"):
        (tmp_path / name).mkdir(parents=True)
    tier = os.fsencode(tmp_path / "disks" / "tier" / "local")
    assert may_lead_to(os.fsencode(tmp_path / "photos"), tier), "they are on one disk"
    with hung_mount(tmp_path / "disks" / "tier"):
        assert not may_lead_to(os.fsencode(tmp_path / "photos"), tier)
        assert may_lead_to(os.fsencode(tmp_path / "disks"), tier)
        assert may_lead_to(os.fsencode(tmp_path), tier)
