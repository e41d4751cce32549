"""The packs of a tier as its store lists them."""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

from repository.errors import RepositoryError
from repository.tiers.port import ObjectStore

PACK_PREFIX: Final = "packs/"
PARALLEL_READS: Final = 8

_FAULTS_OF_OBJECTS: Final = frozenset(
    (
        "damaged",
        "object-missing",
        "object-truncated",
        "unknown-key",
        "checksum-mismatch",
        "unsupported-format",
    )
)

_PACK_KEY: Final = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{62})")

Item = TypeVar("Item")
Result = TypeVar("Result")


class StoredPack(NamedTuple):
    """A pack as the store lists it: its id (32 bytes) and its size in bytes."""

    id: bytes
    size: int


def stored_packs(store: ObjectStore) -> Iterator[StoredPack]:
    """The packs below `packs/`, by id; objects with other names are left out."""
    for info in store.list(PACK_PREFIX):
        named = _PACK_KEY.fullmatch(info.key)
        if named is not None:
            yield StoredPack(bytes.fromhex(named[2]), info.size)


def is_fault_of_object(error: RepositoryError) -> bool:
    """Whether the object is bad or gone, rather than the tier out of reach."""
    return error.code in _FAULTS_OF_OBJECTS


def each_in_parallel(call: Callable[[Item], Result], items: Iterable[Item], width: int) -> Iterator[Result]:
    """`call` of each item in order, `width` at a time; never holds more than that many results."""
    with ThreadPoolExecutor(width, thread_name_prefix="repository-read") as pool:
        running: list[Future[Result]] = []
        try:
            for item in items:
                running.append(pool.submit(call, item))
                if len(running) >= width:
                    yield running.pop(0).result()
            while running:
                yield running.pop(0).result()
        finally:
            for future in running:
                future.cancel()
