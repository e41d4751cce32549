"""Stores that do not keep what the repository rests on are refused before anything is written."""

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from repository.errors import AccessDenied, LocationInvalid, ObjectMissing, TierUnreachable
from repository.opened.repository import Repository
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import OBJECT_LENGTH_MAX, Body, ObjectInfo, ObjectStore
from repository.tiers.proof import prove
from tests.support.misbehaving_stores import FailingStore, KeepingStore, LyingStore, WrappedStore
from tests.support.repositories import key_file


class Unconditional(WrappedStore):
    """A server that ignores conditions."""

    def put(
        self,
        key: str,
        body: Body,
        *,
        sha256: bytes | None = None,
        if_absent: bool = False,
        lock_until: datetime | None = None,
        durable: bool = True,
    ) -> None:
        """Replace whatever is there."""
        self.inner.put(key, body)


class Destructive(WrappedStore):
    """A server that refuses the creation, and has replaced the object all the same."""

    def put(
        self,
        key: str,
        body: Body,
        *,
        sha256: bytes | None = None,
        if_absent: bool = False,
        lock_until: datetime | None = None,
        durable: bool = True,
    ) -> None:
        """Replace, then do what was asked."""
        try:
            self.inner.put(key, body, if_absent=if_absent)
        finally:
            self.inner.put(key, body)


class WithoutRanges(WrappedStore):
    """A server that gives the whole object for a range."""

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """All of it."""
        return self.inner.get(key)


class WithoutListing(WrappedStore):
    """A server that lists late."""

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Nothing yet."""
        return iter(())


class Changing(WrappedStore):
    """A server that changes what it keeps."""

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        """Other line ends, say."""
        return self.inner.get(key, length_max=length_max)[:-1] + b"!"


class Blind(WrappedStore):
    """A server that does not answer HEAD rightly."""

    def head(self, key: str) -> ObjectInfo | None:
        """Nothing there."""
        return None


UNFIT: list[Callable[[ObjectStore], ObjectStore]] = [
    Unconditional,
    Destructive,
    WithoutRanges,
    WithoutListing,
    Changing,
    Blind,
    lambda inner: LyingStore(inner, lambda key: True),
]


@pytest.mark.parametrize("unfit", UNFIT, ids=["condition", "destroys", "range", "list", "bytes", "head", "drops"])
def test_repository_is_not_begun_on_a_store_that_is_not_fit(unfit: Callable[[ObjectStore], ObjectStore]) -> None:
    """The creation is refused with what the store does not do, and nothing of a repository is written to any tier."""
    good, inner = MemoryObjectStore("good"), MemoryObjectStore("bad")
    with pytest.raises(LocationInvalid) as caught:
        Repository.init([good, unfit(inner)], key_file())
    assert caught.value.context["tier"] == "bad"
    assert good.contents() == {}
    assert not [key for key in inner.contents() if not key.startswith("pending/")]


def test_prove_leaves_nothing_on_a_store_that_is_fit() -> None:
    """The object that it tried with is gone; where it must not be deleted it stays, and that is no error."""
    store = MemoryObjectStore()
    prove(store, "pending/")
    assert store.contents() == {}
    prove(KeepingStore(store, lambda: AccessDenied("no")), "pending/")
    assert len(store.contents()) == 1


def test_prove_passes_on_that_a_store_cannot_be_reached() -> None:
    """A tier that goes away meanwhile is unreachable, and not unfit."""
    for after in range(8):
        failing = FailingStore(MemoryObjectStore(), lambda: TierUnreachable("gone"), after=after)
        with pytest.raises(TierUnreachable):
            prove(failing, "pending/")
    with pytest.raises(LocationInvalid):
        prove(
            FailingStore(MemoryObjectStore(), lambda: ObjectMissing("?"), after=0, calls=frozenset({"get"})),
            "pending/",
        )
