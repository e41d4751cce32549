"""Backups: what is read, what is stored, and what happens when sources, tiers or callers misbehave."""

import hashlib
import itertools
import stat
import threading
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

import pytest

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.fanout import Delivery
from repository.backup.problems import FileError
from repository.backup.source import FileProblem, Reason, SourceUnreachable
from repository.errors import (
    BackupCancelled,
    Damaged,
    LimitExceeded,
    NoUsableTier,
    TierBehind,
    TierFull,
    TierReadOnly,
    TierUnreachable,
)
from repository.format import SHARED_FRAME_LENGTH_MAX, STREAM_FRAME_LENGTH_MAX, ContentClass, pack_object_key
from repository.index.index import Index
from repository.index.pack_sizes import ASKED_ONE_BY_ONE, least_sizes, lost_packs
from repository.opened.repository import Repository
from repository.progress import Progress
from repository.stored.chunker import ChunkerParameters
from repository.stored.pack_reader import read_frames
from repository.stored.tree import NO_EXTRA, Extra, Flag
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.read_back import read_back
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource, MemorySpecial
from tests.support.repositories import BrokenStore, CountingClock, Scene, SeededRandomness, key_file
from tests.support.snapshots import kept

UNREADABLE = FileProblem(Reason.UNREADABLE, "EACCES")
VANISHED = FileProblem(Reason.VANISHED, "ENOENT")


def noise(length: int, seed: object = 0) -> bytes:
    """Bytes that do not compress."""
    return hashlib.shake_256(repr(seed).encode()).digest(length)


def run(repository: Repository, source: MemorySource | MemoryFolder, token: str = "1", **options: Any) -> BackupResult:
    """Back up under the usual label."""
    if isinstance(source, MemoryFolder):
        source = MemorySource(source)
    return backup(repository, source, options=BackupOptions(run_token=token, label="photos", **options))


def folder_of(**files: bytes) -> MemoryFolder:
    """A folder of files, each an inode of its own."""
    return MemoryFolder(
        {name.encode(): MemoryFile(body, inode=number) for number, (name, body) in enumerate(files.items(), 100)}
    )


def bodies(repository: Repository, result: BackupResult, tier: str | None = None) -> dict[bytes, bytes | None]:
    """The files of a snapshot."""
    return {path: each.body for path, each in kept(repository, result.snapshot, tier).items() if each.entry.is_file}


# What is kept


def test_backup_keeps_every_byte_on_every_tier() -> None:
    """Small, large, empty and nested files are on each tier, alone, as they were."""
    scene = Scene(("a", "b", "c"))
    tree = folder_of(small=b"vows", empty=b"", large=noise(9_000_000))
    tree.entries[b"nested"] = folder_of(inside=noise(600_000, 1))
    result = run(scene.repository, tree)
    expected = {b"small": b"vows", b"empty": b"", b"large": noise(9_000_000), b"nested/inside": noise(600_000, 1)}
    for tier in ("a", "b", "c"):
        assert bodies(scene.repository, result, tier) == expected
        assert result.tiers[tier].state is Delivery.COMMITTED
        assert result.tiers[tier].bytes_sent > 9_600_000
    totals = result.totals
    assert (totals.files, totals.folders, totals.others, totals.failed) == (4, 2, 0, 0)
    assert totals.source_bytes == 9_600_004
    assert not result.is_degraded
    assert result.lacking(result.tiers) == []


def test_backup_keeps_rows_and_extras() -> None:
    """What the source says of entries is in the tree: rows, link targets, attributes, on folders as well."""
    scene = Scene()
    extra = Extra(xattrs=((b"user.a", b"1"),))
    tree = MemoryFolder(
        {
            b"file": MemoryFile(b"x", extra=extra),
            b"folder": MemoryFolder(extra=extra),
            b"link": MemorySpecial(extra=Extra(target=b"file")),
            b"device": MemorySpecial(stat.S_IFBLK | 0o600, Extra(device=(8, 1))),
            b"fifo": MemorySpecial(stat.S_IFIFO | 0o600),
        }
    )
    result = run(scene.repository, tree)
    found = kept(scene.repository, result.snapshot)
    assert {path: each.entry.extra for path, each in found.items()} == {
        b"": NO_EXTRA,
        b"file": extra,
        b"folder": extra,
        b"link": Extra(target=b"file"),
        b"device": Extra(device=(8, 1)),
        b"fifo": NO_EXTRA,
    }
    assert tuple(found[b"link"].entry.stat) == tree.entries[b"link"].row
    assert result.error_counts == {Reason.SPECIAL: 2}
    assert result.totals.others == 3
    assert not any(error.is_loss for error in result.file_errors)


def test_many_xattrs_become_a_chunk_of_their_own() -> None:
    """Attributes too many for an entry are kept apart, and an unchanged entry takes them over."""
    scene = Scene()
    many = Extra(xattrs=tuple((b"user.%03d" % number, noise(100, number)) for number in range(60)))
    tree = MemoryFolder({b"file": MemoryFile(b"x", extra=many), b"folder": MemoryFolder(extra=many)})
    for token in ("1", "2"):
        result = run(scene.repository, tree, token)
        found = kept(scene.repository, result.snapshot)
        assert found[b"file"].entry.extra.xattrs == ()
        assert found[b"file"].entry.extra.xattrs_chunk == found[b"folder"].entry.extra.xattrs_chunk != b""
    assert result.totals.unchanged_files == 1


def test_stream_of_unknown_length_is_kept_with_the_length_it_had() -> None:
    """A dump that comes from a program has no size in advance; the tree has the one it came to."""
    scene = Scene()
    dump = MemoryFile(noise(10_000_000), known_length=False, content_class=ContentClass.TEXT)
    result = run(scene.repository, MemoryFolder({b"dump": dump, b"tiny": MemoryFile(b"1", known_length=False)}))
    found = kept(scene.repository, result.snapshot)
    assert found[b"dump"].entry.stat.size == 10_000_000
    assert bodies(scene.repository, result) == {b"dump": dump.body, b"tiny": b"1"}
    assert result.totals.source_bytes == 10_000_001
    assert set(result.by_class) == {"text", "tree"}


@pytest.mark.parametrize("length", [8 << 20, (8 << 20) + 1, (16 << 20) - 1, 16 << 20, 25_000_000])
def test_file_of_many_blocks_comes_back_whole(length: int) -> None:
    """Files around the length of a block lose nothing where blocks meet, also of bytes in which no cut is found."""
    scene = Scene()
    result = run(scene.repository, folder_of(noise=noise(length), zeros=bytes(length)), workers=3)
    assert bodies(scene.repository, result) == {b"noise": noise(length), b"zeros": bytes(length)}


def test_fixed_blocks_are_cut_where_the_source_says() -> None:
    """A source whose files change in place on pages gets chunks of that length, and stores only pages that changed."""
    scene = Scene()
    pages = [noise(8192, number) for number in range(300)]
    tree = MemoryFolder({b"16384": MemoryFile(b"".join(pages))}, block_length=8192)
    first = run(scene.repository, tree, "1")
    assert first.totals.chunks - first.by_class["tree"].chunks == 300
    pages[7], pages[250] = noise(8192, "new"), noise(8192, "newer")
    tree = MemoryFolder({b"16384": MemoryFile(b"".join(pages), mtime_ns=2_000)}, block_length=8192)
    second = run(scene.repository, tree, "2")
    assert second.by_class["generic"].new_bytes == 2 * 8192
    assert bodies(scene.repository, second) == {b"16384": b"".join(pages)}


def test_long_contents_and_large_folders_go_into_lists() -> None:
    """Contents of thousands of chunks, and folders of many pages, are found again through their lists."""
    stores = [MemoryObjectStore("a")]
    repository = Repository.init(
        stores,
        key_file(),
        chunker=ChunkerParameters(minimum=64, average=256, maximum=1024),
        clock=CountingClock(),
        randomness=SeededRandomness(),
    )
    many = {b"%05d" % number: MemoryFile(b"%d" % (number % 7), inode=number) for number in range(70_000)}
    tree = MemoryFolder({b"large": MemoryFile(noise(900_000), inode=99_999), b"many": MemoryFolder(dict(many))})
    first = run(repository, tree, "1")
    found = kept(repository, first.snapshot)
    assert found[b"large"].entry.extra.depth == 1
    assert found[b"large"].body == noise(900_000)
    assert found[b"many"].entry.extra.depth == 1
    assert len(found) == 70_003
    second = run(repository, tree, "2")
    assert second.snapshot.manifest.root == first.snapshot.manifest.root
    assert second.totals.unchanged_files == 70_001
    assert second.totals.new_chunks == 0
    assert all(file.reads == 1 for file in many.values())


def test_equal_content_is_stored_once() -> None:
    """The same bytes under many names, read by several threads at once, are one chunk."""
    scene = Scene()
    tree = MemoryFolder({b"%d" % number: MemoryFile(noise(700_000), inode=number) for number in range(40)})
    result = run(scene.repository, tree, workers=4)
    assert result.by_class["generic"].new_bytes == 700_000
    assert result.by_class["generic"].source_bytes == 40 * 700_000


def test_another_snapshot_stores_only_what_is_new() -> None:
    """Content that an earlier snapshot of any label has is not stored again."""
    scene = Scene()
    run(scene.repository, folder_of(a=noise(800_000)))
    again = backup(
        scene.repository,
        MemorySource(folder_of(elsewhere=noise(800_000), new=noise(500, 1))),
        options=BackupOptions(run_token="2", label="other"),
    )
    assert again.snapshot.manifest.parent is None
    assert again.by_class["generic"].new_bytes == 500
    assert bodies(scene.repository, again) == {b"elsewhere": noise(800_000), b"new": noise(500, 1)}


def frames_by_class(scene: Scene) -> dict[ContentClass, list[tuple[int, int]]]:
    """Raw length and number of chunks of every frame that holds data."""
    found: dict[ContentClass, list[tuple[int, int]]] = {}
    for pack_id in scene.tier("a").index.pack_ids():
        body = scene.store("a").get(pack_object_key(pack_id))
        for entry, _ in read_frames(body, scene.repository.keys, pack_id):
            found.setdefault(entry.header.content_class, []).append((entry.header.raw_length, len(entry.chunk_lengths)))
    return found


def test_large_texts_and_databases_share_long_frames() -> None:
    """What repeats far apart is found, in frames of 8 MiB; a small file is restored from 1 MiB, a video is alone."""
    scene = Scene()
    line = b"".join(b"%d,%s\n" % (number, noise(16, number).hex().encode()) for number in range(300_000))
    pages = MemoryFolder({b"1259": MemoryFile(b"\x00" + line, inode=2)}, block_length=8192)
    small = MemoryFolder(
        {b"%d.txt" % number: MemoryFile(line[number : number + 90_000], inode=number) for number in range(100, 140)}
    )
    folder = MemoryFolder(
        {
            b"dump.sql": MemoryFile(line, inode=1),
            b"base": pages,
            b"small": small,
            b"film.bin": MemoryFile(b"\x00" + noise(9 << 20), inode=3),
        }
    )
    result = run(scene.repository, folder, workers=1)
    found = frames_by_class(scene)
    texts = found[ContentClass.TEXT]
    long_ones = [(length, chunks) for length, chunks in texts if length > SHARED_FRAME_LENGTH_MAX]
    assert long_ones
    assert all(length <= STREAM_FRAME_LENGTH_MAX and chunks > 1 for length, chunks in long_ones)
    assert sum(chunks == SHARED_FRAME_LENGTH_MAX // 90_000 for _, chunks in texts) >= 3
    of_pages = [length for length, chunks in found[ContentClass.GENERIC] if chunks > 1]
    assert max(of_pages) == STREAM_FRAME_LENGTH_MAX
    assert sum(length for length, chunks in found[ContentClass.GENERIC] if chunks == 1) >= 9 << 20
    assert bodies(scene.repository, result)[b"dump.sql"] == line


def test_compression_can_be_turned_off() -> None:
    """Level 0 for each class stores the bytes as they are."""
    scene = Scene()
    text = b"to have and to hold\n" * 50_000
    result = run(scene.repository, folder_of(notes=text), compression=dict.fromkeys(ContentClass, 0))
    assert result.by_class["text"].stored_bytes > len(text)


def test_hard_links_are_read_once() -> None:
    """Of several names of one file one is read; all have its content, whether it came before, after or meanwhile."""
    scene = Scene()
    shared = [MemoryFile(noise(length), inode=7 + length, links=3) for length in (40, 900_000)]
    tree = MemoryFolder({b"a%d" % number: file for number, file in enumerate(shared)})
    tree.entries |= {b"b%d" % number: file for number, file in enumerate(shared)}
    tree.entries[b"z"] = MemoryFolder({b"c%d" % number: file for number, file in enumerate(shared)})
    result = run(scene.repository, tree, workers=1)
    assert [file.reads for file in shared] == [1, 1]
    found = bodies(scene.repository, result)
    assert {path: len(body or b"") for path, body in found.items()} == {
        b"a0": 40,
        b"a1": 900_000,
        b"b0": 40,
        b"b1": 900_000,
        b"z/c0": 40,
        b"z/c1": 900_000,
    }


def test_hard_link_is_read_by_its_other_name_when_the_first_is_gone() -> None:
    """A file whose first name cannot be read is not lost with it: the next name is tried."""
    scene = Scene()
    gone = MemoryFile(b"lost?", inode=5, links=3, problem=VANISHED)
    held = threading.Event()
    gone.on_read = lambda: held.wait(60)
    there = MemoryFile(b"lost?", inode=5, links=3, extra=Extra(xattrs=((b"user.a", b"1"),)))
    slow = MemorySource(MemoryFolder({b"a": gone, b"b": there, b"c": there}))
    thread = threading.Timer(0.3, held.set)
    thread.start()
    result = run(scene.repository, slow, workers=1)
    assert bodies(scene.repository, result) == {b"b": b"lost?", b"c": b"lost?"}
    assert [(error.path, error.reason) for error in result.file_errors] == [(b"a", Reason.VANISHED)]
    alone = MemoryFile(b"x", inode=6, links=2, problem=UNREADABLE)
    result = run(scene.repository, MemoryFolder({b"a": alone, b"b": MemoryFile(b"x", inode=6, links=2)}), "2")
    assert bodies(scene.repository, result)[b"b"] == b"x"


# What is recognised as unchanged


def _tree(**changes: Any) -> MemoryFolder:
    fields = {"body": b"one", "mtime_ns": 1_000, "inode": 1} | changes
    return MemoryFolder({b"one": MemoryFile(**fields), b"two": MemoryFile(b"two", inode=2)})


def test_unchanged_files_are_not_read() -> None:
    """Equal rows mean that nothing is opened; the parent is the latest snapshot of the same label."""
    scene = Scene()
    first = run(scene.repository, _tree(), "1")
    again = _tree()
    second = run(scene.repository, again, "2")
    assert second.snapshot.manifest.parent == first.snapshot_id
    assert [file.reads for file in again.entries.values() if isinstance(file, MemoryFile)] == [0, 0]
    assert second.totals.unchanged_files == 2
    assert bodies(scene.repository, second) == {b"one": b"one", b"two": b"two"}
    assert second.totals.source_bytes == 6


@pytest.mark.parametrize(
    "changes",
    [{"body": b"other"}, {"mtime_ns": 2_000}, {"inode": 77}, {"links": 2}, {"known_length": False}],
    ids=str,
)
def test_file_whose_row_differs_is_read(changes: dict[str, Any]) -> None:
    """Another size, time, inode or number of links: the file is read, the one beside it is not."""
    scene = Scene()
    run(scene.repository, _tree(), "1")
    tree = _tree(**changes)
    result = run(scene.repository, tree, "2")
    assert [file.reads for file in tree.entries.values() if isinstance(file, MemoryFile)] == [1, 0]
    assert bodies(scene.repository, result)[b"one"] == changes.get("body", b"one")


def test_paranoid_backup_sends_what_was_in_packs_that_are_gone() -> None:
    """Else the tier would take a snapshot that leans on nothing, and say committed."""
    scene = Scene(("a", "b"))
    tree = MemoryFolder({b"one": MemoryFile(b"1" * 5000), b"two": MemoryFile(b"2" * 5000)})
    run(scene.repository, tree, "1")
    for info in list(scene.store("b").list("packs/")):
        scene.store("b").delete(info.key)
    result = run(scene.reopen(), tree, "2", paranoid=True)
    alone = scene.reopen(stores=[scene.store("b")])
    assert bodies(alone, result) == {b"one": b"1" * 5000, b"two": b"2" * 5000}
    # What both tiers have counts as stored: nothing is sent twice.
    assert run(scene.reopen(), tree, "3", paranoid=True).totals.new_chunks == 0


def test_paranoid_backup_sends_what_was_in_packs_that_are_cut_off() -> None:
    """A pack without what the index says of it is lost like one that is gone."""
    scene = Scene()
    tree = MemoryFolder({b"one": MemoryFile(b"1" * 5000), b"two": MemoryFile(b"2" * 5000)})
    run(scene.repository, tree, "1")
    store = scene.store("a")
    for number, info in enumerate(list(store.list("packs/"))):
        store.put(info.key, b"" if number else store.get(info.key)[:200])
    result = run(scene.reopen(), tree, "2", paranoid=True)
    assert bodies(scene.reopen(), result) == {b"one": b"1" * 5000, b"two": b"2" * 5000}
    assert result.parent_error is None


def test_parent_that_cannot_be_read_is_told() -> None:
    """Everything is read anew then; whoever only sees that it took longer would think that all is well."""
    scene = Scene()
    run(scene.repository, _tree(), "1")
    store = scene.store("a")
    for info in list(store.list("packs/")):
        store.put(info.key, bytes(info.size))
    result = run(scene.reopen(), _tree(), "2")
    assert result.totals.unchanged_files == 0
    assert isinstance(result.parent_error, Damaged)


def test_packs_that_a_snapshot_leans_on_are_asked_for_by_name_and_size() -> None:
    """All of them, and no others: one by one, or as the store lists them."""
    scene = Scene()
    for number in range(12):
        run(scene.repository, folder_of(one=noise(300 + number)), str(number))
    tier, store = scene.tier("a"), scene.store("a")
    result = run(scene.repository, folder_of(one=noise(400)), "last")
    assert result.packs is not None
    others = sorted(tier.index.pack_ids() - result.packs)
    assert len(others) > ASKED_ONE_BY_ONE
    spoilt, *whole = others
    packs: Collection[bytes]
    store.put(pack_object_key(spoilt), b"")

    for packs in (result.packs, [*result.packs, *whole]):
        assert lost_packs(store, tier.index, packs) == {}
        assert least_sizes(tier.index.segments(), [min(packs)]).keys() == {min(packs)}
    for packs in ([spoilt], others):
        ((found, error),) = lost_packs(store, tier.index, packs).items()
        assert (found, error.code) == (spoilt, "damaged")
    with pytest.raises(Damaged, match="0 bytes, too few"):
        read_back(scene.repository, tier, result.snapshot_id, packs=[*result.packs, spoilt], packs_read=0)
    store.delete(pack_object_key(spoilt))
    for packs in ([spoilt], others):
        assert [error.code for error in lost_packs(store, tier.index, packs).values()] == ["object-missing"]


def test_paranoid_backup_reads_everything() -> None:
    """A change that left no trace in the row is found by reading all."""
    scene = Scene()
    run(scene.repository, _tree(), "1")
    sneaky = _tree(body=b"0ne")
    assert bodies(scene.repository, run(scene.repository, sneaky, "2"))[b"one"] == b"one"
    assert bodies(scene.repository, run(scene.repository, sneaky, "3", paranoid=True))[b"one"] == b"0ne"


def test_object_with_another_identity_is_read() -> None:
    """A bucket's objects are recognised by their ETag, whatever the times say; a lost identity is read again, too."""
    scene = Scene()

    def bucket(first: bytes, second: bytes) -> MemorySource:
        entries: dict[bytes, Any] = {
            b"weddings/1.jpg": MemoryFile(b"1" + first, identity=first, mtime_ns=0, extra=Extra(attributes={"t": "x"})),
            b"weddings/2.jpg": MemoryFile(b"2", identity=second, mtime_ns=0, inode=2),
        }
        return MemorySource(MemoryFolder(entries), has_identities=True)

    run(scene.repository, bucket(b"a", b"b"), "1")
    same, other = bucket(b"a", b"b"), bucket(b"A", b"b")
    assert run(scene.repository, same, "2").totals.unchanged_files == 2
    result = run(scene.repository, other, "3")
    assert result.totals.unchanged_files == 1
    assert bodies(scene.repository, result)[b"weddings/1.jpg"] == b"1A"
    found = kept(scene.repository, result.snapshot)[b"weddings/1.jpg"].entry.extra
    assert (found.identity, found.attributes) == (b"A", {"t": "x"})
    files = MemorySource(other.folder)
    assert run(scene.repository, files, "4").totals.unchanged_files == 0


def test_vanished_object_of_a_bucket_leaves_the_others_their_identities() -> None:
    """Names that are gone do not shift the identities of those that are there."""
    scene = Scene()
    entries: dict[bytes, Any] = {
        b"%d" % number: MemoryFile(b"%d" % number, identity=b"e%d" % number, inode=number) for number in range(3)
    }
    source = MemorySource(MemoryFolder(entries), has_identities=True)
    run(scene.repository, source, "1")
    source.unlisted.add(b"0")
    result = run(scene.repository, source, "2")
    assert result.totals.unchanged_files == 2
    assert sorted(bodies(scene.repository, result)) == [b"1", b"2"]


@pytest.mark.parametrize("what", ["untrusted time", "unreadable", "changed while read"])
def test_entry_that_is_not_to_be_trusted_is_read_again(what: str) -> None:
    """What was not kept faithfully last time is read again, though its row is the same."""
    scene = Scene()
    row = MemoryFile(b"x").row
    file = {
        "untrusted time": MemoryFile(b"x", changes_row=None, mtime_ns=0),
        "unreadable": MemoryFile(b"x", problem=UNREADABLE),
        "changed while read": MemoryFile(b"x", changes_row=row),
    }[what]
    run(scene.repository, MemoryFolder({b"f": file}), "1")
    again = MemoryFile(b"x", mtime_ns=file.mtime_ns)
    result = run(scene.repository, MemoryFolder({b"f": again}), "2")
    assert again.reads == 1
    assert bodies(scene.repository, result) == {b"f": b"x"}


def test_folders_that_come_go_and_move_are_followed() -> None:
    """A folder that became a file, a file that became a folder, and pages of other lengths are taken as they are."""
    scene = Scene()
    first = folder_of(b=b"b", c=b"c")
    first.entries[b"a"] = folder_of(inside=b"1")
    run(scene.repository, first, "1")
    second = folder_of(a=b"a", c=b"c")
    second.entries[b"b"] = folder_of(inside=b"2")
    result = run(scene.repository, second, "2")
    assert bodies(scene.repository, result) == {b"a": b"a", b"b/inside": b"2", b"c": b"c"}
    third = run(scene.repository, MemoryFolder({}), "3")
    assert bodies(scene.repository, third) == {}
    fourth = run(scene.repository, second, "4")
    assert bodies(scene.repository, fourth) == bodies(scene.repository, result)


def test_parent_whose_tree_is_damaged_is_no_parent() -> None:
    """A page of the parent that no tier can give costs reading, not the backup."""
    scene = Scene()
    tree = _tree()
    first = run(scene.repository, tree, "1")
    page = scene.repository.tier("a").index.lookup(bytes.fromhex(first.snapshot.manifest.root[0]))
    assert page is not None
    _damage(scene.store("a"), page.pack_id)
    result = run(scene.reopen(), tree, "2")
    assert result.totals.unchanged_files == 0


def test_chunk_that_is_gone_is_read_from_the_source_again() -> None:
    """Files whose packs were lost and dropped from the index are stored anew: the next backup heals what it can."""
    scene = Scene()
    tree = folder_of(a=b"a" * 1000, b=b"b" * 1000)
    run(scene.repository, tree, "1")
    repository = scene.reopen()
    location = repository.session_index().lookup(repository.keys.active().chunk_id(b"a" * 1000))
    assert location is not None
    session_index = repository.session_index

    def without_the_pack(_tiers: object = None) -> Index:
        index = session_index()
        index.exclude_packs({location.pack_id})
        return index

    repository.session_index = without_the_pack  # type: ignore[method-assign]
    result = run(repository, tree, "2")
    assert result.totals.unchanged_files == 0
    assert bodies(repository, result) == {b"a": b"a" * 1000, b"b": b"b" * 1000}


def _damage(store: MemoryObjectStore, pack_id: bytes) -> None:
    from repository.format import pack_object_key

    key = pack_object_key(pack_id)
    body = bytearray(store.get(key))
    body[200] ^= 1
    store.put(key, bytes(body))


# Sources that misbehave


def test_files_that_cannot_be_read_are_recorded_and_the_rest_goes_on() -> None:
    """Unreadable, vanished, half-read files and folders are named; everything else is in the snapshot."""
    scene = Scene()
    heard: list[FileError] = []
    big = MemoryFile(noise(3_000_000), cut_after=1_000_000, inode=4)
    never = MemoryFile(noise(3_000_000), problem=UNREADABLE, inode=5)
    tree = MemoryFolder(
        {
            b"gone": MemoryFile(b"x", problem=VANISHED),
            b"gone folder": MemoryFolder(problem=VANISHED),
            b"good": MemoryFile(b"good", inode=2),
            b"half": big,
            b"link": MemorySpecial(problem=VANISHED),
            b"link2": MemorySpecial(problem=UNREADABLE),
            b"locked": MemoryFile(b"x", problem=UNREADABLE, inode=3),
            b"locked folder": MemoryFolder(problem=UNREADABLE),
            b"loop": MemoryFolder(problem=FileProblem(Reason.LOOP)),
            b"never": never,
            b"sealed folder": MemoryFolder(listing_problem=UNREADABLE),
            b"unlisted": MemoryFile(b"x"),
        }
    )
    source = MemorySource(tree)
    source.unlisted.add(b"unlisted")
    result = run(scene.repository, source, on_problem=heard.append)
    found = kept(scene.repository, result.snapshot)
    flags = {path: each.entry.extra.flags for path, each in found.items()}
    assert flags == {
        b"": 0,
        b"good": 0,
        b"half": Flag.UNREADABLE,
        b"link2": Flag.UNREADABLE,
        b"locked": Flag.UNREADABLE,
        b"locked folder": Flag.UNREADABLE,
        b"loop": Flag.NOT_ENTERED,
        b"never": Flag.UNREADABLE,
        b"sealed folder": Flag.UNREADABLE,
    }
    assert found[b"good"].body == b"good"
    assert sorted(heard) == sorted(result.file_errors)
    assert {error.path for error in heard} == set(tree.entries) - {b"good"}
    assert result.totals.failed == len(heard) == 11
    assert result.totals.files == 1
    assert result.totals.source_bytes == 4
    assert source.open_directories == 0


def test_file_that_changes_while_it_is_read_is_kept_and_marked() -> None:
    """A mixture is better than nothing, and says that it may be one."""
    scene = Scene()
    small, large = MemoryFile(b"before"), MemoryFile(noise(800_000), inode=2)
    small.changes_row = (*small.row[:3], 6, 9_999, 0, *small.row[6:])
    large.changes_row = (*large.row[:3], 800_000, 9_999, 0, *large.row[6:])
    result = run(scene.repository, MemoryFolder({b"large": large, b"small": small}))
    found = kept(scene.repository, result.snapshot)
    assert found[b"small"].entry.extra.flags == found[b"large"].entry.extra.flags == Flag.CHANGED
    assert found[b"small"].entry.stat.mtime_ns == 9_999
    assert result.error_counts == {Reason.CHANGED: 2}
    assert result.totals.failed == 0


def test_source_without_a_root_ends_the_backup() -> None:
    """A source that cannot even be listed is an error, not an empty snapshot."""
    scene = Scene()
    with pytest.raises(SourceUnreachable):
        run(scene.repository, MemoryFolder(listing_problem=UNREADABLE))
    assert scene.repository.snapshots() == []


def test_source_that_fails_as_a_whole_ends_the_backup_on_all_threads() -> None:
    """An error of the source, on whatever thread it shows, ends the backup with that error and leaves nothing open."""
    scene = Scene()

    def fails() -> None:
        raise SourceUnreachable("network is gone")

    tree = MemoryFolder({b"%03d" % number: MemoryFile(noise(600_000, number), inode=number) for number in range(50)})
    tree.entries[b"025"] = MemoryFile(noise(600_000), on_read=fails)
    before = set(threading.enumerate())
    with pytest.raises(SourceUnreachable):
        run(scene.repository, tree)
    assert set(threading.enumerate()) <= before
    assert scene.repository.snapshots() == []
    tree.entries[b"025"] = MemoryFile(noise(600_000), inode=99)
    repository = scene.reopen()
    assert len(bodies(repository, run(repository, tree, "2"))) == 50


# Tiers that misbehave


class _Wrapped:
    """A store in memory whose `put` of packs is watched, delayed or made to fail."""

    def __init__(self, name: str, before_put: Callable[[str], None], *, locks: bool = False) -> None:
        self._inner = MemoryObjectStore(name, locks=locks)
        self._before_put = before_put
        self.locked: dict[str, datetime | None] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, key: str, body: Any, **options: Any) -> None:
        """Store, after asking."""
        if key.startswith("packs/"):
            self._before_put(key)
        self.locked[key] = options.get("lock_until")
        self._inner.put(key, body, **options)


def _nothing(_key: str) -> None:
    pass


def _two(before_put: Callable[[str], None], **options: Any) -> tuple[Repository, Scene]:
    scene = Scene(stores=[MemoryObjectStore("good"), _Wrapped("bad", before_put, **options)])  # type: ignore[list-item]
    return scene.repository, scene


def test_tier_that_fails_does_not_stop_the_others() -> None:
    """A tier that is full is dropped with its error; the snapshot is on the others, and the result is degraded."""
    fails_from = [2]

    def full(_key: str) -> None:
        fails_from[0] -= 1
        if fails_from[0] < 0:
            raise TierFull("no space left")

    repository, scene = _two(full)
    tree = folder_of(**{f"f{number}": noise(9_000_000, number) for number in range(12)})
    result = run(repository, tree, required=frozenset({"bad"}))
    assert result.tiers["good"].state is Delivery.COMMITTED
    assert result.tiers["bad"].state is Delivery.FAILED
    assert isinstance(result.tiers["bad"].error, TierFull)
    assert result.is_degraded
    assert result.lacking(["good", "bad"]) == ["bad"]
    assert len(bodies(repository, result, "good")) == 12
    # What it has already is announced, so that the next writer adopts it.
    assert [info.key for info in scene.stores[1].list("pending/")] != []
    assert [info.key for info in scene.stores[0].list("pending/")] == []


def test_tier_that_refuses_the_first_write_is_told_with_its_reason() -> None:
    """It got nothing, not even the writer's marker; the snapshot is on the others."""
    repository, scene = _two(_nothing)
    broken = BrokenStore(scene.stores[1])
    broken.failures["put"] = TierReadOnly("the disk is read-only")
    repository = scene.reopen(stores=[scene.stores[0], broken])  # type: ignore[list-item]
    result = run(repository, folder_of(one=b"1"), required=frozenset({"bad"}))
    assert result.tiers["good"].state is Delivery.COMMITTED
    assert (result.tiers["bad"].state, result.tiers["bad"].is_required) == (Delivery.FAILED, True)
    assert isinstance(result.tiers["bad"].error, TierReadOnly)
    assert result.is_degraded
    alone = scene.reopen(stores=[broken])  # type: ignore[list-item]
    with pytest.raises(NoUsableTier):
        run(alone, folder_of(one=b"2"))


def test_backup_fails_when_no_tier_is_left() -> None:
    """When every tier failed there is no snapshot, and the error says of each why."""

    def gone(_key: str) -> None:
        raise TierUnreachable("cable is out")

    scene = Scene(stores=[_Wrapped("a", gone), _Wrapped("b", gone)])  # type: ignore[list-item]
    tree = folder_of(**{f"f{number}": noise(9_000_000, number) for number in range(30)})
    with pytest.raises(NoUsableTier) as caught:
        run(scene.repository, tree)
    assert caught.value.context["tiers"] == {"a": "cable is out", "b": "cable is out"}
    assert isinstance(caught.value.__cause__, TierUnreachable)
    with pytest.raises(NoUsableTier):
        run(scene.repository, folder_of(small=b"x"), "2")


def test_repository_without_a_ready_tier_takes_no_backup() -> None:
    """Without a tier to write to nothing is even read."""
    scene = Scene()
    scene.tier("a").set_unreachable(TierUnreachable("cable is out"))
    with pytest.raises(NoUsableTier):
        run(scene.repository, folder_of(x=b"x"))


def test_slow_tier_is_left_behind_when_it_holds_the_others_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tier that takes nothing is dropped once its queue fills the memory, and the others finish."""
    monkeypatch.setattr("repository.stored.buffers.WAIT_SECONDS", 0.02)
    let_go = threading.Event()
    repository, scene = _two(lambda key: None if not key.startswith("packs/") else let_go.wait(120) and None)
    tree = folder_of(**{f"f{number:02}": noise(9_000_000, number) for number in range(40)})
    good = scene.repository.tier("good").store
    packs = itertools.count(1)
    put = good.put

    def let_go_at_last(key: str, *arguments: Any, **options: Any) -> None:
        put(key, *arguments, **options)
        # More than the memory holds: the slow tier has been dropped by now, or these could not be here.
        if key.startswith("packs/") and next(packs) == 11:
            let_go.set()

    monkeypatch.setattr(good, "put", let_go_at_last)
    result = run(repository, tree, patience_seconds=0.2)
    assert result.tiers["good"].state is Delivery.COMMITTED
    assert result.tiers["bad"].state is Delivery.BEHIND
    assert isinstance(result.tiers["bad"].error, TierBehind)
    assert len(bodies(repository, result, "good")) == 40


def test_required_tier_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tier that is marked required is never dropped for being slow."""
    monkeypatch.setattr("repository.stored.buffers.WAIT_SECONDS", 0.02)
    let_go = threading.Event()
    repository, _scene = _two(lambda _key: let_go.wait(30) and None)
    tree = folder_of(**{f"f{number:02}": noise(9_000_000, number) for number in range(40)})
    threading.Timer(1.5, let_go.set).start()
    result = run(repository, tree, patience_seconds=0.1, required=frozenset({"bad"}))
    assert {tier.state for tier in result.tiers.values()} == {Delivery.COMMITTED}


def test_tier_that_lacks_older_packs_is_behind() -> None:
    """Deduplication never points at what a tier lacks: such a tier takes the new packs and owes the rest."""
    scene = Scene(("a", "b"))
    scene.backup({b"old.jpg": noise(5000)}, "0", only=["a"])
    tree = folder_of(old=noise(5000), new=noise(5000, 1))
    result = run(scene.repository, tree)
    assert result.tiers["a"].state is Delivery.COMMITTED
    assert result.tiers["b"].state is Delivery.BEHIND
    assert result.tiers["b"].packs_sent > 0
    assert scene.tier("b").snapshots() == {}


def test_locks_cover_what_the_snapshot_needs() -> None:
    """Where a tier locks, new packs are locked as they come and older ones kept for as long, by the tier's clock."""
    store = _Wrapped("a", _nothing, locks=True)
    scene = Scene(stores=[store])  # type: ignore[list-item]
    tree = folder_of(old=noise(5000))
    run(scene.repository, tree, "1", lock_days={"a": 1})
    tree.entries[b"new"] = MemoryFile(noise(5000, 1), inode=9)
    result = run(scene.repository, tree, "2", lock_days={"a": 30})
    assert result.tiers["a"].state is Delivery.COMMITTED
    now = store.now()
    packs = [store.head(info.key) for info in store.list("packs/")]
    assert len(packs) >= 3
    until = [info.lock_until for info in packs if info is not None and info.lock_until is not None]
    # Of the packs only the first snapshot's root page is not needed any more.
    assert sum(date > now + timedelta(days=29) for date in until) >= len(packs) - 1


# Callers


def test_run_token_is_committed_once() -> None:
    """A run that is repeated with its token gives the earlier snapshot back and reads nothing."""
    scene = Scene(("a", "b"))
    tree = folder_of(x=b"x")
    first = run(scene.repository, tree, "same")
    again = folder_of(x=b"x")
    second = run(scene.reopen(), again, "same")
    assert second.snapshot_id == first.snapshot_id
    assert second.was_committed_before
    assert not first.was_committed_before
    assert len(scene.repository.snapshots()) == 1
    assert {tier.state for tier in second.tiers.values()} == {Delivery.COMMITTED}
    assert all(isinstance(file, MemoryFile) and file.reads == 0 for file in again.entries.values())


@pytest.mark.parametrize("after", [0, 3])
def test_backup_can_be_cancelled(after: int) -> None:
    """A backup that is cancelled ends with that error and no snapshot; the next one goes on with what arrived."""
    scene = Scene()
    calls = [0]

    def is_cancelled() -> bool:
        calls[0] += 1
        return calls[0] > after

    tree = folder_of(**{f"f{number:02}": noise(5_000_000, number) for number in range(20)})
    with pytest.raises(BackupCancelled):
        run(scene.repository, tree, is_cancelled=is_cancelled)
    assert scene.repository.snapshots() == []
    repository = scene.reopen()
    assert len(bodies(repository, run(repository, tree, "2"))) == 20


def test_next_run_uses_what_a_cancelled_one_uploaded() -> None:
    """Packs that arrived before a backup ended are found by the next, and their chunks are not stored again."""
    store = _Wrapped("a", _nothing)
    scene = Scene(stores=[store])  # type: ignore[list-item]
    tree = folder_of(**{f"f{number:02}": noise(9_000_000, number) for number in range(20)})
    with pytest.raises(BackupCancelled):
        run(scene.repository, tree, is_cancelled=lambda: len(list(store.list("packs/"))) >= 2)
    arrived = sum(info.size for info in store.list("packs/"))
    result = run(scene.reopen(), tree, "2")
    assert result.totals.new_bytes < 20 * 9_000_000 - arrived + 100_000
    assert len(bodies(scene.repository, result)) == 20


def test_progress_ends_with_the_whole() -> None:
    """The last figures that a caller hears are those of everything; a callback that fails disturbs nothing."""
    scene = Scene(("a", "b"))
    heard: list[Progress] = []

    def listen(progress: Progress) -> None:
        heard.append(progress)
        raise ValueError("a listener's own fault")

    tree = folder_of(small=b"x", large=noise(3_000_000))
    result = run(scene.repository, tree, on_progress=listen)
    last = heard[-1]
    assert (last.files_found, last.files_done, last.bytes_found, last.bytes_done) == (2, 2, 3_000_001, 3_000_001)
    assert last.is_walk_complete
    assert last.problems == 0
    for name, tier in result.tiers.items():
        told = last.tiers[name]
        assert (told.bytes_sent, told.bytes_waiting, told.packs_sent) == (tier.bytes_sent, 0, tier.packs_sent)
        assert told.state == "committed"


def test_memory_budget_that_holds_no_pack_is_refused() -> None:
    """A budget in which nothing fits is an error at once, not a backup that stands still."""
    scene = Scene()
    with pytest.raises(LimitExceeded):
        run(scene.repository, folder_of(x=b"x"), memory_budget=64 << 20)


def test_small_memory_budget_takes_fewer_workers() -> None:
    """A budget that holds only part of the workers is kept to, and the backup is whole."""
    scene = Scene()
    tree = folder_of(**{f"f{number}": noise(9_000_000, number) for number in range(10)})
    result = run(scene.repository, tree, memory_budget=140 << 20, workers=8)
    assert len(bodies(scene.repository, result)) == 10


def test_blocks_longer_than_a_chunk_are_cut_at_the_longest_chunk() -> None:
    """A source that asks for blocks beyond the repository's longest chunk gets those, and all of its bytes."""
    scene = Scene()
    tree = MemoryFolder({b"disk": MemoryFile(noise(13_000_000))}, block_length=16 << 20)
    result = run(scene.repository, tree)
    assert result.by_class["generic"].chunks == 4
    assert bodies(scene.repository, result) == {b"disk": noise(13_000_000)}


def test_hard_links_count_in_the_progress() -> None:
    """Names that are not read count as done when their file is."""
    scene = Scene()
    shared = MemoryFile(noise(900_000), inode=7, links=3)
    heard: list[Progress] = []
    run(scene.repository, MemoryFolder({b"a": shared, b"b": shared, b"c": shared}), on_progress=heard.append)
    last = heard[-1]
    assert (last.files_done, last.bytes_done) == (last.files_found, last.bytes_found) == (3, 2_700_000)


def test_snapshot_that_a_tier_got_late_is_not_the_latest() -> None:
    """A tier that is caught up has the older snapshot behind the newer one; `latest` is the newer one all the same."""
    scene = Scene(("a", "b"))
    run(scene.repository, folder_of(a=noise(5_000)), "1")
    run(scene.reopen(stores=[scene.store("b")]), folder_of(a=noise(5_000, 1)), "2")
    newest = run(scene.reopen(), folder_of(a=noise(5_000, 2)), "3")
    catch_up(scene.reopen(), scene.tier("a"))
    repository = scene.reopen()
    late = [snapshot.manifest.run_token for snapshot in repository.tier("a").snapshots().values()]
    assert late == ["1", "3", "2"]
    assert [snapshot.manifest.run_token for snapshot in repository.snapshots()] == ["1", "2", "3"]
    assert repository.find_snapshot("latest").id == newest.snapshot.id
