"""A directory as a source: what it tells, what it reads, and what it does about files that move under it."""

import errno
import os
import socket
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from repository.backup.source import LOSSES, FileProblem, GrownLarge, Reason, SourceExcluded, SourceUnreachable
from repository.errors import LocationInvalid
from repository.stored.tree import Extra, Flag, Row, decode_extents
from sources import attributes, port
from sources import directory as directory_module
from sources.directory import POSTGRES_PAGE, Directory, DirectoryFile, DirectorySource


def _no_problem(name: bytes, problem: FileProblem) -> None:
    raise AssertionError(f"{name!r}: {problem}")


def _root(path: Path, **options: object) -> Directory:
    return DirectorySource(os.fsencode(path), **options).root()[1]  # type: ignore[arg-type]


def _row(directory: Directory, name: bytes) -> Row:
    row = directory.rows([name], _no_problem).rows[0]
    assert row is not None
    return row


def _wait_out_the_tick(path: Path) -> None:
    stamp = os.lstat(path).st_ctime_ns
    while attributes.kernel_now_ns() <= stamp + attributes.RACY_NS:
        pass


def _settled(path: Path, body: bytes) -> Path:
    """A file that was written long enough ago to be trusted."""
    path.write_bytes(body)
    _wait_out_the_tick(path)
    return path


def _read_all(file: DirectoryFile, block: int = 1000) -> bytes:
    pieces = []
    buffer = bytearray(block)
    while count := file.read_into(memoryview(buffer)):
        pieces.append(bytes(buffer[:count]))
    return b"".join(pieces)


def test_names_are_sorted_bytes(tmp_path: Path) -> None:
    """Names come as bytes, in order, also those that are no UTF-8."""
    for name in (b"b", b"a", b"\xff\xfe", "ü".encode()):
        (tmp_path / os.fsdecode(name)).touch()
    assert _root(tmp_path).names() == [b"a", b"b", "ü".encode(), b"\xff\xfe"]


def test_rows_say_what_the_file_system_says(tmp_path: Path) -> None:
    """A row holds mode, owner, size, times, inode and links; of a symlink, its own."""
    (tmp_path / "file").write_bytes(b"12345")
    os.link(tmp_path / "file", tmp_path / "other")
    os.symlink("file", tmp_path / "link")
    (tmp_path / "folder").mkdir()
    status = os.lstat(tmp_path / "file")
    root = _root(tmp_path)
    file, folder, link = root.rows([b"file", b"folder", b"link"], _no_problem).rows
    expected = (status.st_mode, status.st_uid, status.st_gid, 5, status.st_mtime_ns, status.st_ctime_ns)
    assert file == (*expected, status.st_ino, 2, 0)
    assert folder is not None
    assert (folder[3], folder[7]) == (0, 1)
    assert link is not None
    assert stat.S_ISLNK(link[0])


def test_rows_report_what_is_gone(tmp_path: Path) -> None:
    """A name that vanished after it was listed is reported and leaves a gap, nothing more."""
    (tmp_path / "there").touch()
    problems: list[tuple[bytes, Reason]] = []
    listing = _root(tmp_path).rows([b"gone", b"there"], lambda name, problem: problems.append((name, problem.reason)))
    assert listing.rows[0] is None
    assert listing.rows[1] is not None
    assert listing.identities is None
    assert problems == [(b"gone", Reason.VANISHED)]


def test_rows_end_the_backup_when_the_system_has_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Being out of memory or descriptors is no property of one file: it must not look like thousands of lost files."""

    def exhausted(*_args: object, **_options: object) -> os.stat_result:
        raise OSError(errno.ENOMEM, "no memory")

    root = _root(tmp_path)
    monkeypatch.setattr(os, "stat", exhausted)
    with pytest.raises(SourceUnreachable):
        root.rows([b"x"], _no_problem)


def test_excluded_folders_are_left_out(tmp_path: Path) -> None:
    """An excluded folder is not there, whatever its name is, and is told; a missing exclusion excludes nothing."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "photos").mkdir()
    root = _root(tmp_path, excluded=[str(tmp_path / "photos" / ".." / "keys"), tmp_path / "absent"])
    told: list[tuple[bytes, Reason]] = []
    rows = root.rows([b"keys", b"photos"], lambda name, problem: told.append((name, problem.reason))).rows
    assert [row is None for row in rows] == [True, False]
    assert told == [(b"keys", Reason.EXCLUDED)]
    assert Reason.EXCLUDED not in LOSSES


@pytest.mark.parametrize("way", ["keys", "keys/deep/deeper", "link", "link/deep", "keys/one", "links/deep"])
def test_excluded_folder_is_no_source_nor_is_what_lies_below_it(tmp_path: Path, way: str) -> None:
    """An excluded folder is no source by its own name, nor from below, nor through a symlink to it or into it."""
    (tmp_path / "keys" / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "keys" / "one").write_bytes(b"1")
    (tmp_path / "link").symlink_to("keys")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "deep").symlink_to(tmp_path / "keys" / "deep")
    with pytest.raises(SourceExcluded):
        _root(tmp_path / way, excluded=[tmp_path / "keys"])


def test_folder_above_and_beside_an_excluded_one_is_a_source(tmp_path: Path) -> None:
    """What holds an excluded folder, or lies next to it, is read."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys-of-the-house").mkdir()
    assert _root(tmp_path, excluded=[tmp_path / "keys"]).names() == [b"keys", b"keys-of-the-house"]
    assert _root(tmp_path / "keys-of-the-house", excluded=[tmp_path / "keys"]).names() == []


def test_excluded_folder_that_cannot_be_looked_at_ends_the_backup(tmp_path: Path) -> None:
    """A folder that nobody can recognise could be backed up unnoticed."""
    (tmp_path / "keys").symlink_to("keys")
    with pytest.raises(SourceUnreachable):
        DirectorySource(tmp_path, excluded=[tmp_path / "keys"])


def test_source_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    """A missing root is an error of the whole source."""
    with pytest.raises(SourceUnreachable):
        DirectorySource(tmp_path / "absent").root()


def test_single_file_is_a_source(tmp_path: Path) -> None:
    """The path of a file is backed up as a folder with that one entry."""
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    root = _root(tmp_path / "one")
    assert root.names() == [b"one"]
    assert root.read_small(b"one", _row(root, b"one")).body == b"1"


def test_enter_goes_down_without_following_links(tmp_path: Path) -> None:
    """A folder is entered; a symlink in its place, a file, or nothing is a problem of that entry."""
    (tmp_path / "folder" / "below").mkdir(parents=True)
    os.symlink("folder", tmp_path / "link")
    (tmp_path / "file").touch()
    root = _root(tmp_path)
    below = root.enter(b"folder")
    assert below.names() == [b"below"]
    assert below.extra() is None
    below.close()
    below.close()
    for name, reason in ((b"link", Reason.UNREADABLE), (b"file", Reason.UNREADABLE), (b"gone", Reason.VANISHED)):
        with pytest.raises(FileProblem) as caught:
            root.enter(name)
        assert caught.value.reason is reason


def test_enter_recognises_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is one of its own parents (through a mount) is not entered again."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    root = _root(tmp_path)
    below = root.enter(b"a")
    real = os.fstat
    looped = real(root._fd)
    monkeypatch.setattr(os, "fstat", lambda _fd: looped)
    with pytest.raises(FileProblem) as caught:
        below.enter(b"b")
    assert caught.value.reason is Reason.LOOP


def test_enter_stays_on_the_file_system_when_told_to(tmp_path: Path) -> None:
    """A mount point is entered by default, and reported instead where the caller said so."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs a mounted file system")
    assert DirectorySource("/").root()[1].enter(b"proc").names()
    with pytest.raises(FileProblem) as caught:
        DirectorySource("/", one_file_system=True).root()[1].enter(b"proc")
    assert caught.value.reason is Reason.OTHER_FILE_SYSTEM


def test_devices_are_numbered_as_they_are_met(tmp_path: Path) -> None:
    """Device numbers, which change from boot to boot, are not kept: only whether two entries share one."""
    source = DirectorySource(tmp_path)
    assert [source.device_number(number) for number in (77, 5, 77, 9)] == [0, 1, 0, 2]


def test_names_of_a_directory_that_fails_are_a_problem(tmp_path: Path) -> None:
    """A directory that cannot be listed is a problem of its own."""
    root = _root(tmp_path)
    root.close()
    with pytest.raises(FileProblem):
        root.names()


def test_postgres_folder_is_cut_on_pages(tmp_path: Path) -> None:
    """Below a Postgres data folder relation files are cut on their pages; other folders are not."""
    for name in ("base", "global", "pg_wal", "pg_tblspc"):
        (tmp_path / name / "1").mkdir(parents=True)
    (tmp_path / "PG_VERSION").write_bytes(b"17\n")
    root = _root(tmp_path)
    assert root.block_length == 0
    root.names()
    lengths = {name: root.enter(name).block_length for name in (b"base", b"global", b"pg_wal", b"pg_tblspc")}
    assert lengths == {b"base": POSTGRES_PAGE, b"global": POSTGRES_PAGE, b"pg_wal": 0, b"pg_tblspc": POSTGRES_PAGE}
    assert root.enter(b"base").enter(b"1").block_length == POSTGRES_PAGE


def test_describe_tells_what_is_no_file(tmp_path: Path) -> None:
    """Symlinks have a target, devices a number; FIFOs and sockets have nothing and are not opened."""
    os.symlink(b"to \xff", os.fsencode(tmp_path / "link"))
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
    root = _root(tmp_path)
    link = root.describe(b"link", _row(root, b"link"))
    assert link is not None
    assert link.target == b"to \xff"
    assert root.describe(b"fifo", _row(root, b"fifo")) is None
    assert root.describe(b"s", _row(root, b"s")) is None
    devices = DirectorySource("/dev").root()[1]
    null = devices.describe(b"null", _row(devices, b"null"))
    assert null == Extra(device=(1, 3))
    with pytest.raises(FileProblem):
        root.describe(b"gone", (stat.S_IFLNK, 0, 0, 0, 0, 0, 0, 1, 0))


@pytest.mark.parametrize("length", [0, 1, 5000])
def test_small_file_is_read_at_once(tmp_path: Path, length: int) -> None:
    """A file that nobody touches comes whole, with the very row that was asked for."""
    _settled(tmp_path / "file", os.urandom(length))
    root = _root(tmp_path)
    row = _row(root, b"file")
    body, after, extra = root.read_small(b"file", row)
    assert body == (tmp_path / "file").read_bytes()
    assert after is row
    assert extra is None


def test_small_file_brings_its_xattrs(tmp_path: Path) -> None:
    """Extended attributes come with the bytes, sorted."""
    _settled(tmp_path / "file", b"x")
    try:
        os.setxattr(tmp_path / "file", "user.b", b"2")
        os.setxattr(tmp_path / "file", "user.a", b"1")
    except OSError:
        pytest.skip("file system has no extended attributes")
    _wait_out_the_tick(tmp_path / "file")
    root = _root(tmp_path)
    extra = root.read_small(b"file", _row(root, b"file")).extra
    assert extra == Extra(xattrs=((b"user.a", b"1"), (b"user.b", b"2")))


def test_small_file_that_changed_since_the_listing_has_its_new_row(tmp_path: Path) -> None:
    """A file that was written between listing and reading is kept as it was read, and nothing is wrong with it."""
    _settled(tmp_path / "file", b"old")
    root = _root(tmp_path)
    row = _row(root, b"file")
    _settled(tmp_path / "file", b"new and longer")
    body, after, extra = root.read_small(b"file", row)
    assert (body, after, extra) == (b"new and longer", _row(root, b"file"), None)


def test_file_that_was_just_written_is_not_trusted_next_time(tmp_path: Path) -> None:
    """A write within the same tick of the kernel's clock could not be seen: such a file is read again next time."""
    (tmp_path / "file").write_bytes(b"just now")
    os.utime(tmp_path / "file")
    root = _root(tmp_path)
    row = _row(root, b"file")
    if not attributes.is_racy(row[5], attributes.kernel_now_ns()):
        pytest.skip("the machine was too slow")
    assert root.read_small(b"file", row).row[5] == 0
    file = root.open(b"file", row)
    assert _read_all(file) == b"just now"
    assert file.finish()[0][5] == 0


@pytest.mark.parametrize("name", ["gone", "link", "fifo", "folder"])
def test_file_that_is_no_file_any_more_is_a_problem(tmp_path: Path, name: str) -> None:
    """What was listed as a file and is something else now is never followed, waited for, or read."""
    root = _root(tmp_path)
    row = (stat.S_IFREG | 0o644, 0, 0, 5, 0, 0, 1, 1, 0)
    if name == "link":
        os.symlink("/etc/passwd", tmp_path / "link")
    elif name == "fifo":
        os.mkfifo(tmp_path / "fifo")
    elif name == "folder":
        (tmp_path / "folder").mkdir()
    for read in (root.read_small, root.open):
        with pytest.raises(FileProblem) as caught:
            read(name.encode(), row)
        assert caught.value.reason is (Reason.VANISHED if name == "gone" else caught.value.reason)
        assert caught.value.reason in (Reason.VANISHED, Reason.CHANGED, Reason.UNREADABLE)


def test_access_time_is_left_alone_where_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system forbids quiet reading, files are read all the same, and it is not tried again."""
    _settled(tmp_path / "file", b"x")
    source = DirectorySource(tmp_path)
    root = source.root()[1]
    row = _row(root, b"file")
    real, quiet = os.open, []

    def forbids(path: bytes, flags: int, *args: object, **options: object) -> int:
        if flags & directory_module._NOATIME:
            quiet.append(path)
            raise PermissionError(errno.EPERM, "not the owner")
        return real(path, flags, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", forbids)
    assert [root.read_small(b"file", row).body for _ in range(2)] == [b"x", b"x"]
    assert quiet == [b"file"]


def test_large_file_is_read_block_by_block(tmp_path: Path) -> None:
    """A file comes in blocks of any size, whole and in order, with its row at the end."""
    body = os.urandom(30_000)
    _settled(tmp_path / "file", body)
    root = _root(tmp_path)
    row = _row(root, b"file")
    file = root.open(b"file", row)
    assert file.head_class is None
    assert _read_all(file, 7000) == body
    assert file.finish() == (row, None)


def test_sparse_file_is_read_without_its_holes(tmp_path: Path) -> None:
    """Holes are told and not read; a file that is one hole has no bytes at all."""
    with (tmp_path / "sparse").open("wb") as made:
        made.truncate(10_000_000)
        made.seek(5_000_000)
        made.write(b"x" * 100_000)
    with (tmp_path / "hole").open("wb") as made:
        made.truncate(200_000)
    _wait_out_the_tick(tmp_path / "hole")
    root = _root(tmp_path)
    file = root.open(b"sparse", _row(root, b"sparse"))
    body = _read_all(file, 1 << 16)
    row, extra = file.finish()
    assert extra is not None
    assert extra.flags == Flag.SPARSE
    assert row[3] == 10_000_000
    extents = decode_extents(extra.extents, row[3])
    assert sum(length for _offset, length in extents) == len(body) < 200_000
    assert b"x" * 100_000 in body
    hole = root.read_small(b"hole", _row(root, b"hole"))
    assert (hole.body, hole.row[3], hole.extra) == (b"", 200_000, Extra(flags=int(Flag.SPARSE)))


def test_file_that_is_written_while_it_is_read_is_marked(tmp_path: Path) -> None:
    """A change during reading is recorded with the entry, and the file is read again next time."""
    _settled(tmp_path / "file", bytes(10_000))
    root = _root(tmp_path)
    file = root.open(b"file", _row(root, b"file"))
    buffer = bytearray(1000)
    file.read_into(memoryview(buffer))
    with (tmp_path / "file").open("ab") as writer:
        writer.write(b"more")
    assert len(_read_all(file)) == 9000
    row, extra = file.finish()
    assert extra == Extra(flags=int(Flag.CHANGED))
    assert (row[3], row[5]) == (10_000, 0)


@pytest.mark.parametrize("kept", [0, 4096, 6000])
def test_file_that_is_cut_off_while_it_is_read_ends_there(tmp_path: Path, kept: int) -> None:
    """A file that gets shorter is kept as far as it could be read, with the size of that."""
    _settled(tmp_path / "file", os.urandom(20_000))
    root = _root(tmp_path)
    file = root.open(b"file", _row(root, b"file"))
    os.truncate(tmp_path / "file", kept)
    body = _read_all(file, 4096)
    row, extra = file.finish()
    assert body == (tmp_path / "file").read_bytes()
    assert row[3] == len(body) == kept
    assert extra == Extra(flags=int(Flag.CHANGED))


def test_sparse_file_that_is_cut_off_keeps_extents_within_its_size(tmp_path: Path) -> None:
    """Extents of a sparse file that gets shorter never reach beyond what was read."""
    with (tmp_path / "sparse").open("wb") as made:
        made.truncate(1 << 20)
        for offset in (0, 1 << 18, 1 << 19):
            made.seek(offset)
            made.write(b"x" * 65536)
    _wait_out_the_tick(tmp_path / "sparse")
    root = _root(tmp_path)
    file = root.open(b"sparse", _row(root, b"sparse"))
    os.truncate(tmp_path / "sparse", (1 << 18) + 4096)
    body = _read_all(file, 1 << 17)
    row, extra = file.finish()
    assert extra is not None
    extents = decode_extents(extra.extents, row[3])
    assert sum(length for _offset, length in extents) == len(body) == 65536 + 4096
    assert extra.flags == Flag.SPARSE | Flag.CHANGED


def test_read_errors_are_problems_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad sector concerns the file that lies on it."""
    _settled(tmp_path / "file", bytes(1000))
    root = _root(tmp_path)
    row = _row(root, b"file")

    def fails(*_args: object) -> int:
        raise OSError(errno.EIO, "bad sector")

    file = root.open(b"file", row)
    monkeypatch.setattr(os, "preadv", fails)
    with pytest.raises(FileProblem) as caught:
        file.read_into(memoryview(bytearray(10)))
    assert (caught.value.reason, caught.value.detail) == (Reason.UNREADABLE, "EIO")
    file.close()
    monkeypatch.setattr(os, "read", fails)
    with pytest.raises(FileProblem):
        root.read_small(b"file", row)
    later = root.open(b"file", row)
    found = []
    with monkeypatch.context() as broken:
        broken.setattr(os, "fstat", fails)
        for call in (later.finish, lambda: root.open(b"file", row)):
            try:
                call()
            except FileProblem as problem:
                found.append(problem.reason)
    assert found == [Reason.UNREADABLE, Reason.UNREADABLE]


def test_descriptors_go_with_what_holds_them(tmp_path: Path) -> None:
    """A directory or file that is forgotten, as after a failed backup, gives its descriptor back."""
    _settled(tmp_path / "file", b"x")
    before = len(os.listdir("/proc/self/fd"))
    root = _root(tmp_path)
    file = root.open(b"file", _row(root, b"file"))
    assert len(os.listdir("/proc/self/fd")) == before + 2
    del root, file
    assert len(os.listdir("/proc/self/fd")) == before


def test_port_is_the_repositorys() -> None:
    """What the platform imports as a source's port is the very one that the repository takes."""
    from repository.backup import source

    assert all(getattr(port, name) is getattr(source, name) for name in port.__all__)


def test_stamp_in_whole_seconds_is_not_trusted_for_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are file systems whose clock ticks in seconds: a second write of the same length would not be seen."""
    _settled(tmp_path / "file", b"version 1")
    real = os.fstat
    second = os.lstat(tmp_path / "file").st_ctime_ns // 10**9 * 10**9

    def coarse(fd: int) -> object:
        status = real(fd)
        fields = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
        return SimpleNamespace(**{**fields, "st_mtime_ns": second, "st_ctime_ns": second})

    monkeypatch.setattr(os, "fstat", coarse)
    root = _root(tmp_path)
    listed = _row(root, b"file")
    row = (*listed[:4], second, second, *listed[6:])
    for passed, is_trusted in ((1_900_000_000, False), (attributes.COARSE_NS + 1, True)):
        monkeypatch.setattr("time.clock_gettime_ns", lambda _, now=second + passed: now)
        file = root.open(b"file", row)
        assert _read_all(file) == b"version 1"
        assert {root.read_small(b"file", row).row[5], file.finish()[0][5]} == {second if is_trusted else 0}


@pytest.mark.parametrize("length", [30, 3_000_000])
def test_file_whose_size_is_wrong_is_read_to_its_end(
    tmp_path: Path, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of procfs, or of a FUSE file system, that says 0 bytes and has more."""
    body = os.urandom(length)
    _settled(tmp_path / "file", body)
    real = os.fstat

    def sizeless(fd: int) -> object:
        status = real(fd)
        fields = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
        return SimpleNamespace(**{**fields, "st_size": 0 if stat.S_ISREG(status.st_mode) else status.st_size})

    root = _root(tmp_path)
    listed = _row(root, b"file")
    row = (*listed[:3], 0, *listed[4:])
    monkeypatch.setattr(os, "fstat", sizeless)
    if length < 1_000_000:
        small = root.read_small(b"file", row)
        assert (small.body, small.row[3], small.extra) == (body, length, None)
    else:
        with pytest.raises(GrownLarge):
            root.read_small(b"file", row)
    file = root.open(b"file", row)
    assert _read_all(file) == body
    after, extra = file.finish()
    assert (after[3], extra) == (length, None)


def test_what_is_appended_meanwhile_is_left_for_the_next_time(tmp_path: Path) -> None:
    """A file that grows has no wrong size: it is read to the end that it had, and told as changed."""
    _settled(tmp_path / "file", b"one")
    root = _root(tmp_path)
    file = root.open(b"file", _row(root, b"file"))
    with (tmp_path / "file").open("ab") as log:
        log.write(b" two")
    assert _read_all(file) == b"one"
    assert file.finish()[1] == Extra(flags=int(Flag.CHANGED))


def test_source_that_is_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    """As for a folder: a backup of the link alone would keep nothing."""
    (tmp_path / "data").mkdir()
    _settled(tmp_path / "data" / "2024.bin", b"content")
    (tmp_path / "current").symlink_to("data/2024.bin")
    root = DirectorySource(str(tmp_path / "current")).root()[1]
    assert root.names() == [b"2024.bin"]
    assert root.read_small(b"2024.bin", _row(root, b"2024.bin")).body == b"content"


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a pipe"])
def test_source_without_content_is_refused(tmp_path: Path, kind: str) -> None:
    """What a shell gives for `<(program)` is a pipe: nothing of it would be kept."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to a pipe").symlink_to("pipe")
    path = "/dev/null" if kind == "device" else str(tmp_path / kind)
    with pytest.raises(LocationInvalid, match="no content to keep"):
        DirectorySource(path).root()
