"""Configurations that name no tier in common put their backups into the organisation's one repository all the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from chassis.life.signs import Signs
from chassis.sealing import prepare_keys_folder
from contracts import errors
from contracts.configuration import Tier
from contracts.errors import PlatformError
from repository.errors import NotARepository, NoUsableTier, TierUnreachable, TierVanished, WrongKey
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.stored.config import CONFIG_KEY
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import ObjectInfo
from repository.upkeep.catch_up import catch_up
from tests.support.repositories import SeededRandomness, photos, write_snapshot
from tests.unit.vault.test_repositories import _Remembered
from vault.joining import OfAnotherOwner, OfAnotherRepository, RepositoryAway
from vault.places import Place
from vault.repositories import BegunTier, Repositories
from vault.translation import failure_of

OWNER = "org-a"


class _Bucket(MemoryObjectStore):
    """One that can be silent."""

    is_away = False

    def list(self, *arguments: object, **options: object) -> object:  # type: ignore[override]  # passes them on
        self._require()
        return super().list(*arguments, **options)  # type: ignore[arg-type]  # as they came

    def head(self, key: str) -> ObjectInfo | None:
        self._require()
        return super().head(key)

    def get(self, key: str, **options: int) -> bytes:
        self._require()
        return super().get(key, **options)

    def _require(self) -> None:
        if self.is_away:
            raise TierUnreachable("it does not answer", tier=self.name)


class _Vault:
    """An organisation's tiers, one at each location; what was begun is remembered, or is not."""

    def __init__(self, keys: Path) -> None:
        prepare_keys_folder(keys)
        self.keys = keys
        self.begun = _Remembered()
        self.buckets: dict[str, _Bucket] = {}
        self.repositories = Repositories(self.begun, keys, place_at=lambda _, location: self.place(location))

    def place(self, location: str) -> Place:
        store = self.buckets.setdefault(location, _Bucket(location))
        return Place(store=store, location=location, folder=None, patience_seconds=30.0, store_of=lambda _: store)

    def open(self, *locations: str) -> Repository:
        """As a run that names these opens it."""
        return self.repositories.open(OWNER, [self.place(each) for each in locations], Signs())

    def save(self, *locations: str, label: str) -> Repository:
        """A run's snapshot."""
        repository = self.open(*locations)
        write_snapshot(repository, repository.ready_tiers(), photos(3), label, SeededRandomness())
        return repository


@pytest.fixture
def vault(tmp_path: Path) -> _Vault:
    return _Vault(tmp_path)


def test_new_tier_joins_the_repository_that_another_configuration_began(vault: _Vault) -> None:
    """It is a member and holds what its own runs store; whoever names both brings each what it lacks."""
    first = vault.save("disk", label="a")
    second = vault.save("cloud", label="b")
    assert second.id == first.id
    assert len(second.snapshots()) == 1, "what another configuration keeps elsewhere stays there"
    both = vault.open("disk", "cloud")
    assert [tier.state for tier in both.tiers] == [TierState.READY, TierState.READY]
    for tier in both.tiers:
        assert catch_up(both, tier).is_complete
        assert len(tier.snapshots()) == 2
    assert len(vault.begun.of(OWNER)) == 2


def test_new_tier_joins_though_another_one_of_its_run_is_silent(vault: _Vault) -> None:
    """An optional tier that is away keeps no new one out."""
    first = vault.save("disk", label="a")
    vault.place("hole")
    vault.buckets["hole"].is_away = True
    second = vault.open("cloud", "hole")
    assert second.id == first.id
    assert [tier.state for tier in second.tiers] == [TierState.READY, TierState.UNREACHABLE]


def test_begun_by_a_run_that_died_before_it_was_noted(vault: _Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was about to begin is noted before: the next run, with other tiers, finds it there and joins it."""

    def dies(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(vault.repositories, "remember", dies)
    with pytest.raises(SystemExit):
        vault.open("disk")
    monkeypatch.undo()
    second = vault.open("cloud")
    assert second.id == vault.open("disk").id


def test_nothing_was_begun_where_it_was_about_to_be(vault: _Vault) -> None:
    """A run that died before it wrote anything holds up nobody."""
    vault.begun.intend(OWNER, ["disk"])
    assert vault.open("cloud").tier("cloud").is_ready
    assert CONFIG_KEY not in {each.key for each in vault.buckets["disk"].list("")}


@pytest.mark.parametrize("is_lost", [False, True])
def test_new_tier_waits_for_the_repository_that_is_away(vault: _Vault, is_lost: bool) -> None:
    """None is begun beside it; told are the location that has it, and what to do."""
    first = vault.save("disk", label="a")
    kept = vault.buckets["disk"]
    if is_lost:
        vault.buckets["disk"] = _Bucket("disk")
    else:
        kept.is_away = True
    with pytest.raises(RepositoryAway) as refused:
        vault.open("cloud")
    assert refused.value.context["tier"] == "cloud"
    assert "disk" in refused.value.hint
    assert not list(vault.buckets["cloud"].list(""))
    kept.is_away, vault.buckets["disk"] = False, kept
    assert vault.open("cloud").id == first.id


def test_tier_of_another_repository_is_told_by_a_code_and_a_way_out(vault: _Vault) -> None:
    """Whoever has two already: no run uses both, the hint says how they become one, and that works."""
    first = vault.save("disk", label="a")
    noted = vault.begun.rows.pop((OWNER, "disk"))
    vault.begun.intentions.clear()
    vault.begun.anew.add(OWNER)
    vault.save("cloud", label="b")
    vault.begun.rows = {(OWNER, "disk"): noted, **vault.begun.rows}
    both = vault.open("disk", "cloud")
    assert both.id == first.id
    tier = both.tier("cloud")
    assert tier.state is TierState.FOREIGN
    assert isinstance(tier.error, OfAnotherRepository)
    assert "begin-anew cloud --organisation org-a" in tier.error.hint
    # What the hint says: moved away, and forgotten there.
    vault.buckets["cloud"] = _Bucket("cloud")
    vault.begun.rows.pop((OWNER, "cloud"))
    again = vault.open("disk", "cloud")
    assert again.tier("cloud").state is TierState.EMPTY
    assert catch_up(again, again.tier("cloud")).is_complete


def test_silent_tiers_are_asked_at_once_and_the_required_one_is_told_first(vault: _Vault) -> None:
    """A first run waits for an optional tier no longer than its patience; its failure is the required tier's."""

    class _Gone(_Bucket):
        def head(self, key: str) -> ObjectInfo | None:
            raise TierVanished("it is not there", tier=self.name)

    vault.buckets["required"] = _Gone("required")
    vault.buckets["hole"] = _Bucket("hole")
    vault.buckets["hole"].is_away = True
    places = [vault.place("hole"), replace(vault.place("required"), is_required=True)]
    with pytest.raises(TierVanished) as refused:
        vault.repositories.open(OWNER, places, Signs())
    assert [cause.context["tier"] for cause in refused.value.causes] == ["required", "hole"]


def test_no_repository_is_begun_where_it_cannot_be_noted(vault: _Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the note the next run would not look there."""

    def away(*_: object) -> None:
        raise PlatformError(errors.UNAVAILABLE, "Postgres is away")

    monkeypatch.setattr(vault.begun, "intend", away)
    with pytest.raises(PlatformError):
        vault.open("disk")
    assert not list(vault.buckets["disk"].list(""))


def test_only_tier_that_had_it_is_away(vault: _Vault) -> None:
    """The silent tier has the repository itself: the other one, new and empty, begins nothing and is told nothing."""
    vault.save("disk", label="a")
    vault.buckets["disk"].is_away = True
    with pytest.raises(NoUsableTier):
        vault.open("disk", "cloud")
    assert not list(vault.buckets["cloud"].list(""))


def test_what_is_remembered_without_an_id_is_joined(vault: _Vault) -> None:
    """A memory from before there were ids names the location alone."""
    first = vault.save("disk", label="a")
    vault.begun.rows[OWNER, "disk"] = BegunTier("", None)
    assert vault.open("cloud").id == first.id


def test_folder_of_another_owner_is_told_as_that_and_not_as_a_lost_key(vault: _Vault) -> None:
    """Two owners' folders were exchanged: the key file is right, and to put another one in its place would be wrong."""
    vault.save("disk", label="a")
    vault.repositories.open("org-b", [vault.place("other")], Signs())
    vault.buckets["disk"], vault.buckets["other"] = vault.buckets["other"], vault.buckets["disk"]
    with pytest.raises(NotARepository, match="the location holds another repository") as refused:
        vault.open("disk")
    assert refused.value.context["before"] != refused.value.context["shown"]
    # Also where the record was lost, and with it what was begun where.
    vault.begun.rows.clear()
    with pytest.raises(OfAnotherOwner, match="the location holds another repository") as refused:
        vault.open("disk")
    assert "the location disk is another repository" in refused.value.hint
    told = failure_of(Tier.LOCAL, refused.value, vault.place("disk"))
    assert (told.code, told.hint) == ("tier-unusable", refused.value.hint)
    # A key that nobody is known to have is no sign of another owner.
    for noted in vault.keys.glob("repositories/org-b*"):
        noted.unlink()
    with pytest.raises(WrongKey):
        vault.open("disk")
