"""Small repositories on tiers in memory, written through the real modules, the same bytes on every run."""

import hashlib
import stat
from collections.abc import Iterable, Mapping, Sequence

from repository.errors import RepositoryError
from repository.format import Compression, ContentClass, PackKind, pack_object_key
from repository.keys.key_file import KeyFile
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.stored.pack_builder import BUFFER_LENGTH_MIN, PackWriter, RawFrame, SealedPack
from repository.stored.snapshot import Snapshot, SnapshotManifest
from repository.stored.tree import ROOT_NAME, Extra, Page, Row, columns_of, encode_page, encode_xattrs
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import ObjectStore

START_NS = 1_790_000_000_000_000_000


class SeededRandomness:
    """Bytes that look random and are the same on every run."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._calls = 0

    def token_bytes(self, count: int) -> bytes:
        """The next `count` bytes."""
        self._calls += 1
        return hashlib.shake_256(f"{self._seed}/{self._calls}".encode()).digest(count)


class CountingClock:
    """A clock that advances by one second whenever it is read."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """The next second."""
        self._now_ns += 1_000_000_000
        return self._now_ns


class _OneBuffer:
    """Buffers as many as are asked for."""

    def acquire(self) -> bytearray:
        return bytearray(BUFFER_LENGTH_MIN)

    def release(self, buffer: bytearray) -> None:
        del buffer


def key_file(seed: int = 0) -> KeyFile:
    """A key provider with one key."""
    return KeyFile([hashlib.sha256(f"kek {seed}".encode()).digest()], SeededRandomness(1000 + seed))


class Scene:
    """A repository on `names` tiers in memory. `stores` may be given instead, empty ones."""

    def __init__(
        self,
        names: Sequence[str] = ("a",),
        *,
        stores: Sequence[ObjectStore] | None = None,
        seed: int = 0,
        locks: bool = False,
    ) -> None:
        self.randomness = SeededRandomness(seed)
        self.clock = CountingClock()
        self.provider = key_file(seed)
        self.stores: list[ObjectStore] = (
            list(stores) if stores is not None else [MemoryObjectStore(name, locks=locks) for name in names]
        )
        self.repository = Repository.init(self.stores, self.provider, clock=self.clock, randomness=self.randomness)

    def store(self, name: str) -> MemoryObjectStore:
        """A tier's store in memory."""
        found = next(store for store in self.stores if store.name == name)
        assert isinstance(found, MemoryObjectStore)
        return found

    def tier(self, name: str) -> OpenTier:
        """A tier of the open repository."""
        return self.repository.tier(name)

    def another(self, *names: str) -> Repository:
        """The repository as another process opens it, with all tiers or these alone."""
        stores = [self.store(name) for name in names] or self.stores
        return Repository.open(stores, self.provider, clock=self.clock, randomness=self.randomness)

    def reopen(self, *, stores: Sequence[ObjectStore] | None = None, **options: object) -> Repository:
        """Open the repository anew, as another process would."""
        self.repository = Repository.open(
            stores if stores is not None else self.stores,
            self.provider,
            clock=self.clock,
            randomness=self.randomness,
            **options,  # type: ignore[arg-type]
        )
        return self.repository

    def backup(
        self,
        files: Mapping[bytes, bytes],
        token: str,
        *,
        only: Iterable[str] | None = None,
        commit: bool = True,
        domain: str = "default",
    ) -> Snapshot | None:
        """Write files as one snapshot: each file a chunk, one page, and a root page above it.

        `only`: tiers (by name) that take part; the others stay behind. Without `commit` the packs are
        uploaded and nothing more, as if the writer had died.
        """
        tiers = [tier for tier in self.repository.ready_tiers() if only is None or tier.name in set(only)]
        return write_snapshot(self.repository, tiers, files, token, self.randomness, commit=commit, domain=domain)


def write_snapshot(
    repository: Repository,
    tiers: Sequence[OpenTier],
    files: Mapping[bytes, bytes],
    token: str,
    randomness: SeededRandomness,
    *,
    commit: bool = True,
    domain: str = "default",
) -> Snapshot | None:
    """A backup in small: see `Scene.backup`."""
    writer_token = randomness.token_bytes(16)
    repository.begin_writing(writer_token)
    index = repository.session_index()
    keys = repository.keys.active(domain)
    packs: set[bytes] = set()

    def on_pack(pack: SealedPack) -> None:
        for tier in tiers:
            tier.store.put(pack_object_key(pack.id), bytes(pack.body), durable=False)
        index.add_pack(pack.id, pack.frames)
        packs.add(pack.id)

    writers = {kind: PackWriter(keys, kind, _OneBuffer(), randomness, on_pack) for kind in PackKind}
    known: set[bytes] = set()

    def keep(body: bytes, kind: PackKind) -> bytes:
        chunk_id = keys.chunk_id(body)
        location = index.lookup(chunk_id)
        if location is not None:
            packs.add(location.pack_id)
        elif chunk_id not in known:
            known.add(chunk_id)
            writers[kind].add(RawFrame(chunk_id, (len(body),), len(body), ContentClass.GENERIC, Compression.NONE, body))
        return chunk_id

    names = sorted(files)
    contents: list[bytes | None] = [keep(files[name], PackKind.DATA) for name in names]
    writers[PackKind.DATA].flush()
    page_id = keep(
        encode_page(Page(names, columns_of([_row(files[name]) for name in names]), contents, {})), PackKind.TREE
    )
    extras = {0: Extra(xattrs_chunk=keep(encode_xattrs(((b"user.run", token.encode()),)), PackKind.TREE))}
    root = Page([ROOT_NAME], columns_of([_row(None)]), [page_id], extras)
    root_id = keep(encode_page(root), PackKind.TREE)
    writers[PackKind.TREE].flush()
    if not commit:
        return None
    manifest = SnapshotManifest(
        time_ns=repository.clock.now_ns(),
        run_token=token,
        label="photos",
        root=(root_id.hex(),),
        domain=keys.identity_id.hex(),
    )
    sealed = repository.seal_segments(index.take_new_segments())
    committed = [tier.commit_snapshot(manifest, packs=packs, new_segments=sealed) for tier in tiers]
    repository.end_writing(writer_token)
    return committed[0]


def _row(content: bytes | None) -> Row:
    mode = stat.S_IFDIR | 0o755 if content is None else stat.S_IFREG | 0o644
    size = len(content or b"")
    return (mode, 1000, 1000, size, START_NS, START_NS, 7, 1, 0)


def photos(count: int, seed: int = 0, length: int = 300) -> dict[bytes, bytes]:
    """Files with bytes that do not compress."""
    return {
        b"IMG_%04d.JPG" % number: hashlib.shake_256(f"{seed}/{number}".encode()).digest(length)
        for number in range(count)
    }


def read_back(repository: Repository, snapshot: Snapshot, tier: OpenTier) -> dict[bytes, bytes]:
    """The files of a snapshot of `write_snapshot`, from one tier alone."""
    from repository.opened.pack_access import ChunkReader
    from repository.stored.tree import decode_page

    reader = ChunkReader([tier], repository.keys)
    root = decode_page(reader.chunk(bytes.fromhex(snapshot.manifest.root[0])))
    page = decode_page(reader.chunk(root.contents[0] or b""))
    return {name: reader.chunk(content or b"") for name, content in zip(page.names, page.contents, strict=True)}


class BrokenStore:
    """A store of which chosen calls fail: `fail(method, key)` returns the error to raise, or None."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.failures: dict[str, RepositoryError] = {}

    def __getattr__(self, name: str) -> object:
        if name in self.failures:
            raise_this = self.failures[name]

            def fail(*_: object, **__: object) -> object:
                raise raise_this

            return fail
        return getattr(self._inner, name)
