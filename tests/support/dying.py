"""A process that dies in the middle of its work, as its stores see it."""

from repository.errors import TierUnreachable
from repository.tiers.port import ObjectStore
from tests.support.repositories import BrokenStore


class Dying(BrokenStore):
    """A store as a process sees it that dies after some more puts and deletes, of all its stores together."""

    def __init__(self, inner: ObjectStore, left: list[int]) -> None:
        super().__init__(inner)
        self._left = left

    def __getattr__(self, name: str) -> object:
        found = super().__getattr__(name)
        if name not in ("put", "delete"):
            return found

        def call(*words: object, **options: object) -> object:
            self._left[0] -= 1
            if self._left[0] < 0:
                raise TierUnreachable("the process is dead")
            assert callable(found)
            return found(*words, **options)

        return call
