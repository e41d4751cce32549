"""Where a recovery may write: below its location, and never where something of the platform or a backup lies."""

import json
import os
from pathlib import Path

import pytest

from chassis.locations import Locations
from chassis.own_folders import OwnFolders
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.recovery_events import ConflictPolicy
from repository.restore.names import MARKER_PREFIX
from vault.targets import target_folder

SNAPSHOT = "5f0c3a9b8d7e6f5041322314051627384950a1b2c3d4e5f60718293a4b5c6d7e"


def _look(home: Path, path: str = "", *, location: str = "restored", policy: str = "refuse") -> bytes:
    for name in ("restored/keys", "restored/tier/org-a", "restored/source"):
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
    registry.write_text(json.dumps({"locations": locations}))
    return target_folder(
        Locations(registry),
        OwnFolders([home / "restored" / "keys"]),
        "org-a",
        location_name=location,
        relative=path,
        policy=ConflictPolicy(policy),
        snapshot_id=SNAPSHOT,
    )


@pytest.mark.parametrize(
    ("path", "more", "code"),
    [
        ("new", {"location": "photos"}, errors.UNKNOWN_LOCATION),
        ("new", {"location": "gone"}, errors.TARGET_UNUSABLE),
        ("../elsewhere", {}, errors.PATH_OUTSIDE_LOCATION),
        ("keys/new", {}, errors.TARGET_EXCLUDED),
        ("tier/org-a/new", {}, errors.TARGET_EXCLUDED),
        ("", {"policy": "overwrite"}, errors.TARGET_EXCLUDED),
        ("source/new", {"policy": "overwrite"}, errors.TARGET_NEEDS_APPROVAL),
        ("source", {"policy": "rename"}, errors.TARGET_NEEDS_APPROVAL),
        ("source", {"policy": "skip"}, errors.TARGET_NEEDS_APPROVAL),
    ],
)
def test_target_that_must_not_be_is_refused(tmp_path: Path, path: str, more: dict[str, str], code: ErrorCode) -> None:
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
