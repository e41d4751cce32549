"""Erasure on folders, where a wrapped key can lie under names that no list of objects shows."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from repository.opened.key_change import add_generation, rewrap
from repository.opened.wrappings import remove_wrappings
from repository.retention.erasure import TierErased, erase, plan_erasure
from repository.tiers.folder.store import DirectoryObjectStore
from tests.support.repositories import Scene, key_file, photos

PERSON = "person 7"


def _scene(tmp_path: Path) -> tuple[Scene, Path]:
    """A person's key on two tiers, and its place on the second."""
    scene = Scene(stores=[DirectoryObjectStore(str(tmp_path / name), name) for name in ("a", "b")])
    others = set(os.listdir(tmp_path / "b" / "keys"))
    add_generation(scene.repository, scene.provider, PERSON)
    scene.reopen()
    assert scene.backup(photos(3, seed=7), "person's", domain=PERSON) is not None
    (name,) = set(os.listdir(tmp_path / "b" / "keys")) - others
    return scene, tmp_path / "b" / "keys" / name


def _erased(scene: Scene) -> TierErased:
    repository = scene.reopen()
    return erase(repository, PERSON, plan_erasure(repository, PERSON).word).tiers["b"]


def _link(place: Path, key: Path) -> None:
    place.symlink_to(key)


def _pipe(place: Path, key: Path) -> None:
    os.mkfifo(place)


def _folder(place: Path, key: Path) -> None:
    place.mkdir()
    key.rename(place / "key")


@pytest.mark.parametrize("make", [_link, _pipe, _folder])
@pytest.mark.parametrize("is_aside", [False, True])
def test_what_lies_in_a_wrapped_keys_place_is_told_as_left(
    tmp_path: Path, make: Callable[[Path, Path], None], *, is_aside: bool
) -> None:
    """Nobody can say what is in it, or that it leads to the key no more."""
    scene, place = _scene(tmp_path)
    kept = place.rename(tmp_path / "elsewhere")
    if is_aside:
        place = tmp_path / "b" / "quarantine" / "keys" / f"{place.name}.0011223344556677"
        place.parent.mkdir(parents=True)
    make(place, kept)
    found = _erased(scene)
    assert not found.is_complete
    assert list(found.left) == [str(place.relative_to(tmp_path / "b"))]
    assert str(place) in next(iter(found.left.values()))
    assert os.path.lexists(place)


def test_what_a_writer_that_died_left_goes_with_the_key(tmp_path: Path) -> None:
    """It died between giving the key its name and taking the other name away."""
    scene, place = _scene(tmp_path)
    aside = tmp_path / "b" / "quarantine" / "keys"
    aside.mkdir(parents=True)
    for folder in (place.parent, aside):
        (folder / f".tmp-{7:024x}").write_bytes(place.read_bytes())
    assert _erased(scene).is_complete
    assert [each.name for each in (tmp_path / "b").rglob(".tmp-*")] == []


def test_what_a_writer_that_died_left_goes_with_a_wrapping(tmp_path: Path) -> None:
    scene, place = _scene(tmp_path)
    place.with_name(f".tmp-{7:024x}").write_bytes(place.read_bytes())
    old, new = scene.provider, key_file(2)
    rewrap(scene.reopen(), new)
    scene.provider = new
    done = remove_wrappings(scene.reopen(), old.kek_id().hex(), new)
    assert all(each.is_complete for each in done.values())
    assert [each.name for each in tmp_path.rglob(".tmp-*")] == []
