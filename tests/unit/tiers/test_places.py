"""Two tiers that are one place, by whatever address, and places where other files lie."""

import os
from pathlib import Path

import pytest

from repository.errors import LocationInvalid, PlaceInUse
from repository.tiers.location import directory_path, open_tier
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.places import (
    refuse_among_others,
    refuse_key_within,
    refuse_nested,
    refuse_one_place_twice,
    refuse_within_repository,
)


def refused(*addresses: str) -> bool:
    """Whether these tiers are refused."""
    try:
        refuse_one_place_twice([(f"tier {number}", address) for number, address in enumerate(addresses)])
    except LocationInvalid as error:
        return error.context == {"tier": f"tier {len(addresses) - 2}", "other": f"tier {len(addresses) - 1}"}
    return False


def test_folder_is_one_place_by_whatever_path(tmp_path: Path) -> None:
    """Links, dots and escapes lead to one folder, whether it is there already or not."""
    (tmp_path / "there").mkdir()
    os.symlink("there", tmp_path / "link")
    os.symlink(tmp_path, tmp_path / "up")
    here = f"file://{tmp_path}"
    assert refused(f"{here}/there", f"{here}/there/")
    assert refused(f"{here}/there", f"{here}/other/../there")
    assert refused(f"{here}/other", f"{here}/there", f"{here}/link")
    assert refused(f"{here}/there", f"{here}/th%65re")
    assert refused(f"{here}/not/yet", f"{here}/up/not/yet")
    assert refused(f"{here}/there/below", f"{here}/link/below")
    assert not refused(f"{here}/there", f"{here}/other", f"{here}/there/below", f"{here}/THERE")


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("s3://photos/a", "s3://photos/a/?region=eu-central-1", True),
        ("s3://photos", "s3://photos?endpoint=https://s3.eu-central-1.amazonaws.com", True),
        ("s3://photos?endpoint=http://127.0.0.1:9000", "s3://photos?endpoint=http://localhost:9000/", True),
        ("s3://photos?endpoint=https://s3.example", "s3://photos?endpoint=https://S3.Example:443", True),
        ("s3://photos?endpoint=https://s3.example", "s3://photos?endpoint=https://s3.example&requests=3", True),
        ("s3://photos/a", "s3://photos/b", False),
        ("s3://photos", "s3://videos", False),
        ("s3://photos?endpoint=https://s3.example", "s3://photos", False),
        ("s3://photos?endpoint=http://127.0.0.1:9000", "s3://photos?endpoint=http://127.0.0.1:9001", False),
    ],
)
def test_bucket_is_one_place_by_whatever_address(first: str, second: str, is_one: bool) -> None:
    """Server, bucket and prefix make the place; how they are spelled and used does not."""
    assert refused(first, second) is is_one


@pytest.mark.parametrize(
    ("inner", "outer", "is_nested"),
    [
        ("there/below", "there", True),
        ("not/yet/below", "not/yet", True),
        ("link/below/deep", "there", True),
        ("there", "there", False),
        ("therefore", "there", False),
        ("s3://photos/a/b", "s3://photos/a", True),
        ("s3://photos/a", "s3://photos", True),
        ("s3://photos/ab", "s3://photos/a", False),
        ("s3://videos/a", "s3://photos", False),
        ("s3://photos", "there", False),
        ("there", "s3://photos", False),
    ],
)
def test_tier_within_another_one_is_no_second_copy(tmp_path: Path, inner: str, outer: str, is_nested: bool) -> None:
    """Whoever loses the outer one has lost both; one that is there already stops nobody who adds another."""
    (tmp_path / "there").mkdir()
    os.symlink("there", tmp_path / "link")
    first, second = (each if "//" in each else f"file://{tmp_path}/{each}" for each in (inner, outer))
    for tiers in ([("in", first), ("out", second)], [("out", second), ("in", first)]):
        for new in (None, "in", "out"):
            if not is_nested:
                refuse_nested(tiers, new)
                continue
            with pytest.raises(LocationInvalid) as info:
                refuse_nested(tiers, new)
            assert info.value.context == {"tier": "in", "other": "out"}
        refuse_nested(tiers, "third")


def test_key_file_lies_beside_nothing_that_it_opens(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    os.symlink("there", tmp_path / "link")
    tiers = ["s3://photos", f"file://{tmp_path}/there"]
    for within in ("there/key", "link/key", "there/sub/key"):
        with pytest.raises(LocationInvalid, match="beside what it opens"):
            refuse_key_within(str(tmp_path / within), tiers)
    refuse_key_within(str(tmp_path / "key"), tiers)


def test_place_with_other_files_is_refused(tmp_path: Path) -> None:
    """Names that no object has count too; what a file system or an interrupted `init` leaves does not."""
    address = f"file://{tmp_path}/place"
    store = open_tier(address)
    refuse_among_others(store, address)
    for name in ("lost+found", "keys", "pending"):
        (tmp_path / "place" / name).mkdir(parents=True)
    (tmp_path / "place" / ".tmp-0123").write_bytes(b"half")
    refuse_among_others(store, address)
    (tmp_path / "place" / "Photo of us.jpg").write_bytes(b"x")
    with pytest.raises(PlaceInUse) as info:
        refuse_among_others(store, address)
    assert info.value.context == {"tier": "place", "entries": 1}
    (tmp_path / "place" / "config").write_bytes(b"of a repository: opening it says more")
    refuse_among_others(store, address)


def test_tier_within_any_repository_is_refused(tmp_path: Path) -> None:
    """Also in one that is no tier of this command, by a link, and where its config is damaged; at its place it may."""
    repository = tmp_path / "repository"
    (repository / "packs").mkdir(parents=True)
    inside = f"file://{repository}/packs/new"
    refuse_within_repository("new", inside)
    (repository / "config").write_bytes(b"[core] of something else")
    refuse_within_repository("new", inside)
    (repository / "config").write_bytes(b'{"config":{"format":1}, "mac": ""}')
    (tmp_path / "link").symlink_to(repository / "packs")
    for address in (inside, f"file://{tmp_path}/link/new"):
        with pytest.raises(PlaceInUse, match="within a repository"):
            refuse_within_repository("new", address)
    refuse_within_repository("new", f"file://{repository}")
    (repository / "config").write_bytes(b"damaged")
    for name in ("keys", "log"):
        (repository / name).mkdir()
    with pytest.raises(PlaceInUse):
        refuse_within_repository("new", inside)


def test_bucket_with_other_objects_is_refused() -> None:
    """A bucket is looked at by its objects."""
    store = MemoryObjectStore("cloud")
    refuse_among_others(store, "s3://bucket")
    store.put("photos/1.jpg", b"x")
    with pytest.raises(PlaceInUse):
        refuse_among_others(store, "s3://bucket")


def test_path_of_a_tier_may_have_any_bytes() -> None:
    """Bytes that are not UTF-8 are kept, not replaced by others: it would be another folder."""
    assert os.fsencode(directory_path("file:///a/%FFb")) == b"/a/\xffb"
    assert open_tier("file:///a/%FFb").name == "\\xffb"
