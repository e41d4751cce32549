"""Marks by which a data folder is known again."""

import asyncio
from pathlib import Path

import pytest

from deploy.stack import stores
from deploy.stack.layout import Layout
from deploy.stack.places import FREE_BYTES_MIN, HOME, LOCAL_TIER, Places, disk_of
from deploy.stack.probes import Grade
from deploy.stack.stores import MARK, Store, StoreGone
from tests.support.hung_mount import hung_mount


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home."""
    return Layout.create(tmp_path / "home")


@pytest.fixture
async def store(layout: Layout) -> Store:
    """A store that was used."""
    store = Store(layout, layout.s3_data("offsite"), inside=("filer",))
    await store.open()
    await store.keep()
    return store


async def test_store_is_remembered_over_starts(layout: Layout, store: Store) -> None:
    """What layout.json knows is found again; a store of an older build gets its mark with what it holds."""
    again = Store(Layout.find(layout.home), store.folder)
    assert again.is_known
    await again.open()
    old = layout.s3_data("old")
    old.mkdir()
    (old / "data").touch()
    adopted = Store(layout, old)
    await adopted.open()
    assert {entry.name for entry in old.iterdir()} == {"data", MARK}


async def test_store_that_was_not_used_yet_may_be_made_again(layout: Layout) -> None:
    """A first start that was cut off before anything was kept does not keep the second from working."""
    store = Store(layout, layout.s3_data("offsite"))
    await store.open()
    (store.folder / MARK).unlink()
    store.folder.rmdir()
    await store.open()
    assert (store.folder / MARK).exists()


@pytest.mark.parametrize("what", ["missing", "empty", "another"])
async def test_store_that_is_not_the_one_of_before_is_refused(store: Store, what: str) -> None:
    """The refusal names the folder and the two ways on; nothing is made."""
    store.folder.rename(store.folder.with_name("aside"))
    if what != "missing":
        store.folder.mkdir()
    if what == "another":
        (store.folder / MARK).write_text("another\n")
    with pytest.raises(StoreGone) as refusal:
        await store.open()
    assert str(store.folder) in str(refusal.value)
    assert "--begin-anew data/s3/offsite" in str(refusal.value.hint)
    assert store.folder.exists() == (what != "missing")


async def test_running_store_notices_what_is_deleted_or_replaced(store: Store) -> None:
    """A server's open files live on without a name: only the file system knows."""
    (store.folder / "filer").mkdir()
    assert await store.trouble() is None
    (store.folder / "filer").rename(store.folder / "filer-aside")
    (store.folder / "filer").mkdir()
    found = await store.trouble()
    assert found is not None
    assert found.grade is Grade.LOST
    assert str(store.folder / "filer") in found.reason


async def test_local_tier_is_made_once_and_never_anew(layout: Layout) -> None:
    """A disk that is not mounted: the folder below it stays as it is, and the report says what to do."""
    places = Places(layout)
    await places.open()
    assert [place.reason for place in await places.look()] == [None, None]
    layout.local_tier.rename(layout.local_tier.with_name("unmounted"))
    assert "was deleted or replaced while it ran" in str((await places.look())[1].reason)
    again = Places(Layout.find(layout.home))
    await again.open()
    found = {place.name: place.reason for place in await again.look()}
    assert "--begin-anew data/tiers/local" in str(found[LOCAL_TIER])
    assert found[HOME] is None
    assert not layout.local_tier.exists()
    layout.local_tier.with_name("unmounted").rename(layout.local_tier)
    assert [place.reason for place in await again.look()] == [None, None]


def test_disk_without_space_is_told_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before writes fail, and with what to do."""
    assert disk_of("home", tmp_path).free_bytes
    monkeypatch.setattr("deploy.stack.places.FREE_BYTES_MIN", 1 << 62)
    assert f"the disk of {tmp_path} is full" in str(disk_of("home", tmp_path).reason)
    assert "cannot be looked at" in str(disk_of("home", tmp_path / "nowhere").reason)
    assert FREE_BYTES_MIN >= 64 * 1024**2


async def test_store_on_a_disk_that_hangs_is_named_and_keeps_nobody_waiting(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the look nor the start of its part waits for it; a server that has died is no other store either."""
    monkeypatch.setattr(stores, "OPEN_SECONDS", 0.2)
    await store.open()
    ticks = 0

    async def others() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    with hung_mount(store.folder) as mount:
        others_go_on = asyncio.create_task(others())
        found = await store.trouble()
        assert found is not None
        assert found.reason == f"{store.folder} cannot be looked at: it does not answer within 3 s"
        assert found.grade is Grade.NOT_READY
        assert not found.restart_helps
        assert ticks > 10
        with pytest.raises(StoreGone, match=r"data/s3/offsite cannot be used: it does not answer within 0\.2 s"):
            await store.open()
        others_go_on.cancel()
        mount.die()
        with pytest.raises(StoreGone, match="cannot be looked at: Transport endpoint is not connected"):
            await store.open()
    await store.open()
    assert await store.trouble() is None


async def test_local_tier_whose_mount_is_broken_keeps_no_platform_from_starting(layout: Layout) -> None:
    """It is told as that, be it hung or dead, and is well again by itself."""
    await Places(layout).open()
    again = Layout.find(layout.home)
    places = Places(again)
    with hung_mount(layout.local_tier) as mount:
        mount.die()
        Layout.create(layout.home)
        again.note_begun()
        await places.open()
        home, tier = await places.look()
        assert home.reason is None
        assert "data/tiers/local cannot be looked at: Transport endpoint is not connected" in str(tier.reason)
    assert [place.reason for place in await places.look()] == [None, None]
