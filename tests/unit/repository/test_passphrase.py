"""A passphrase as key provider: what it opens, what it costs, and what it never does."""

import struct

import pytest

from repository.errors import Damaged, KeyNotGiven, KeyUnavailable, WrongKey
from repository.keys import passphrase
from repository.keys.key_ring import KEY_PREFIX, WrappedKey
from repository.keys.passphrase import MAGIC, Cost, Passphrase, expect_good
from repository.opened.key_change import add_generation, rewrap
from repository.opened.repository import Repository
from repository.tiers.memory import MemoryObjectStore
from tests.support.repositories import Scene, SeededRandomness, key_file, photos, read_back

CHEAP = Cost(8 << 10, 1, 1)
SECRET = "correct horse battery staple"


def _cheap(text: str = SECRET, seed: int = 1) -> Passphrase:
    return Passphrase(text, CHEAP, SeededRandomness(seed))


def test_passphrase_opens_what_another_process_wrapped_and_no_other_one_does() -> None:
    """Salt and cost stand beside the wrapped key: nothing but the passphrase has to be remembered."""
    wrapping = _cheap()
    wrapped = wrapping.wrap(b"master", b"bound")
    for opening in (Passphrase(SECRET), Passphrase("correct horse battery staple")):
        assert opening.unwrap(wrapping.kek_id(), wrapped, b"bound") == b"master"
        assert opening.kek_id() == wrapping.kek_id(), "what it wraps next is under the same key"
    with pytest.raises(WrongKey):
        Passphrase(f"{SECRET}.").unwrap(wrapping.kek_id(), wrapped, b"bound")
    assert SECRET not in repr(wrapping)


def test_passphrase_is_the_same_however_its_characters_are_composed() -> None:
    wrapping = _cheap("caf\u00e9 au lait")
    assert Passphrase("cafe\u0301 au lait").unwrap(wrapping.kek_id(), wrapping.wrap(b"m", b""), b"") == b"m"


@pytest.mark.parametrize("place", [0, 9, 13, 17, 25, 40, 60])
def test_flipped_bit_of_a_wrapping_opens_nothing(place: int) -> None:
    wrapping = _cheap()
    wrapped = bytearray(wrapping.wrap(b"master", b"bound"))
    wrapped[place] ^= 1
    with pytest.raises((Damaged, WrongKey)):
        Passphrase(SECRET).unwrap(wrapping.kek_id(), bytes(wrapped), b"bound")


@pytest.mark.parametrize(
    "cost",
    [(1 << 30, 1, 1), (64 << 10, 1 << 31, 1), (64 << 10, 3, 1 << 20), (1 << 20, 64, 1), (8, 1, 1), (64 << 10, 0, 1)],
    ids=["memory", "passes", "lanes", "both", "cheap", "none"],
)
def test_hostile_cost_is_never_paid(cost: tuple[int, int, int]) -> None:
    """Whoever may write to a bucket decides neither how much memory opening takes nor how long it lasts."""
    wrapped = struct.pack("<8sIII16s", MAGIC, *cost, bytes(16)) + bytes(60)
    with pytest.raises(Damaged, match="work"):
        Passphrase(SECRET).unwrap(bytes(16), wrapped, b"")


def test_many_hostile_wrappings_cost_no_more_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "WORK_MAX_KIB", 5 * CHEAP.memory_kib)
    provider = _cheap()
    for number in range(5):
        with pytest.raises(WrongKey):
            provider.unwrap(bytes(16), struct.pack("<8sIII16s", MAGIC, *CHEAP, bytes([number] * 16)) + bytes(60), b"")
    with pytest.raises(KeyUnavailable, match="more work"):
        provider.unwrap(bytes(16), struct.pack("<8sIII16s", MAGIC, *CHEAP, bytes([9] * 16)) + bytes(60), b"")


def test_repository_opens_by_key_file_and_by_passphrase_alike() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(3), "run 0")
    assert rewrap(scene.repository, _cheap()) == {"a": None, "b": None}
    by_passphrase = Repository.open(scene.stores, Passphrase(SECRET))
    (snapshot,) = by_passphrase.snapshots()
    assert read_back(by_passphrase, snapshot, by_passphrase.tier("b")) == photos(3)
    # A new generation is wrapped under the key that opened, and is found by the passphrase again.
    opened = Passphrase(SECRET)
    again = Repository.open(scene.stores, opened)
    add_generation(again, opened)
    assert len(Repository.open(scene.stores, Passphrase(SECRET)).keys.all()) == 2
    with pytest.raises(WrongKey):
        Repository.open(scene.stores, Passphrase("something else"))


def test_repository_made_under_a_passphrase_opens_although_junk_lies_beside_its_key() -> None:
    store = MemoryObjectStore("a")
    made = Repository.init([store], _cheap())
    junk = struct.pack("<8sIII16s", MAGIC, 1 << 31, 1, 1, bytes(16)) + bytes(60)
    forged = WrappedKey(1, made.id.hex(), "00" * 16, "11" * 16, junk.hex())
    store.put(f"{KEY_PREFIX}{'00' * 16}.{'11' * 16}", forged.encode())
    assert Repository.open([store], Passphrase(SECRET)).tier("a").is_ready
    with pytest.raises(WrongKey):
        Repository.open([_copy_without_junk(store)], key_file(9))


def _copy_without_junk(store: MemoryObjectStore) -> MemoryObjectStore:
    copy = MemoryObjectStore("a")
    for key, body in store.contents().items():
        if "11" * 16 not in key:
            copy.put(key, body)
    return copy


@pytest.mark.parametrize("text", ["", "pw7tiny", "x" * 2000], ids=["empty", "short", "long"])
def test_bad_new_passphrase_is_refused_and_never_shown(text: str) -> None:
    with pytest.raises(KeyNotGiven) as refused:
        expect_good(text)
    assert not text or text not in f"{refused.value} {refused.value.hint}"
