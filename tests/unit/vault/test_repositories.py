"""Runs of one organisation share what they have read of its repository; those of others share nothing with them."""

import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from chassis.life.signs import Signs
from chassis.sealing import prepare_keys_folder
from contracts import errors
from contracts.errors import PlatformError
from repository.errors import PlaceInUse, TierUnreachable, TierVanished
from repository.index.segments import INDEX_PREFIX
from repository.keys.key_file import KeyFile
from repository.opened.key_change import rewrap
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.opened.seen import SeenTier
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import OBJECT_LENGTH_MAX, ObjectInfo
from repository.upkeep.root_change import change_root
from tests.support.repositories import SeededRandomness, photos, write_snapshot
from vault.key_files import RepositoryKeys, name_of
from vault.places import Place
from vault.repositories import BegunTier, Repositories
from vault.unusable import LocationUnknown, UnusableStore


class _Remembered:
    """`Begun` in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], BegunTier] = {}
        self.intentions: list[tuple[str, str]] = []
        self.anew: set[str] = set()

    def of(self, organisation: str) -> dict[str, BegunTier]:
        return {location: each for (owner, location), each in self.rows.items() if owner == organisation}

    def intended(self, organisation: str) -> list[str]:
        return [location for owner, location in self.intentions if owner == organisation]

    def intend(self, organisation: str, locations: Sequence[str]) -> None:
        self.intentions += [(organisation, location) for location in locations]

    def begins_anew(self, organisation: str) -> bool:
        return organisation in self.anew

    def others_at(self, location: str, organisation: str) -> list[str]:
        return []

    def remember(self, organisation: str, location: str, repository_id: str, seen: SeenTier | None) -> None:
        self.rows[organisation, location] = BegunTier(repository_id, seen)


class _Counting(MemoryObjectStore):
    """Counts how often the index is read."""

    index_reads = 0

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        if key.startswith(INDEX_PREFIX):
            self.index_reads += 1
        return super().get(key, length_max=length_max)


def nowhere(_organisation: str, location: str) -> Place:
    """No location but those that a run names is registered."""
    store = UnusableStore(location, LocationUnknown("it is not registered", tier=location))
    return replace(_place(MemoryObjectStore(location)), store=store, location=location)


async def _nobody() -> list[str]:
    return []


def _place(store: MemoryObjectStore) -> Place:
    return Place(store=store, location="disk", folder=None, patience_seconds=30.0, store_of=lambda _other: store)


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    prepare_keys_folder(tmp_path)
    return Repositories(_Remembered(), tmp_path, place_at=nowhere)


def test_key_that_is_missing_costs_its_organisation_alone(repositories: Repositories, tmp_path: Path) -> None:
    """Its runs are refused with the file's name, remembered or only found on a tier; the others' go on."""
    stores = {each: _saved(repositories, each) for each in ("org-a", "org-b")}
    (tmp_path / name_of("org-a")).unlink()
    forgetful = Repositories(_Remembered(), tmp_path, place_at=nowhere)
    for each in (repositories, forgetful):
        with pytest.raises(PlatformError) as refused:
            each.open("org-a", [_place(stores["org-a"])], Signs())
        assert refused.value.code is errors.KEYS_UNUSABLE
        assert "repositories/org-a.key" in refused.value.message
        assert "from its copy" in (refused.value.hint or "")
        each.open("org-b", [_place(stores["org-b"])], Signs())
    assert not (tmp_path / name_of("org-a")).exists()


def test_older_copy_of_a_key_is_named_before_a_run_begins(repositories: Repositories, tmp_path: Path) -> None:
    """After the root was changed it opens the old entries, and none that counts now: nothing can be added by it."""
    store, path = _saved(repositories, "org-a"), tmp_path / name_of("org-a")
    older = path.read_bytes()
    newer = KeyFile.create(tmp_path / "newer.key")
    rewrap(Repository.open([store], KeyFile.load(path)), newer)
    path.write_bytes((tmp_path / "newer.key").read_bytes())
    repository = Repository.open([store], newer)
    change_root(repository, newer)
    write_snapshot(repository, repository.tiers, photos(1, seed=3), "later", SeededRandomness(4))
    repositories.open("org-a", [_place(store)], Signs())
    path.write_bytes(older)
    with pytest.raises(PlatformError) as refused:
        repositories.open("org-a", [_place(store)], Signs())
    assert refused.value.code is errors.KEYS_UNUSABLE
    assert "repositories/org-a.key" in refused.value.message
    assert "newest copy" in (refused.value.hint or "")


def test_repository_is_not_begun_among_other_files_or_in_another_repository(
    repositories: Repositories, tmp_path: Path
) -> None:
    """Registered by hand, or before anybody looked: the tier fails by its name, and the others go on."""
    store = MemoryObjectStore("cloud")
    store.put("photos/1.jpg", b"x")
    with pytest.raises(PlaceInUse):
        repositories.open("org-a", [_place(store)], Signs())
    within = tmp_path / "repository" / "packs"
    within.mkdir(parents=True)
    (tmp_path / "repository/config").write_bytes(b'{"config":{"format":1}}')
    disk = replace(_place(MemoryObjectStore("local")), folder=bytes(within))
    with pytest.raises(PlaceInUse, match="within a repository"):
        repositories.open("org-a", [disk], Signs())
    repository = repositories.open("org-a", [_place(MemoryObjectStore("offsite")), _place(store)], Signs())
    assert repository.tier("offsite").is_ready
    assert isinstance(repository.tier("cloud").error, PlaceInUse)


def test_no_key_is_made_where_the_keys_folder_is_not_mounted(tmp_path: Path) -> None:
    """The folder is there and empty, or is not there: the key may lie on the disk that is missing."""
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(PlatformError) as refused:
            Repositories(_Remembered(), folder, place_at=nowhere).open("org-a", [_place(_Counting("local"))], Signs())
        assert refused.value.code is errors.KEYS_UNUSABLE
        assert not (folder / "repositories").exists()


def test_no_key_is_made_anew_though_the_record_is_lost_and_the_tier_is_silent(
    repositories: Repositories, tmp_path: Path
) -> None:
    """That it was made is remembered beside the keys: the other tier, empty, is no reason to make another."""

    class _Silent(_Counting):
        def head(self, key: str) -> ObjectInfo | None:
            raise TierUnreachable("it does not answer", tier="local")

    _saved(repositories, "org-a")
    (tmp_path / name_of("org-a")).unlink()
    places = [_place(_Silent("local")), replace(_place(_Counting("offsite")), location="second")]
    with pytest.raises(PlatformError, match=r"repositories/org-a\.key is gone") as refused:
        Repositories(_Remembered(), tmp_path, place_at=nowhere).open("org-a", places, Signs())
    assert refused.value.code is errors.KEYS_UNUSABLE
    assert not (tmp_path / name_of("org-a")).exists()
    assert RepositoryKeys(tmp_path, _nobody).unusable([]) == [name_of("org-a")], "the readiness names it, too"
    # An organisation that never had one is not kept from its first backup by a tier that is away.
    Repositories(_Remembered(), tmp_path, place_at=nowhere).open("org-b", places, Signs())


def _saved(repositories: Repositories, organisation: str) -> _Counting:
    """A tier with one snapshot of the organisation; nothing of it is open any more."""
    store = _Counting("local")
    repository = repositories.open(organisation, [_place(store)], Signs())
    write_snapshot(repository, repository.ready_tiers(), photos(3), "run", SeededRandomness())
    del repository
    gc.collect()
    store.index_reads = 0
    return store


def _segments(repository: Repository) -> dict[str, int]:
    return {name: id(segment) for name, segment in repository.tier("local").named_segments().items()}


def test_second_run_reads_no_segment_that_the_first_has_open(repositories: Repositories) -> None:
    """Fetched once and in memory once, for as long as one of them is open."""
    store = _saved(repositories, "org-a")
    first = repositories.open("org-a", [_place(store)], Signs())
    read = store.index_reads
    second = repositories.open("org-a", [_place(store)], Signs())
    assert read == 1
    assert store.index_reads == read
    assert _segments(first) == _segments(second)
    del first, second
    gc.collect()
    repositories.open("org-a", [_place(store)], Signs())
    assert store.index_reads == 2 * read  # nothing stays in memory for whoever is not there


def test_judgement_of_a_tier_is_each_runs_own(repositories: Repositories) -> None:
    """A tier that failed in one run is left out of that run, and of no other."""
    store = _saved(repositories, "org-a")
    first = repositories.open("org-a", [_place(store)], Signs())
    second = repositories.open("org-a", [_place(store)], Signs())
    first.tier("local").set_unreachable(TierUnreachable("no answer"))
    assert second.tier("local").state is TierState.READY


def test_organisations_share_nothing(repositories: Repositories) -> None:
    """Not even what is the same: another organisation's segments are sealed with its own keys."""
    held = [repositories.open(each, [_place(_saved(repositories, each))], Signs()) for each in ("org-a", "org-b")]
    assert not set(_segments(held[0])) & set(_segments(held[1]))
    assert len(repositories._shared) == 2


def test_empty_tier_is_not_filled_in_silence_where_the_memory_is_lost(
    repositories: Repositories, tmp_path: Path
) -> None:
    """Its disk may not be mounted: nobody knows any more that it was in use. What is said to be new is filled."""
    whole = Place(
        store=_saved(repositories, "org-a"),
        location="disk",
        folder=None,
        patience_seconds=30.0,
        store_of=lambda _other: MemoryObjectStore("local"),
    )
    other = replace(whole, store=MemoryObjectStore("second"), location="other disk")
    lost = _Remembered()
    forgetful = Repositories(lost, tmp_path, place_at=nowhere)
    for _ in range(2):
        tier = forgetful.open("org-a", [whole, other], Signs()).tier("second")
        assert tier.state is TierState.VANISHED
        assert "tiers begin-anew other disk" in str(tier.error and tier.error.hint)
    del lost.rows["org-a", "other disk"]
    assert forgetful.open("org-a", [whole, other], Signs()).tier("second").state is TierState.EMPTY


def test_nothing_is_begun_where_a_key_is_all_that_is_left(repositories: Repositories, tmp_path: Path) -> None:
    """Record and tiers are lost, or not mounted: told, and begun once somebody says that nothing is left."""
    _saved(repositories, "org-a")
    lost, empty = _Remembered(), MemoryObjectStore("local")
    forgetful = Repositories(lost, tmp_path, place_at=nowhere)
    for _ in range(2):
        with pytest.raises(TierVanished) as refused:
            forgetful.open("org-a", [_place(empty)], Signs())
        assert "tiers begin-anew disk --organisation org-a" in refused.value.hint
        assert (lost.rows, lost.intentions, list(empty.list(""))) == ({}, [], [])
    lost.anew.add("org-a")
    assert forgetful.open("org-a", [_place(empty)], Signs()).tier("local").is_ready


def test_run_that_died_with_the_key_made_is_gone_on_with(
    repositories: Repositories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it was about to begin is noted before the key is: a key of which no note tells had backups."""

    def dies(*_: object) -> None:
        raise SystemExit

    remembered, store = _Remembered(), MemoryObjectStore("local")
    dying = Repositories(remembered, tmp_path, place_at=nowhere)
    with monkeypatch.context() as patched:
        patched.setattr(dying, "_begin", dies)
        with pytest.raises(SystemExit):
            dying.open("org-a", [_place(store)], Signs())
    assert (tmp_path / name_of("org-a")).exists()
    assert Repositories(remembered, tmp_path, place_at=nowhere).open("org-a", [_place(store)], Signs())
