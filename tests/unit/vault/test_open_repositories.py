"""Repositories that stay open: lent again while all is as it was, and never where it is not."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chassis.life.signs import Signs
from chassis.sealing import prepare_keys_folder
from contracts import errors
from contracts.errors import PlatformError
from repository.backup.workshop import Workshop
from repository.keys.key_file import KeyFile
from repository.opened import key_change
from repository.opened.open_tier import TierState
from repository.stored.config import CONFIG_KEY
from repository.stored.log_entry import entry_object_key
from repository.tiers.memory import MemoryObjectStore
from tests.support.eventually import eventually
from tests.support.repositories import SeededRandomness, photos, write_snapshot
from tests.unit.vault.test_repositories import _Remembered, nowhere
from vault import open_repositories
from vault.key_files import name_of
from vault.open_repositories import Lease, OpenRepositories
from vault.places import Place
from vault.repositories import Repositories

ORGANISATION = "org-a"


class _Bucket(MemoryObjectStore):
    """Counts its calls, and how often it was closed."""

    calls = 0
    closed = 0

    def get(self, key: str, **options: int) -> bytes:
        self.calls += 1
        return super().get(key, **options)

    def close(self) -> None:
        self.closed += 1


class _Vault:
    """One organisation's places, and what a process keeps open of them."""

    def __init__(self, keys: Path, **options: float) -> None:
        prepare_keys_folder(keys)
        self.keys = keys
        self.begun = _Remembered()
        self.stores = {name: _Bucket(name) for name in ("local", "cloud")}
        self.marks = dict.fromkeys(self.stores, "as ever")
        self.opened = OpenRepositories(Repositories(self.begun, keys, place_at=nowhere), Workshop(512 << 20), **options)

    def lease(self) -> Lease:
        """As a run takes one."""
        return self.opened.lease(ORGANISATION, [self._place(name) for name in self.stores], Signs())

    def _place(self, name: str) -> Place:
        store = self.stores[name]
        return Place(
            store=store,
            location=f"at-{name}",
            folder=None,
            patience_seconds=30.0,
            store_of=lambda _: store,
            mark=self.marks[name],
        )


@pytest.fixture
def vault(tmp_path: Path) -> _Vault:
    made = _Vault(tmp_path)
    lease = made.lease()
    write_snapshot(lease.repository, lease.repository.ready_tiers(), photos(3), "run", SeededRandomness())
    lease.remember()
    lease.release(is_doubtful=False)
    return made


def test_next_run_has_the_same_repository_and_reads_next_to_nothing(vault: _Vault) -> None:
    """Also while the one before still has it; what another process committed meanwhile is known."""
    first = vault.lease()
    before = vault.stores["cloud"].calls
    second = vault.lease()
    assert second.repository is first.repository
    assert second.sharing is first.sharing
    assert vault.stores["cloud"].calls - before <= 2
    other = Repositories(vault.begun, vault.keys, place_at=nowhere).open(
        ORGANISATION, [vault._place(name) for name in vault.stores], Signs()
    )
    made = write_snapshot(other, other.ready_tiers(), photos(3, seed=1), "other", SeededRandomness(1))
    third = vault.lease()
    assert third.repository is first.repository
    assert made is not None
    assert made.id in third.repository.tier("cloud").snapshots()


def _config_gone(vault: _Vault) -> None:
    vault.stores["cloud"]._objects.pop(CONFIG_KEY)


def _rolled_back(vault: _Vault) -> None:
    number = vault.begun.rows[ORGANISATION, "at-cloud"].seen.head.number  # type: ignore[union-attr]
    vault.stores["cloud"]._objects.pop(entry_object_key(number))


def _keys_gone(vault: _Vault) -> None:
    for key in [key for key in vault.stores["cloud"]._objects if key.startswith("keys/")]:
        vault.stores["cloud"]._objects.pop(key)


def _index_gone(vault: _Vault) -> None:
    for key in [key for key in vault.stores["cloud"]._objects if key.startswith("index/")]:
        vault.stores["cloud"]._objects.pop(key)


def _emptied(vault: _Vault) -> None:
    vault.stores["cloud"]._objects.clear()


def _other_address(vault: _Vault) -> None:
    vault.marks["cloud"] = "other credentials"


def _other_key(vault: _Vault) -> None:
    path = vault.keys / name_of(ORGANISATION)
    body = path.read_bytes()
    path.unlink()
    path.write_bytes(body)
    path.chmod(0o600)


def _forgotten(vault: _Vault) -> None:
    vault.begun.rows.pop((ORGANISATION, "at-cloud"))


def _key_made(vault: _Vault) -> None:
    other = Repositories(vault.begun, vault.keys, place_at=nowhere).open(
        ORGANISATION, [vault._place(name) for name in vault.stores], Signs()
    )
    key_change.add_generation(other, KeyFile.load(vault.keys / name_of(ORGANISATION)))


def test_key_that_another_process_made_is_written_under(vault: _Vault) -> None:
    """Nothing is encrypted under a key that was rotated away, and what is under the new one can be read."""
    held = vault.lease()
    before = held.repository.keys.active().key_id
    _key_made(vault)
    assert vault.lease().repository.keys.active().key_id != before


@pytest.mark.parametrize("call", ["of", "remember"])
def test_record_that_does_not_answer_keeps_no_repository_open(
    vault: _Vault, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The run that could not begin has nothing to give back; the last one that has it closes it."""
    held = vault.lease()

    def is_down(*_: object) -> None:
        raise PlatformError(errors.UNAVAILABLE, "the record does not answer")

    if call == "of":
        monkeypatch.setattr(vault.begun, call, is_down)
    else:
        monkeypatch.setattr(vault.opened._repositories, call, is_down)
    with pytest.raises(PlatformError, match="does not answer"):
        vault.lease()
    monkeypatch.undo()
    closed = vault.stores["cloud"].closed
    held.release(is_doubtful=False)
    assert vault.stores["cloud"].closed == closed + 1


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (_config_gone, TierState.DAMAGED),
        (_rolled_back, TierState.REPLAYED),
        (_emptied, TierState.VANISHED),
        (_keys_gone, TierState.READY),
        (_index_gone, TierState.DAMAGED),
        (_other_address, TierState.READY),
        (_other_key, TierState.READY),
        (_forgotten, TierState.READY),
        (_key_made, TierState.READY),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_repository_is_opened_anew_where_anything_is_another(
    vault: _Vault, change: Callable[[_Vault], None], state: TierState
) -> None:
    """What a run would have found by opening, it finds: a tier is never written on the word of an earlier run."""
    held = vault.lease()
    change(vault)
    later = vault.lease()
    assert later.repository is not held.repository
    assert later.repository.tier("cloud").state is state
    assert later.repository.tier("local").is_ready


def test_tier_that_went_back_to_what_this_process_has_not_seen_is_not_believed(vault: _Vault) -> None:
    """Another process has remembered a later head: the tier, and the log in memory, are behind it."""
    held = vault.lease()
    seen = vault.begun.rows[ORGANISATION, "at-cloud"].seen
    assert seen is not None
    later = seen._replace(head=seen.head._replace(number=seen.head.number + 1, digest=b"n" * 32))
    vault.begun.remember(ORGANISATION, "at-cloud", held.repository.id.hex(), later)
    assert vault.lease().repository.tier("cloud").state is TierState.REPLAYED


def test_doubtful_repository_is_lent_to_nobody_and_closed_by_its_last_run(vault: _Vault) -> None:
    """A run in which a tier failed, or that was left behind in a call, sends the next one to a new repository."""
    first, second = vault.lease(), vault.lease()
    closed = vault.stores["cloud"].closed
    first.release(is_doubtful=True)
    first.release(is_doubtful=True)
    third = vault.lease()
    assert third.repository is not second.repository
    assert vault.stores["cloud"].closed == closed
    second.release(is_doubtful=False)
    assert vault.stores["cloud"].closed == closed + 1
    third.release(is_doubtful=False)
    assert vault.lease().repository is third.repository
    assert vault.stores["cloud"].closed == closed + 2, "the store that the second lease had brought along"


def test_tier_that_is_away_keeps_nobody_from_a_fresh_look(vault: _Vault) -> None:
    """Only a repository whose tiers are all ready is kept."""
    held = vault.lease()
    held.repository.tier("cloud").set_state(TierState.UNREACHABLE, None)
    held.release(is_doubtful=False)
    again = vault.lease()
    assert again.repository is not held.repository
    assert again.repository.tier("cloud").is_ready


def test_places_that_nobody_can_vouch_for_are_opened_for_each_run(vault: _Vault) -> None:
    """Without a mark there is nothing to compare."""
    place = replace(vault._place("local"), mark=None)
    first = vault.opened.lease(ORGANISATION, [place], Signs())
    assert vault.opened.lease(ORGANISATION, [place], Signs()).repository is not first.repository


async def test_repository_that_nobody_uses_is_closed(tmp_path: Path) -> None:
    """After a while; one that was taken again meanwhile is not."""
    vault = _Vault(tmp_path, idle_seconds=0.05)
    lease = vault.lease()
    lease.release(is_doubtful=False)
    await eventually(lambda: vault.stores["cloud"].closed == 1)
    assert vault.lease().repository is not lease.repository


async def test_short_runs_leave_no_thread_each_and_no_number_of_open_repositories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread closes what is overdue; beyond a bound those close that were used longest ago, none in use."""
    monkeypatch.setattr(open_repositories, "IDLE_MAX", 3)
    vault, before = _Vault(tmp_path), set(threading.enumerate())
    vault.marks["cloud"] = "in use"
    used = vault.lease()
    for number in range(6):
        vault.marks["cloud"] = f"credentials {number}"
        for _ in range(3):
            vault.lease().release(is_doubtful=False)
    begun = set(threading.enumerate()) - before
    assert len({each for each in begun if isinstance(each, threading.Timer) or each.name == "close-idle"}) == 1
    await eventually(lambda: len(vault.opened._kept) == 4)
    vault.marks["cloud"] = "in use"
    assert vault.lease().repository is used.repository
    kept = {kept.repository for kept in vault.opened._kept.values()}
    vault.marks["cloud"] = "credentials 5"
    assert vault.lease().repository in kept
    vault.marks["cloud"] = "credentials 0"
    assert vault.lease().repository not in kept


async def test_upkeep_is_one_runs_at_a_time_and_no_left_one_holds_it(vault: _Vault) -> None:
    """The second waits and hears of it; when the first is given up on, it goes on."""
    first, second = vault.lease(), vault.lease()
    heard: list[int] = []

    def on_waiting() -> None:
        heard.append(1)
        first.release(is_doubtful=True)

    with first.upkeep(lambda: None), second.upkeep(on_waiting):
        assert heard == [1]
    with second.upkeep(on_waiting):
        assert heard == [1]
