"""Streams in small repositories, for tests."""

from repository.errors import TierUnreachable
from repository.opened.repository import Repository
from repository.stored.stream_piece import piece_object_key
from repository.streams.reading import read_stream
from repository.streams.stream import Stream, open_stream
from repository.tiers.memory import MemoryObjectStore
from tests.support.misbehaving_stores import WrappedStore
from tests.support.repositories import Scene

WAL = "main/wal"


class Away(WrappedStore):
    """A tier that answers nothing while it is away, and counts what it is asked."""

    def __init__(self, name: str) -> None:
        super().__init__(MemoryObjectStore(name))
        self.is_away = False
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> object:
        if name in {"put", "get", "get_range", "head", "list", "delete", "settle"}:
            self.calls.append(name)
            if self.is_away:
                raise TierUnreachable("tier is away", tier=self.name)
        return super().__getattribute__(name)


def bytes_of(repository: Repository, position: int | None = None, tiers: list[str] | None = None) -> bytes:
    """The stream as it is read back."""
    return b"".join(piece.data for piece in read_stream(repository, WAL, position, tiers=tiers))


def filled(scene: Scene, count: int = 5, start: int = 1000) -> Stream:
    """A stream of some pieces of growing length, the first at `start`."""
    stream = open_stream(scene.repository, WAL)
    for number in range(count):
        stream.append(bytes([number]) * (number + 1), position=start if not number else None)
    return stream


def key_of(repository: Repository, number: int) -> str:
    """The object key of a piece."""
    return piece_object_key(repository.keys.root.stream_id(WAL), number)


def fork(scene: Scene, stores: list[Away]) -> None:
    """Two writers that see one tier each append other bytes."""
    open_stream(scene.repository, WAL).append(b"both")
    for away, data in ((0, b"one"), (1, b"two")):
        stores[away].is_away = True
        open_stream(scene.reopen(), WAL).append(data)
        stores[away].is_away = False
    scene.reopen()
