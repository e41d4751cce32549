"""Where a recovery may write: below its location, and never where something of the platform or a backup lies."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from chassis.disk import Disk
from chassis.locations import Locations
from chassis.own_folders import OwnFolders
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.recovery_events import ConflictPolicy
from repository.restore.names import MARKER_PREFIX
from tests.support.hung_mount import hung_mount
from vault.targets import target_folder

SNAPSHOT = "5f0c3a9b8d7e6f5041322314051627384950a1b2c3d4e5f60718293a4b5c6d7e"


def _look(
    home: Path,
    path: str = "",
    *,
    location: str = "restored",
    policy: str = "refuse",
    more: tuple[tuple[str, str, str], ...] = (),
) -> bytes:
    """`more`: role, organisation and folder below the home of locations besides."""
    for name in ("restored/keys", "restored/around/logs", "restored/tier/org-a", "restored/source"):
        (home / name).mkdir(parents=True, exist_ok=True)
    entries = [
        ("restored", "target", home / "restored"),
        ("tier", "tier", home / "restored" / "tier"),
        ("photos", "source", home / "restored" / "source"),
        ("gone", "target", home / "gone"),
    ]
    registry = home / "locations.json"
    locations = [
        {"name": name, "kind": "directory", "roles": [role], "organisations": ["org-a"], "url": f"file://{place}"}
        for name, role, place in entries
    ]
    locations += [
        {
            "name": f"more-{Path(at).name}",
            "kind": "directory",
            "roles": [role],
            "organisations": [who],
            "url": f"file://{home}/{at}",
        }
        for role, who, at in more
    ]
    registry.write_text(json.dumps({"locations": locations}))
    return target_folder(
        Locations(registry),
        OwnFolders([home / "restored" / "keys", home / "restored" / "around" / "logs"]),
        "org-a",
        location_name=location,
        relative=path,
        policy=ConflictPolicy(policy),
        snapshot_id=SNAPSHOT,
        disk=cache(lambda folder: Disk(Path(os.fsdecode(folder)))),
    )


@pytest.mark.parametrize(
    ("path", "more", "code"),
    [
        ("new", {"location": "photos"}, errors.UNKNOWN_LOCATION),
        ("new", {"location": "gone"}, errors.TARGET_UNUSABLE),
        ("../elsewhere", {}, errors.PATH_OUTSIDE_LOCATION),
        ("keys/new", {}, errors.TARGET_EXCLUDED),
        ("around", {}, errors.TARGET_EXCLUDED),
        ("tier/org-a/new", {}, errors.TARGET_EXCLUDED),
        ("", {"policy": "overwrite"}, errors.TARGET_EXCLUDED),
        ("source/new", {"policy": "overwrite"}, errors.TARGET_NEEDS_APPROVAL),
        ("source", {"policy": "rename"}, errors.TARGET_NEEDS_APPROVAL),
        ("source", {"policy": "skip"}, errors.TARGET_NEEDS_APPROVAL),
        ("new", {"location": "more-all", "more": (("target", "*", "all"),)}, errors.TARGET_EXCLUDED),
        ("sub", {"more": (("target", "org-z", "restored/sub/theirs"),)}, errors.TARGET_EXCLUDED),
    ],
)
def test_target_that_must_not_be_is_refused(tmp_path: Path, path: str, more: dict[str, Any], code: ErrorCode) -> None:
    """By its own code; around what is excluded as well as in it."""
    with pytest.raises(PlatformError) as raised:
        _look(tmp_path, path, **more)
    assert raised.value.code is code
    assert raised.value.field in {"targetLocation", "targetPath"}


def test_target_is_a_new_folder_or_one_that_the_same_point_has_left_unfinished(tmp_path: Path) -> None:
    """Anything else in it is refused, and nothing is made by looking."""
    assert _look(tmp_path, "new/below") == os.fsencode(tmp_path / "restored" / "new" / "below")
    folder = tmp_path / "restored" / "new"
    assert not folder.exists()
    folder.mkdir()
    (folder / "IMG_1.jpg").write_bytes(b"half")
    with pytest.raises(PlatformError) as raised:
        _look(tmp_path, "new")
    assert raised.value.code is errors.TARGET_NOT_EMPTY
    (folder / os.fsdecode(MARKER_PREFIX + SNAPSHOT[:16].encode())).touch()
    assert _look(tmp_path, "new") == os.fsencode(folder)
    assert _look(tmp_path, "other", policy="overwrite") == os.fsencode(tmp_path / "restored" / "other")


@pytest.mark.parametrize(("role", "who", "policy"), [("tier", "org-z", "refuse"), ("source", "org-a", "overwrite")])
def test_dead_mount_elsewhere_keeps_nothing_from_being_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, who: str, policy: str
) -> None:
    """Of a tier or a source, whosever it is: where nothing leads to it from the target, its silence says nothing."""
    monkeypatch.setattr("vault.neighbours.ANSWER_SECONDS", 0.2)
    (tmp_path / "dead").mkdir()
    with hung_mount(tmp_path / "dead"):
        assert _look(tmp_path, "new", policy=policy, more=((role, who, "dead"),)).endswith(b"/restored/new")


@pytest.mark.parametrize(("who", "shown"), [("org-a", "the tier more-dead"), ("org-z", "another organisation")])
def test_dead_mount_below_a_target_is_named_and_not_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str, shown: str
) -> None:
    """It may be in what is to be written: that is told by the name of what hangs, where it may be known."""
    monkeypatch.setattr("vault.neighbours.ANSWER_SECONDS", 0.2)
    (tmp_path / "restored" / "sub" / "dead").mkdir(parents=True)
    with hung_mount(tmp_path / "restored" / "sub" / "dead"), pytest.raises(PlatformError) as raised:
        _look(tmp_path, "sub", more=(("tier", who, "restored/sub/dead"),))
    assert (raised.value.code, raised.value.field) == (errors.LOCATION_SILENT, "targetPath")
    assert shown in raised.value.hint
    assert ("more-dead" in raised.value.hint) is (who == "org-a")
