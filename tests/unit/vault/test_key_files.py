"""The key files of repositories in the worker's readiness."""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chassis.life.health import DEGRADED, READY, Health
from contracts import errors
from contracts.errors import PlatformError
from repository.errors import RepositoryError, UnknownKey, WrongKey
from repository.keys.key_file import KeyFile
from vault import key_files as module
from vault.key_files import RepositoryKeys, expect_newest, name_of, note_made, note_opened


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    """Two organisations' keys."""
    (tmp_path / "repositories").mkdir()
    for organisation in ("org-a", "org-b"):
        KeyFile.create(tmp_path / name_of(organisation))
    return tmp_path


async def _both() -> list[str]:
    return ["org-a", "org-b"]


@pytest.mark.parametrize("damage", ["gone", "cut short", "empty", "altered", "open to everybody"])
async def test_key_file_that_cannot_be_used_degrades_and_is_named_until_it_is_back(keys_dir: Path, damage: str) -> None:
    """Also where it was well before: the other organisations work on, and whoever looks learns which it is."""
    health = Health("executor-worker")
    RepositoryKeys(keys_dir, _both).add_to(health)
    assert (await health.report()).status == READY
    path = keys_dir / name_of("org-a")
    whole = path.read_bytes()
    os.truncate(path, {"cut short": len(whole) - 5, "empty": 0}.get(damage, len(whole)))
    match damage:
        case "gone":
            path.unlink()
        case "altered":
            path.write_bytes(whole[:-3] + b"zz\n")
        case "open to everybody":
            path.chmod(0o644)
    (found,) = (await health.report()).checks
    assert (found.status, found.code) == (DEGRADED, "keys-unusable")
    assert name_of("org-a") in (found.reason or "")
    assert "org-b" not in (found.reason or "")
    path.write_bytes(whole)
    path.chmod(0o600)
    assert (await health.report()).status == READY


def test_key_files_of_two_organisations_that_were_exchanged_are_named(keys_dir: Path) -> None:
    """Each is whole, and opens nothing of whose name it has: told before a run finds out. A changed key is the one."""
    paths = {each: keys_dir / name_of(each) for each in ("org-a", "org-b")}
    for organisation, path in paths.items():
        note_made(keys_dir, organisation)
        note_opened(keys_dir, organisation, KeyFile.load(path))
    keys = RepositoryKeys(keys_dir, _both)
    assert keys.unusable(["org-a", "org-b"]) == []
    bodies = {each: path.read_bytes() for each, path in paths.items()}
    paths["org-a"].write_bytes(bodies["org-b"])
    paths["org-b"].write_bytes(bodies["org-a"])
    for asked in (keys, RepositoryKeys(keys_dir, _both)):
        assert asked.unusable([]) == [name_of("org-a"), name_of("org-b")]
    for organisation, path in paths.items():
        path.write_bytes(bodies[organisation])
    note = keys_dir / "repositories" / "org-a.made"
    whole = note.read_bytes()
    note.write_bytes(b"\xff\xfe" + whole[2:])
    assert RepositoryKeys(keys_dir, _both).unusable([]) == [], "a damaged note is none"
    note_opened(keys_dir, "org-a", KeyFile.load(paths["org-a"]))
    assert note.read_bytes() == whole
    KeyFile.rotate(paths["org-a"], keys_dir / "new")
    (keys_dir / "new").replace(paths["org-a"])
    assert keys.unusable([]) == []


def test_key_file_of_a_repository_that_is_not_noted_counts_too(keys_dir: Path) -> None:
    """It is made before the repository is; what is beside the key files is none."""
    (keys_dir / "repositories" / "notes.txt").touch()
    keys = RepositoryKeys(keys_dir, _both)
    assert keys.unusable([]) == []
    (keys_dir / name_of("org-b")).write_bytes(b"")
    assert keys.unusable([]) == [name_of("org-b")]
    assert RepositoryKeys(keys_dir / "elsewhere", _both).unusable(["org-a"]) == [name_of("org-a")]


async def test_silence_of_postgres_is_not_taken_for_the_disks(keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for a disk that hangs looks in the wrong place."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)

    async def nothing() -> list[str]:
        await asyncio.Event().wait()
        return []

    health = Health("executor-worker", check_seconds=60.0)
    RepositoryKeys(keys_dir, nothing).add_to(health)
    (found,) = (await health.report()).checks
    assert (found.status, found.code) == (DEGRADED, "unavailable")
    assert "postgres" in (found.reason or "")


async def test_key_that_took_the_place_of_a_rotated_one_is_not_proven_and_not_lost(keys_dir: Path) -> None:
    """To put the old one back would be wrong: it may open nothing any more. The next opening proves it."""
    path = keys_dir / name_of("org-a")
    note_made(keys_dir, "org-a")
    note_opened(keys_dir, "org-a", KeyFile.load(path))
    path.unlink()
    KeyFile.create(path)
    keys, health = RepositoryKeys(keys_dir, _both), Health("executor-worker")
    keys.add_to(health)
    assert keys.unusable([]) == []
    (found,) = (await health.report()).checks
    assert (found.status, found.code) == (DEGRADED, "keys-unusable")
    assert "not proven yet" in (found.reason or "")
    assert "the organisation's next run proves it" in (found.hint or "")
    note_opened(keys_dir, "org-a", KeyFile.load(path))
    assert (await health.report()).status == READY


async def test_older_copy_of_a_rotated_key_is_told_though_the_newer_one_has_its_key_as_well(keys_dir: Path) -> None:
    """A rotated file keeps the key before it: by what they share the older copy would pass for it."""
    path = keys_dir / name_of("org-a")
    older = path.read_bytes()
    KeyFile.rotate(path, keys_dir / "newer.key")
    path.write_bytes((keys_dir / "newer.key").read_bytes())
    note_made(keys_dir, "org-a")
    note_opened(keys_dir, "org-a", KeyFile.load(path))
    health = Health("executor-worker")
    RepositoryKeys(keys_dir, _both).add_to(health)
    assert (await health.report()).status == READY
    path.write_bytes(older)
    (found,) = (await health.report()).checks
    assert (found.status, found.code) == (DEGRADED, "keys-unusable")
    assert name_of("org-a") in (found.reason or "")
    assert "newest copy" in (found.hint or "")
    path.write_bytes((keys_dir / "newer.key").read_bytes())
    assert (await health.report()).status == READY


@pytest.mark.parametrize("error", [WrongKey("it opens nothing"), UnknownKey("not in the file")])
def test_key_that_does_not_open_one_tier_costs_that_tier_alone(error: RepositoryError) -> None:
    """The run goes on to the others, and tells of the one; only where there is none left it does not begin."""
    tiers, ready = [SimpleNamespace(error=None), SimpleNamespace(error=error)], [object()]
    repository: Any = SimpleNamespace(tiers=tiers, ready_tiers=lambda: ready)
    expect_newest("org-a", repository)
    ready.clear()
    with pytest.raises(PlatformError) as refused:
        expect_newest("org-a", repository)
    assert refused.value.code is errors.KEYS_UNUSABLE
    tiers.pop()
    expect_newest("org-a", repository)
