"""Keys and data that were begun are never made a second time."""

import argparse
import shutil
from pathlib import Path

import msgspec
import pytest

from cli import up
from contracts.errors import HOME_UNUSABLE, KEYS_UNUSABLE, PlatformError
from deploy.locations.organisations import added
from deploy.stack import begun, nats, platform
from deploy.stack.begun import CLUSTER, IDENTITY, LISTS, LOCAL_TIER, LOCATIONS, MAY_BE_BEGUN_ANEW, STORES
from deploy.stack.layout import Layout
from deploy.stack.places import Places
from deploy.stack.stores import Store, StoreGone
from tests.support.hung_mount import hung_mount


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that was started once: all its keys, and a cluster."""
    layout = Layout.create(tmp_path / "home")
    platform.prepare(layout)
    nats.make_seeds(layout)
    layout.postgres_data.mkdir()
    (layout.nats_data / "jetstream").mkdir()
    layout.note_begun()
    return layout.home


@pytest.mark.parametrize(
    "lost", ["keys", "keys/secrets.json", "keys/identity.pem", "keys/platform", "keys/nats", "keys/nats/gateway.seed"]
)
def test_key_that_is_gone_is_named_and_not_made_anew(home: Path, lost: str, tmp_path: Path) -> None:
    """A start without some of the keys is refused and makes nothing; with the copy back it is as before."""
    before = _content(home / "keys")
    (home / lost).rename(tmp_path / "copy")
    left = _content(home)
    with pytest.raises(PlatformError) as refusal:
        Layout.create(home)
    assert refusal.value.code is KEYS_UNUSABLE
    gone = sorted(f"keys/{name}" for name in before.keys() - _content(home / "keys").keys())
    assert all(name in refusal.value.message for name in gone if not name.startswith("keys/platform/credentials"))
    assert "copy" in refusal.value.hint
    may_be = set(gone) <= set(MAY_BE_BEGUN_ANEW)
    assert ("up --begin-anew keys/identity.pem (" in refusal.value.hint) is (lost == IDENTITY) is may_be
    assert ("a new home with --home" in refusal.value.hint) is not may_be
    assert _content(home) == left
    assert (home / lost).exists() is False
    (tmp_path / "copy").rename(home / lost)
    layout = Layout.create(home)
    platform.prepare(layout)
    nats.make_seeds(layout)
    assert _content(home / "keys") == before


def test_key_that_goes_while_the_platform_runs_is_not_made_by_a_restart_of_its_part(home: Path) -> None:
    """A part that is started anew finds its key gone, and says so."""
    layout = Layout.create(home)
    (home / "keys/nats/gateway.seed").unlink()
    with pytest.raises(PlatformError, match=r"keys/nats/gateway\.seed") as refusal:
        nats.make_seeds(layout)
    assert refusal.value.code is KEYS_UNUSABLE


def test_home_of_a_build_that_noted_nothing_is_known_by_its_cluster(home: Path) -> None:
    """Where a cluster is, keys were made, whatever layout.json knows of them."""
    layout = Layout.find(home)
    layout.remembered.begun = []
    layout.remember()
    (home / "keys/secrets.json").unlink()
    with pytest.raises(PlatformError, match=r"keys/secrets\.json"):
        Layout.create(home)


@pytest.mark.parametrize("lost", [CLUSTER, "data/nats/jetstream", "data"])
def test_data_that_is_gone_is_begun_anew_by_command_alone(home: Path, lost: str) -> None:
    """A disk that is not mounted does not grow a second history; whoever means it says so."""
    shutil.rmtree(home / lost)
    with pytest.raises(PlatformError, match="lacks data") as refusal:
        Layout.create(home)
    assert refusal.value.code is HOME_UNUSABLE
    assert not (home / lost).exists()
    named = [name for name in (CLUSTER, "data/nats/jetstream") if not (home / name).exists()]
    assert all(f"--begin-anew {name}" in refusal.value.hint for name in named)
    layout = Layout.create(home, begin_anew=named)
    assert not set(named) & set(Layout.find(home).remembered.begun)
    layout.postgres_data.mkdir(exist_ok=True)
    (layout.nats_data / "jetstream").mkdir(exist_ok=True)
    Layout.create(home)


@pytest.mark.parametrize("lost", LISTS)
async def test_list_that_an_operator_made_is_not_taken_for_empty_when_it_is_gone(home: Path, lost: str) -> None:
    """The platform's own tiers alone, or nobody, would be registered, and nothing would say so."""
    layout = Layout.create(home)
    if lost != LOCATIONS:
        (home / lost).write_text('{"organisations": []}' if "organisations" in lost else '{"subscribers": []}')
    await Places(layout).look()
    assert lost in Layout.find(home).remembered.begun, "noted while the platform runs"
    (home / lost).unlink()
    told = [place for place in await Places(layout).look() if place.reason and place.name != "local"]
    assert [place.name for place in told] == ["lists"], "told while the platform runs, before the next start is refused"
    assert f"{lost}. Put the copy back" in str(told[0].reason)
    with pytest.raises(PlatformError, match=lost) as refusal:
        Layout.create(home)
    assert refusal.value.code is HOME_UNUSABLE
    assert f"wedsync-backup up --begin-anew {lost}" in refusal.value.hint
    assert not (home / lost).exists()
    if "organisations" in lost:
        with pytest.raises(PlatformError, match="is gone, with all that was registered"):
            added(Layout.find(home))
    platform.prepare(Layout.create(home, begin_anew=[lost]))
    assert (home / lost).exists() is (lost == LOCATIONS)
    Layout.create(home)


def test_registry_of_a_build_that_noted_nothing_is_known_by_the_cluster(home: Path) -> None:
    """It is written before the cluster is made."""
    layout = Layout.find(home)
    layout.remembered.begun = []
    layout.remember()
    (home / LOCATIONS).unlink()
    with pytest.raises(PlatformError, match=LOCATIONS):
        Layout.create(home)


def _as_of_an_older_build(home: Path) -> Layout:
    """The home as a build left it that noted neither stores nor what was begun."""
    for name in STORES:
        (home / name).mkdir(parents=True)
        (home / name / "what it held").touch()
    known = msgspec.json.decode((home / "layout.json").read_bytes())
    kept = {name: known[name] for name in known.keys() - {"begun", "stores", "notesStores"}}
    (home / "layout.json").write_bytes(msgspec.json.encode(kept))
    return Layout.find(home)


def _stores(layout: Layout) -> dict[str, Store]:
    return {name: Store(layout, layout.home / name) for name in STORES}


@pytest.mark.parametrize("is_below", [False, True], ids=["missing", "an empty folder below the mount"])
async def test_store_that_vanished_before_an_upgrade_is_named_and_not_made(home: Path, is_below: bool) -> None:
    """The first start of this build takes a home that was used for one in which all stores were begun."""
    _as_of_an_older_build(home)
    for name in STORES:
        shutil.rmtree(home / name)
        if is_below:
            (home / name).mkdir()
    for layout in (Layout.create(home), Layout.create(home)):
        layout.note_begun()
        for name, store in _stores(layout).items():
            with pytest.raises(StoreGone, match="is empty" if is_below else "is not there") as refusal:
                await store.open()
            assert f"--begin-anew {name}" in refusal.value.hint
            assert (home / name).exists() is is_below
    anew = Layout.create(home, begin_anew=STORES)
    for store in _stores(anew).values():
        await store.open()


async def test_stores_of_an_older_build_that_are_there_go_on(home: Path) -> None:
    """They get their marks with what they hold, once, and are known from then on."""
    _as_of_an_older_build(home)
    for layout in (Layout.create(home), Layout.create(home)):
        for store in _stores(layout).values():
            await store.open()
            await store.keep()
    assert Layout.find(home).remembered.stores.keys() == set(STORES)


def test_cluster_that_vanished_before_an_upgrade_is_named_and_not_made(home: Path) -> None:
    """With the whole data folder away, the logs still tell that the home was used."""
    _as_of_an_older_build(home)
    shutil.rmtree(home / "data")
    (home / "logs/gateway.log").touch()
    with pytest.raises(PlatformError, match=f"lacks data that was there before: {CLUSTER}"):
        Layout.create(home)
    assert not (home / "data").exists()


async def test_first_start_that_was_cut_off_does_not_keep_the_second_from_working(tmp_path: Path) -> None:
    """A store that this build never made is made by the next start, though the cluster is there already."""
    layout = Layout.create(tmp_path / "home")
    platform.prepare(layout)
    layout.postgres_data.mkdir()
    for again in (Layout.create(layout.home), Layout.create(layout.home)):
        for store in _stores(again).values():
            assert not store.is_known
            await store.open()


async def test_local_tier_that_is_gone_is_not_made_again(home: Path) -> None:
    """Its disk is not mounted, perhaps: the platform starts, and the folder stays away."""
    await Places(Layout.create(home)).open()
    shutil.rmtree(home / LOCAL_TIER)
    await Places(Layout.create(home)).open()
    assert not (home / LOCAL_TIER).exists()


def test_data_on_a_disk_that_hangs_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start neither waits for it without end nor takes it for missing."""
    monkeypatch.setattr(begun, "DATA_SECONDS", 0.2)
    with hung_mount(home / CLUSTER), pytest.raises(PlatformError) as refusal:
        Layout.create(home)
    assert refusal.value.code is HOME_UNUSABLE
    assert refusal.value.message == f"{home / CLUSTER} cannot be used: it does not answer within 0.2 s"


def test_new_key_of_the_identity_provider_is_made_by_command_alone(home: Path) -> None:
    """It ends all tokens, and nothing is sealed under it; the other keys are never begun anew."""
    key = home / IDENTITY
    before = key.read_bytes()
    key.unlink()
    with pytest.raises(PlatformError, match=IDENTITY):
        Layout.create(home)
    layout = Layout.create(home, begin_anew=[IDENTITY])
    platform.prepare(layout)
    assert key.read_bytes() != before
    assert IDENTITY in Layout.find(home).remembered.begun


def test_command_offers_what_may_be_begun_anew() -> None:
    """The command line knows the names without importing the stack."""
    parser = argparse.ArgumentParser()
    up.configure(parser)
    assert parser.parse_args(["--begin-anew", IDENTITY]).begin_anew == [IDENTITY]
    (offered,) = [action.choices for action in parser._actions if action.dest == "begin_anew"]
    assert tuple(offered or ()) == MAY_BE_BEGUN_ANEW
