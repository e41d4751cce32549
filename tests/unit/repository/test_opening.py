"""Opening over several tiers: who answers opens, who does not is named, and holds nobody up."""

import threading
from collections.abc import Iterator, Sequence

import pytest

from repository.errors import Damaged, WrongKey, about
from repository.keys.key_file import KeyFile
from repository.opened.open_tier import TierState
from repository.opened.opening import Patience
from repository.opened.repository import Repository
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import OBJECT_LENGTH_MAX, ObjectInfo
from tests.support.misbehaving_stores import WrappedStore
from tests.support.repositories import key_file


class HangingStore(WrappedStore):
    """Answers nothing until it is let go, as a server that was frozen."""

    def __init__(self, inner: MemoryObjectStore) -> None:
        super().__init__(inner)
        self.let_go = threading.Event()

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Hangs."""
        assert self.let_go.wait(60)
        return super().list(prefix, after=after)

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        """Hangs."""
        assert self.let_go.wait(60)
        return super().get(key, length_max=length_max)


def _tiers(keys: KeyFile) -> tuple[MemoryObjectStore, HangingStore]:
    first, second = MemoryObjectStore("first"), MemoryObjectStore("second")
    Repository.init([first, second], keys)
    return first, HangingStore(second)


def test_tier_that_hangs_is_named_and_not_waited_for() -> None:
    """The repository opens from the tier that answers; the other is unreachable, and is told of meanwhile."""
    keys = key_file()
    first, second = _tiers(keys)
    told: list[Sequence[str]] = []
    patience = Patience(seconds=0.05, say_seconds=0.01, on_waiting=told.append)
    try:
        repository = Repository.open([second, first], keys, patience=patience)
        assert {tier.name: tier.state for tier in repository.tiers} == {
            "first": TierState.READY,
            "second": TierState.UNREACHABLE,
        }
        assert "second" in str(repository.states())
        assert told[0][0] == "second"
        assert len(told) == 1
    finally:
        second.let_go.set()


@pytest.mark.parametrize("begins", [False, True])
def test_wait_is_told_again_and_again(begins: bool) -> None:
    """Where nobody answers, also while a repository is begun, who waits hears of it more than once."""
    keys = key_file()
    hanging = HangingStore(MemoryObjectStore("second")) if begins else _tiers(keys)[1]
    told: list[Sequence[str]] = []

    def hear(names: Sequence[str]) -> None:
        told.append(names)
        if len(told) == 3:
            hanging.let_go.set()

    patience = Patience(say_seconds=0.01, again_seconds=0.01, on_waiting=hear)
    if begins:
        Repository.init([hanging], keys, patience=patience)
    else:
        Repository.open([hanging], keys, patience=patience)
    assert told[:3] == [["second"]] * 3


def test_tier_of_its_own_patience_is_waited_for() -> None:
    """A tier that somebody cannot do without has its time; it is there when it answers within it."""
    keys = key_file()
    first, second = _tiers(keys)
    patience = Patience(
        seconds=0.0, seconds_of={"second": 60.0}, say_seconds=0.01, on_waiting=lambda _names: second.let_go.set()
    )
    repository = Repository.open([first, second], keys, patience=patience)
    assert {tier.state for tier in repository.tiers} == {TierState.READY}


def test_answer_of_another_repository_gives_nobody_up_for_good() -> None:
    """Where the tier that answers is of no use, the others get their whole time."""
    keys = key_file()
    _, second = _tiers(keys)
    other = MemoryObjectStore("other")
    Repository.init([other], key_file(seed=7))
    threading.Timer(0.3, second.let_go.set).start()
    repository = Repository.open([other, second], keys, patience=Patience(seconds=0.0))
    assert repository.tier("second").state is TierState.READY
    assert repository.tier("other").state is TierState.FOREIGN


def test_wrong_key_is_told_without_a_second_look() -> None:
    """What nobody was given up for is an answer."""
    store = MemoryObjectStore("only")
    Repository.init([store], key_file())
    with pytest.raises(WrongKey):
        Repository.open([store], key_file(seed=7))


def test_error_names_what_it_is_about() -> None:
    """Its text has the tier and the object, in one printable line; who knows them adds them to a deeper layer's."""
    with pytest.raises(Damaged) as caught, about(tier="offsite", object_key="packs/ab/cd"):
        raise Damaged("pack does not start with its magic", found=b"\x00\xff", tier="local")
    assert str(caught.value) == ("pack does not start with its magic (found 00ff, tier local, object key packs/ab/cd)")
    assert caught.value.message == "pack does not start with its magic"
    assert "\x1b" not in str(Damaged("x", name="\x1b[31m"))


def test_damage_below_the_keys_is_told_with_its_tier_and_object() -> None:
    """A log entry whose bytes do not open is named, tier and all."""
    keys = key_file()
    store = MemoryObjectStore("offsite")
    Repository.init([store], keys)
    entry = next(iter(store.list("log/"))).key
    store.delete(entry)
    store.put(entry, b"nothing of the kind")
    repository = Repository.open([store], keys)
    assert f"tier offsite, object key {entry}" in str(repository.tier("offsite").error)
