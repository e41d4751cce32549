"""The small parts of a backup, one by one: parent pages, pack usage, tree building, fan-out, progress."""

import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from repository.backup.fanout import Delivery, Fanout, no_tier_left
from repository.backup.hard_links import HardLinks
from repository.backup.pack_usage import PackUsage
from repository.backup.parent_pages import ParentPages
from repository.backup.problems import KEPT_MAX, FileError, ProblemLog
from repository.backup.source import FileProblem, Reason
from repository.errors import BackupCancelled, Damaged, NoUsableTier, TierFull
from repository.format import PackKind
from repository.keys import crypto
from repository.opened.pack_access import FRAMES_MAX, ChunkReader, PackAccess
from repository.progress import Progress, Ticker
from repository.stored.memory_budget import MemoryBudget, MemoryShare, SharePool
from repository.stored.pack_builder import SealedPack
from repository.stored.tree import Extra, Page, Row, columns_of, decode_page, encode_page
from repository.stored.tree_builder import OpenDirectory, TreeBuilder
from repository.tiers.folder.store import DirectoryObjectStore
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import PackProof
from repository.upkeep.root_change import change_root
from tests.support.repositories import Scene, photos

FILE: Row = (stat.S_IFREG | 0o644, 1, 1, 5, 100, 100, 7, 1, 0)
FOLDER: Row = (stat.S_IFDIR | 0o755, 1, 1, 0, 100, 100, 8, 1, 0)


class _Chunks:
    """Chunks in memory, by ids that count."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.loads: list[bytes] = []

    def keep(self, body: bytes) -> bytes:
        chunk_id = b"%032d" % len(self.kept)
        self.kept[chunk_id] = body
        return chunk_id

    def load(self, chunk_id: bytes) -> bytes:
        self.loads.append(chunk_id)
        if chunk_id not in self.kept:
            raise Damaged("gone")
        return self.kept[chunk_id]

    def page(self, *names: bytes, row: Row = FILE, content: bytes | None = b"c" * 32) -> bytes:
        page = Page(sorted(names), columns_of([row] * len(names)), [content] * len(names), {})
        return self.keep(encode_page(page))


class _Closable:
    closed = False

    def close(self) -> None:
        self.closed = True


# Parent pages


def test_parent_page_with_the_same_names_is_found() -> None:
    """Where the names are the same, the parent's page itself is handed out, loaded once."""
    chunks = _Chunks()
    ids = chunks.page(b"a", b"b") + chunks.page(b"c", b"d")
    pages = ParentPages(ids, 0, chunks.load)
    first = pages.advance([b"a", b"b"])
    second = pages.advance([b"c", b"d"])
    assert first is not None
    assert second is not None
    assert first.plain_files
    assert (first.page.names, second.page.names) == ([b"a", b"b"], [b"c", b"d"])
    assert len(chunks.loads) == 2
    assert pages.advance([b"e"]) is None
    assert pages.advance([]) is None


def test_parent_entries_are_found_over_page_bounds() -> None:
    """Pages that are cut elsewhere than the parent's still find each entry."""
    chunks = _Chunks()
    ids = chunks.page(b"a", b"c") + chunks.page(b"e", b"g") + chunks.page(b"i")
    pages = ParentPages(ids, 0, chunks.load)
    assert pages.advance([b"a", b"b", b"c", b"e"]) is None
    assert [pages.find(name) is not None for name in (b"a", b"b", b"c", b"e")] == [True, False, True, True]
    assert pages.advance([b"f", b"g", b"h"]) is None
    assert pages.find(b"g") is not None
    assert pages.find(b"f") is None
    assert pages.advance([b"z"]) is None
    assert pages.find(b"i") is None


def test_parent_folder_leads_to_its_pages() -> None:
    """A folder's pages are those of the parent's folder of that name; a file of the name has none."""
    chunks = _Chunks()
    below = chunks.page(b"x")
    ids = chunks.page(b"folder", row=FOLDER, content=below) + chunks.page(b"g file")
    pages = ParentPages(ids, 0, chunks.load)
    pages.advance([b"folder", b"g file", b"new"])
    assert pages.directory(b"folder").advance([b"x"]) is not None
    for name in (b"g file", b"new"):
        assert pages.directory(name).advance([b"x"]) is None


def test_damaged_parent_page_counts_as_absent() -> None:
    """A page that cannot be read hides itself and what is behind it, and raises nothing."""
    chunks = _Chunks()
    ids = chunks.page(b"a") + b"%032d" % 99 + chunks.page(b"c")
    pages = ParentPages(ids, 0, chunks.load)
    assert pages.advance([b"a"]) is not None
    assert pages.advance([b"b"]) is None
    assert pages.advance([b"c"]) is None


@pytest.mark.parametrize("what", ["folder", "untrusted time", "extra", "no content", "empty"])
def test_page_of_more_than_plain_files_is_looked_at_entry_by_entry(what: str) -> None:
    """Only a page of nothing but trusted files with content may be taken over as a whole."""
    row, content, extras = FILE, b"c" * 32, {}
    if what == "folder":
        row = FOLDER
    elif what == "untrusted time":
        row = (*FILE[:5], 0, *FILE[6:])
    elif what == "extra":
        extras = {0: Extra(flags=1)}
    chunks = _Chunks()
    names = [] if what == "empty" else [b"a"]
    page = Page(names, columns_of([row] * len(names)), [None if what == "no content" else content] * len(names), extras)
    pages = ParentPages(chunks.keep(encode_page(page)), 0, chunks.load)
    found = pages.advance([b"a"])
    assert found is None if what == "empty" else found is not None and not found.plain_files


# Packs that a snapshot needs


def test_usage_names_the_packs_of_what_is_known() -> None:
    """Chunks that are known give their packs; one that is not known makes the content unusable."""
    scene = Scene()
    scene.backup(photos(3), "1")
    index = scene.repository.session_index()
    usage = PackUsage(index, lambda _chunk: b"")
    ids = [scene.repository.keys.active().chunk_id(body) for body in photos(3).values()]
    assert usage.packs() == set()
    assert usage.add(b"".join(ids))
    assert usage.add(ids[0])
    assert usage.add(b"")
    assert len(usage.packs()) == 1
    assert not usage.add(ids[0] + b"?" * 32)


def test_usage_follows_lists() -> None:
    """Of a long content the lists and what they list have to be known; a list that is lost makes it unusable."""
    scene = Scene()
    scene.backup(photos(3), "1")
    ids = [scene.repository.keys.active().chunk_id(body) for body in photos(3).values()]
    lists = {ids[0]: ids[1] + ids[2], ids[1]: b"?" * 32}

    def load(chunk_id: bytes) -> bytes:
        if chunk_id not in lists:
            raise Damaged("gone")
        return lists[chunk_id]

    usage = PackUsage(scene.repository.session_index(), load)
    assert usage.add(ids[0], 1)
    assert not usage.add(ids[1], 1)
    assert not usage.add(ids[2], 1)


# Building the tree


def test_tree_is_complete_when_its_last_file_is() -> None:
    """Pages and folders are finished by whoever finishes their last entry, up to the root, once."""
    chunks = _Chunks()
    tree = TreeBuilder(chunks.keep, lambda _page: None)
    root = tree.open_page(None, [b""], [FOLDER])
    tree.wait_for(root)
    source = _Closable()
    directory = OpenDirectory(root, 0, source, b"", None)
    tree.done(root)
    page = tree.open_page(directory, [b"a", b"b", b"gone"], [FILE, FILE, None])
    page.extras[1] = Extra(target=b"t")
    page.extras[2] = Extra(target=b"lost")
    tree.wait_for(page, 2)
    tree.done(page)
    tree.left(directory)
    assert (tree.root_id, source.closed) == (None, False)
    tree.done(page)
    page.contents[0] = b"c" * 32
    tree.done(page)
    assert source.closed
    assert tree.root_id is not None
    top = decode_page(chunks.kept[tree.root_id])
    below = decode_page(chunks.kept[top.contents[0] or b""])
    assert (below.names, below.contents, below.extras) == ([b"a", b"b"], [b"c" * 32, None], {1: Extra(target=b"t")})
    assert page.path_of(0) == b"a"


def test_page_equal_to_the_parents_is_not_stored_again() -> None:
    """An unchanged page keeps its id; one whose content differs, or that must not be used, does not."""
    chunks = _Chunks()
    asked: list[bytes] = []

    def use(page_id: bytes, _depth: int = 0) -> bool:
        asked.append(page_id)
        return len(asked) == 1

    tree = TreeBuilder(chunks.keep, use)
    old = Page([b"a"], columns_of([FILE]), [b"c" * 32], {})
    for content in (b"c" * 32, b"d" * 32, b"c" * 32):
        page = tree.open_page(None, [b"a"], [FILE])
        page.reused = (b"OLD" + bytes(29), old)
        page.contents[0] = content
        tree.done(page)
    # The second is not equal, the third may not be used any more: its pack is marked, say.
    assert asked == [b"OLD" + bytes(29)] * 2
    assert len(chunks.kept) == 2
    assert tree.pages_reused == 1


# Hard links


def _page_waiting_for_one(tree: TreeBuilder, row: Row) -> Any:
    page = tree.open_page(None, [b"x"], [row])
    tree.wait_for(page)
    tree.done(page)
    return page


def test_links_forget_a_file_when_all_its_names_were_met() -> None:
    """No record is kept of a file of which every name was seen, in whatever order reading and meeting went."""
    row: Row = (*FILE[:7], 3, 0)
    for resolve_after in range(3):
        links = HardLinks(TreeBuilder(_Chunks().keep, lambda _page: None))
        pages = [_page_waiting_for_one(links._tree, row) for _ in range(3)]
        asked = []
        for number, page in enumerate(pages):
            asked.append(links.is_first(_Closable(), page, 0, row))  # type: ignore[arg-type]
            if number == resolve_after:
                links.resolve(row, row, b"c" * 32, None)
        assert asked == [True, False, False]
        assert [page.contents[0] for page in pages[1:]] == [b"c" * 32] * 2
        assert links._files == {}
        assert (links.names_filled, links.bytes_filled) == (2, 10)


def test_links_of_another_row_are_another_file() -> None:
    """A number that was used again, or a file that was written to meanwhile, is read for itself."""
    links = HardLinks(TreeBuilder(_Chunks().keep, lambda _page: None))
    row: Row = (*FILE[:7], 2, 0)
    later: Row = (*FILE[:4], 999, *FILE[5:7], 2, 0)
    page = _page_waiting_for_one(links._tree, row)
    assert links.is_first(_Closable(), page, 0, row)  # type: ignore[arg-type]
    assert links.is_first(_Closable(), page, 0, later)  # type: ignore[arg-type]
    links.resolve(FILE, FILE, b"", None)


# Fan-out


def _pool(count: int, length: int) -> SharePool:
    """So many buffers."""
    budget = MemoryBudget(count * length)
    share = MemoryShare(budget, count * length)
    assert budget.try_admit([share])
    return share.pool(length)


def _pack(pool: SharePool, number: int) -> SealedPack:
    buffer = pool.acquire()
    return SealedPack(b"%032d" % number, PackKind.DATA, memoryview(buffer), [], buffer)


def test_pack_that_no_tier_takes_gives_its_buffer_back() -> None:
    """After the last tier was dropped, packs that are still being sealed cost no memory."""
    scene = Scene()
    fanout = Fanout(scene.repository.tiers)
    heard: list[Exception] = []
    fanout.on_no_tier_left = heard.append
    fanout.drop(fanout.deliveries[0], Delivery.FAILED, TierFull("full"))
    fanout.drop(fanout.deliveries[0], Delivery.FAILED, TierFull("twice"))
    assert str(fanout.deliveries[0].error) == "full (tier a)"
    assert all(isinstance(error, NoUsableTier) for error in heard)
    pool = _pool(1, 100)
    fanout.submit(_pack(pool, 1), pool)
    pool.acquire()
    fanout.relieve(10_000)


def test_queue_of_a_dropped_tier_is_given_back() -> None:
    """Packs that wait for a tier that is dropped are let go of at once."""
    scene = Scene(("a", "b"))
    fanout = Fanout(scene.repository.tiers)
    pool = _pool(2, 100)
    for number in range(2):
        fanout.submit(_pack(pool, number), pool)
    assert fanout.deliveries[0].bytes_waiting == 200
    for delivery in fanout.deliveries:
        fanout.drop(delivery, Delivery.FAILED, TierFull("full"))
    assert fanout.deliveries[0].bytes_waiting == 0
    for _ in range(2):
        pool.acquire()


def test_checksum_for_servers_is_computed_once_for_all_and_for_folders_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each bucket's server checks a pack by its SHA-256; a folder checks nothing."""
    hashed: list[bytes] = []
    sha256 = crypto.sha256
    servers, folder = Scene(("a", "b", "c")), DirectoryObjectStore(tmp_path, "folder")
    fanout = Fanout(servers.repository.tiers)
    pool = _pool(1, 100)
    fanout.submit(_pack(pool, 1), pool)
    (parcel,) = fanout.deliveries[0].queue
    monkeypatch.setattr("repository.backup.fanout.crypto.sha256", lambda body: hashed.append(body) or sha256(body))
    assert parcel.checksum_for(folder) is None
    assert hashed == []
    assert {parcel.checksum_for(tier.store) for tier in servers.repository.tiers} == {sha256(parcel.pack.body)}
    assert len(hashed) == 1


def test_every_tier_is_told_how_to_prove_a_packs_checksum() -> None:
    """Under a key of the repository, whoever opens it, and whichever root is in force."""
    told: list[bytes] = []

    class Told(MemoryObjectStore):
        def prove_packs(self, prove: PackProof) -> None:
            told.append(prove(b"p" * 32, b"s" * 32))

    scene = Scene(stores=[Told("a"), Told("b")])
    change_root(scene.repository, scene.provider)
    scene.reopen()
    assert len(told) >= 4
    assert set(told) == {scene.repository.keys.first_root.pack_proof(b"p" * 32, b"s" * 32)}
    assert scene.repository.keys.first_root.pack_proof(b"p" * 32, b"t" * 32) not in told


def test_tiers_that_are_equally_slow_are_not_dropped() -> None:
    """Waiting drops a tier only where another one is faster: otherwise nobody is held up by it."""
    scene = Scene(("a", "b"))
    fanout = Fanout(scene.repository.tiers, patience_seconds=1)
    pool = _pool(2, 100)
    fanout.submit(_pack(pool, 1), pool)
    fanout.relieve(5)
    fanout.relieve(5)
    assert {delivery.state for delivery in fanout.deliveries} == {Delivery.SENDING}


@pytest.mark.parametrize("required", [False, True])
def test_tier_that_is_always_slower_is_dropped_in_the_end(required: bool) -> None:
    """Many short waits for one tier, while another is idle, add up; a required tier is waited for all the same."""
    scene = Scene(("fast", "slow"))
    fanout = Fanout(scene.repository.tiers, patience_seconds=1)
    fanout.require({"slow"} if required else set())
    pool = _pool(2, 100)
    fanout.submit(_pack(pool, 1), pool)
    fast, slow = fanout.deliveries
    fanout.relieve(0.9)  # neither is idle
    fast.queue.clear()
    fanout.relieve(0.6)
    fanout.relieve(0.3)
    assert slow.state is Delivery.SENDING
    fanout.relieve(0.2)
    assert slow.state is (Delivery.SENDING if required else Delivery.BEHIND)
    assert fast.state is Delivery.SENDING


def test_tier_that_is_slower_now_and_then_is_not_dropped() -> None:
    """A tier that is now the slower and now the faster one holds up nobody in particular."""
    scene = Scene(("a", "b"))
    fanout = Fanout(scene.repository.tiers, patience_seconds=1)
    pool = _pool(2, 100)
    fanout.submit(_pack(pool, 1), pool)
    queues = [delivery.queue.copy() for delivery in fanout.deliveries]
    for _ in range(10):
        fanout.deliveries[0].queue.clear()
        fanout.relieve(0.5)
        fanout.deliveries[0].queue.extend(queues[0])
        fanout.relieve(0.5)
    assert {delivery.state for delivery in fanout.deliveries} == {Delivery.SENDING}


@pytest.mark.timeout(20)
def test_waiting_for_a_tier_that_does_not_answer_ends_when_it_is_called_off() -> None:
    """Whoever waits at the end for all tiers is asked meanwhile, not only when they are done."""
    scene = Scene()
    fanout = Fanout(scene.repository.tiers)  # its senders are not there: what is submitted never arrives
    pool = _pool(1, 100)
    fanout.submit(_pack(pool, 1), pool)
    asked: list[bool] = []

    def check() -> None:
        asked.append(True)
        raise BackupCancelled("called off")

    with pytest.raises(BackupCancelled):
        fanout.finish(lambda _delivery: None, check=check)
    assert asked == [True]


def test_tier_that_fails_to_commit_fails_alone() -> None:
    """What goes wrong at the end of one tier is that tier's error."""
    scene = Scene(("a", "b"))
    fanout = Fanout(scene.repository.tiers)
    fanout.start()

    def finish(delivery: Any) -> None:
        if delivery.name == "a":
            raise ValueError("a's own")

    finished = fanout.finish(finish)
    fanout.close()
    assert [each.state for each in finished] == [Delivery.FAILED, Delivery.COMMITTED]
    error = no_tier_left(finished)
    assert error.context["tiers"] == {"a": "a's own", "b": "None"}


def test_aborted_fanout_leaves_no_thread() -> None:
    """A backup that ends early drops what is queued, and its senders end."""
    scene = Scene()
    before = threading.active_count()
    fanout = Fanout(scene.repository.tiers)
    fanout.start()
    pool = _pool(1, 100)
    fanout.abort()
    fanout.submit(_pack(pool, 1), pool)
    assert threading.active_count() == before


# The rest


def test_problems_are_counted_beyond_what_is_kept() -> None:
    """However many entries fail, all are counted and a bounded number is kept."""
    heard: list[FileError] = []
    log = ProblemLog(heard.append)
    for number in range(KEPT_MAX + 5):
        log.add(b"%d" % number, FileProblem(Reason.UNREADABLE, "EIO"))
    log.add(b"s", FileProblem(Reason.SPECIAL))
    assert len(log.kept) == KEPT_MAX
    assert len(heard) == KEPT_MAX + 6
    assert log.losses == KEPT_MAX + 5
    ProblemLog().add(b"x", FileProblem(Reason.LOOP))


def test_ticker_without_a_listener_does_nothing() -> None:
    """Nobody who listens costs nothing."""

    def look() -> Progress:
        raise AssertionError("nobody asked")

    ticker = Ticker(None, look)
    ticker.start()
    ticker._once()
    ticker.stop()


async def test_ticker_tells_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener hears while it goes on, and a last time when it ends."""
    from tests.support.eventually import eventually

    monkeypatch.setattr("repository.progress.INTERVAL_SECONDS", 0.01)
    heard: list[Progress] = []
    ticker = Ticker(heard.append, lambda: Progress(1, 1, 1, 1, True))
    ticker.start()
    await eventually(lambda: len(heard) >= 2)
    ticker.stop()
    count = len(heard)
    assert count >= 3


def test_chunk_reader_keeps_a_bounded_number_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one frame are read with one request; old frames and headers make room for new ones."""
    monkeypatch.setattr("repository.opened.pack_access.READERS_MAX", 1)
    scene = Scene()
    for number in range(3):
        scene.backup(photos(20, seed=number), str(number))
    store = scene.store("a")
    real, reads = store.get_range, []

    def get_range(key: str, offset: int, length: int) -> bytes:
        reads.append((key, offset))
        return real(key, offset, length)

    monkeypatch.setattr(store, "get_range", get_range)
    reader = ChunkReader(scene.repository.tiers, scene.repository.keys)
    bodies = [body for number in range(3) for body in photos(20, seed=number).values()]
    for _ in range(2):
        for body in bodies:
            assert reader.chunk(scene.repository.keys.active().chunk_id(body)) == body
    assert len(reader._frames) == FRAMES_MAX
    access = PackAccess(scene.repository.tiers[0], scene.repository.keys)
    pack_ids = sorted(scene.tier("a").index.pack_ids())
    assert access.reader(pack_ids[0]) is access.reader(pack_ids[0])
    access.reader(pack_ids[1])
    assert len(access._readers) == 1


def test_chunk_reader_keeps_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few long frames are as much as many short ones; one that is longer than all together is read all the same."""
    scene = Scene()
    scene.backup(photos(6), "1")
    reader = ChunkReader(scene.repository.tiers, scene.repository.keys)
    bodies = list(photos(6).values())
    monkeypatch.setattr("repository.opened.pack_access.FRAMES_BYTES_MAX", 2 * max(map(len, bodies)))
    for body in bodies:
        assert reader.chunk(scene.repository.keys.active().chunk_id(body)) == body
        assert reader._frames_bytes == sum(map(len, reader._frames.values()))
    assert 1 <= len(reader._frames) < len(bodies)
    monkeypatch.setattr("repository.opened.pack_access.FRAMES_BYTES_MAX", 1)
    assert reader.chunk(scene.repository.keys.active().chunk_id(bodies[0])) == bodies[0]
    assert reader._frames_bytes == sum(map(len, reader._frames.values()))


def test_chunk_reader_does_not_keep_a_frame_that_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame in which a chunk is not what the index says is an error each time, and never cached as good."""
    scene = Scene()
    scene.backup(photos(1), "1")
    chunk_id = scene.repository.keys.active().chunk_id(photos(1)[b"IMG_0000.JPG"])
    index = scene.tier("a").index
    lookup_all = index.lookup_all
    monkeypatch.setattr(index, "lookup_all", lambda one: [place._replace(chunk_offset=1) for place in lookup_all(one)])
    reader = ChunkReader(scene.repository.tiers, scene.repository.keys)
    for _ in range(2):
        with pytest.raises(Damaged):
            reader.chunk(chunk_id)
    assert reader._frames == {}
