"""New data keys while everything goes on: what is stored is recognised, and who dies in the middle harms nothing."""

from contextlib import suppress

import pytest

from repository.errors import RepositoryError
from repository.index.pack_catalog import stored_packs
from repository.keys.key_ring import key_id_of
from repository.opened.key_change import add_generation, rewrap
from repository.opened.repository import Repository
from repository.opened.wrappings import give_all_keys, not_opening
from repository.upkeep.catch_up import catch_up, lag
from repository.upkeep.check import check
from tests.support.dying import Dying
from tests.support.repositories import Scene, key_file, photos, read_back

FILES = photos(400, length=120)


def test_of_four_hundred_chunks_none_is_stored_again_under_the_new_key() -> None:
    """Chunk ids come from the domain's own secret: the first backup after a rotation stores what is new alone."""
    scene = Scene(("a", "b"))
    scene.backup(FILES, "before")
    key_before = scene.repository.keys.active().key_id
    rows = len(scene.tier("a").index)
    for rotation in range(3):
        add_generation(scene.reopen(), scene.provider)
        repository = scene.reopen()
        new = {b"new %d" % number: body for number, body in enumerate(photos(4, rotation + 1).values())}
        scene.backup(FILES | new, f"after {rotation}")
        # Four files, a page of names, a root and its attributes; of the other 400 nothing.
        grown = len(scene.reopen().tier("a").index) - rows
        assert grown <= 7, f"{grown} chunks of {len(FILES) + 7} were stored: {1 - grown / len(FILES):.0%} are kept"
        rows += grown
        assert repository.keys.active().key_id != key_before
    repository = scene.reopen()
    for tier in repository.tiers:
        for snapshot in repository.snapshots():
            assert FILES.items() <= read_back(repository, snapshot, tier).items()
    assert check(repository, read_percent=100).is_ok


@pytest.mark.parametrize("left", range(8))
@pytest.mark.parametrize("what", ["data", "key file"])
def test_rotation_that_was_killed_is_gone_on_with_beside_a_writer_and_a_tier_that_is_away(what: str, left: int) -> None:
    scene = Scene(("a", "b", "c"))
    scene.backup(photos(2), "before")
    writer = scene.repository
    calls, new = [left], key_file(5)
    dying = [Dying(store, calls) for store in scene.stores[:2]]  # the third is away
    try:
        repository = scene.reopen(stores=dying)  # type: ignore[arg-type]
        add_generation(repository, scene.provider) if what == "data" else rewrap(repository, new)
    except RepositoryError:
        assert calls[0] < 0
    scene.repository = writer  # it opened before
    scene.backup(photos(2, 1), "beside")
    repository = scene.reopen(stores=scene.stores[:2])
    stored = add_generation(repository, scene.provider) if what == "data" else rewrap(repository, new)
    assert stored == {"a": None, "b": None}
    repository = scene.reopen()
    for tier in repository.tiers:
        catch_up(repository, tier)
    if what == "key file":
        scene.provider = new
    scene.reopen()
    scene.backup(photos(2, 2), "after")
    for name in ("a", "b", "c"):
        alone = scene.reopen(stores=[scene.store(name)])
        found = [read_back(alone, each, alone.tier(name)) for each in alone.snapshots()]
        assert found == [photos(2), photos(2, 1), photos(2, 2)], name
    assert check(scene.reopen(), read_percent=100).is_ok
    assert {pack.id for pack in stored_packs(scene.store("a"))} == {pack.id for pack in stored_packs(scene.store("c"))}


def test_a_key_that_a_dead_rotation_left_on_one_tier_encrypts_nothing_on_a_tier_that_lacks_it() -> None:
    """No log names it, and whoever opens that tier takes it for the newest: so it goes to all that are written to."""
    scene = Scene(("a", "b"))
    left = [1]
    repository = scene.reopen(stores=[Dying(store, left) for store in scene.stores])  # type: ignore[misc]
    assert None not in add_generation(repository, scene.provider).values()
    made = scene.reopen().keys.active().key_id.hex()
    assert [info.key for info in scene.store("a").list(f"keys/{made}")]
    snapshot = scene.backup(photos(2), "after")
    assert snapshot is not None
    for name in ("a", "b"):
        alone = scene.reopen(stores=[scene.store(name)])
        assert read_back(alone, snapshot, alone.tiers[0]) == photos(2)
    repository = scene.reopen()
    for tier in repository.tiers:
        catch_up(repository, tier)
    assert all(made in str(tier.log.state.key_objects) for tier in scene.reopen().tiers)
    assert check(scene.repository, read_percent=100).is_ok


@pytest.mark.parametrize("is_ours", [True, False])
def test_key_that_is_made_while_a_repository_is_opened_is_not_called_lost(
    is_ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys are listed before the logs are read: one that was made and named in between is looked for once more."""
    scene = Scene(("a",))
    scene.backup(photos(1), "before")
    maker = scene.repository
    load = Repository.load

    def load_behind_a_rotation(opened: Repository) -> None:
        add_generation(maker, scene.provider if is_ours else key_file(5), "default" if is_ours else "another's")
        load(opened)

    monkeypatch.setattr(Repository, "load", load_behind_a_rotation)
    opened = Repository.open(scene.stores, scene.provider)
    assert not opened.keys.lost
    assert opened.keys.active().generation == (2 if is_ours else 1)


@pytest.mark.parametrize("left", range(8))
def test_whoever_goes_on_gives_every_tier_the_keys_that_a_dead_one_made(left: int) -> None:
    """A second rotation made another key, and the first one lay on one tier alone."""
    scene = Scene(("a", "b"))
    scene.backup(photos(1), "before")
    calls = [left]
    dying = [Dying(store, calls) for store in scene.stores]
    with suppress(RepositoryError):
        add_generation(scene.reopen(stores=dying), scene.provider, "person")  # type: ignore[arg-type]
    repository = scene.reopen()
    assert give_all_keys(repository) == {"a": None, "b": None}
    repository = scene.reopen()
    known = {keys.key_id.hex() for keys in repository.keys.all()}
    for tier in repository.tiers:
        assert {key_id_of(each) for each in tier.log.state.key_objects} == known
        assert not lag(repository, tier).keys
    assert not any(not_opening(repository, each) for each in known)
