"""A dictionary of which many versions share what they have in common.

Promise: `fork` costs the same whatever the size, but for one fork in `OVERLAY_MAX`; a version that was forked is not
changed by what happens to its fork. Order is that of insertion, as in a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Final, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

OVERLAY_MAX: Final = 256


class SharedMap(MutableMapping[Key, Value]):
    """A large dictionary that is never changed once it is shared, and the few changes since."""

    __slots__ = ("_added", "_base", "_removed")

    def __init__(self, base: dict[Key, Value] | None = None) -> None:
        self._base: dict[Key, Value] = {}
        self._added: dict[Key, Value] = {} if base is None else base
        self._removed: set[Key] = set()

    def fork(self) -> SharedMap[Key, Value]:
        """A version that may be changed. This one is not changed any more."""
        forked: SharedMap[Key, Value] = SharedMap()
        if len(self._added) + len(self._removed) > OVERLAY_MAX:
            forked._base = self.plain() if self._base else self._added
        else:
            forked._base, forked._added, forked._removed = self._base, dict(self._added), set(self._removed)
        return forked

    def plain(self) -> dict[Key, Value]:
        """The same as a dictionary of the caller's own: what looks at all of it does so faster."""
        plain = {**self._base, **self._added}
        for key in self._removed - self._added.keys():
            del plain[key]
        return plain

    def __getitem__(self, key: Key) -> Value:
        if key in self._added:
            return self._added[key]
        if key in self._removed:
            raise KeyError(key)
        return self._base[key]

    def __setitem__(self, key: Key, value: Value) -> None:
        self._added[key] = value

    def __delitem__(self, key: Key) -> None:
        if key not in self:
            raise KeyError(key)
        self._added.pop(key, None)
        if key in self._base:
            self._removed.add(key)

    def __contains__(self, key: object) -> bool:
        return key in self._added or (key in self._base and key not in self._removed)

    def __iter__(self) -> Iterator[Key]:
        for key in self._base:
            if key in self._added or key not in self._removed:
                yield key
        for key in self._added:
            if key not in self._base:
                yield key

    def __reversed__(self) -> Iterator[Key]:
        for key in reversed(self._added):
            if key not in self._base:
                yield key
        for key in reversed(self._base):
            if key in self._added or key not in self._removed:
                yield key

    def __len__(self) -> int:
        new = sum(key not in self._base for key in self._added)
        back = sum(key in self._added for key in self._removed)
        return len(self._base) - len(self._removed) + back + new

    def __repr__(self) -> str:
        return f"SharedMap({dict(self)!r})"
