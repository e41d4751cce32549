"""The tier in memory beyond the common contract."""

import pytest

from repository.errors import TierFull
from repository.tiers.memory import MemoryObjectStore


def test_memory_tier_fills_up_and_has_space_again() -> None:
    """Beyond its capacity nothing is stored; what is deleted or shrinks makes room."""
    store = MemoryObjectStore(capacity_bytes=10, objects={"a": b"1234"})
    store.put("b", b"123456")
    for key in ("a", "c"):
        with pytest.raises(TierFull):
            store.put(key, b"12345")
    assert store.contents() == {"a": b"1234", "b": b"123456"}
    store.put("a", b"1")
    store.put("c", b"123")
    store.delete("b")
    store.put("d", b"123456")
    assert sorted(store.contents()) == ["a", "c", "d"]


def test_memory_tier_is_a_copy_of_what_it_was_made_of() -> None:
    """Neither the mapping that it began with nor the one that it gives out is its own."""
    objects = {"a": b"1"}
    store = MemoryObjectStore("name", objects=objects)
    store.put("b", b"2")
    store.contents().clear()
    assert objects == {"a": b"1"}
    assert store.name == "name"
    assert sorted(store.contents()) == ["a", "b"]
