"""Any tree, changed in any way between backups, comes back from each snapshot as it was."""

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repository.backup.backup import BackupOptions, backup
from repository.restore.restore import RestoreOptions, restore
from repository.upkeep.verify import verify_snapshot
from sources.directory import DirectorySource
from tests.support.file_trees import differences, seen
from tests.support.repositories import Scene

names = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\x00" not in name and name not in (b".", b"..")
)
times = st.integers(-(10**18), 4 * 10**18)
bodies = st.one_of(
    st.binary(max_size=200),
    st.tuples(st.binary(min_size=1, max_size=4), st.integers(1, 1_300_000)).map(lambda pair: pair[0] * pair[1]),
)
files = st.tuples(st.just("file"), bodies, st.integers(0, 0o7777), times)
sparse = st.tuples(st.just("sparse"), st.lists(st.integers(0, 60), max_size=4), st.just(0o644), times)
links = st.tuples(st.just("link"), names, st.just(0), times)
pipes = st.tuples(st.just("fifo"), st.none(), st.integers(0, 0o777), times)
hard = st.tuples(st.just("hard"), st.integers(0, 100), st.just(0), times)
leaves = st.one_of(files, files, files, sparse, links, pipes, hard)
folders = st.recursive(
    st.dictionaries(names, leaves, max_size=4),
    lambda below: st.dictionaries(
        names, st.one_of(leaves, st.tuples(st.just("folder"), below, st.integers(0o700, 0o777), times)), max_size=5
    ),
    max_leaves=15,
)


def _make(folder: bytes, tree: dict[bytes, Any], made: list[bytes]) -> None:
    """The tree as files, over what an earlier one left: folders are merged, everything else is replaced."""
    os.makedirs(folder, exist_ok=True)
    for name, (kind, what, mode, mtime_ns) in tree.items():
        path = folder + b"/" + name
        if os.path.lexists(path):
            is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
            if not is_folder:
                os.unlink(path)
            elif kind != "folder":
                shutil.rmtree(path)
        if kind == "folder":
            _make(path, what, made)
        elif kind == "link":
            os.symlink(what, path)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "hard" and made:
            source = made[what % len(made)]
            if os.path.lexists(source):
                os.link(source, path)
                made.append(path)
        elif kind == "sparse":
            with open(path, "wb") as file:
                file.truncate(61 * 65536)
                for place in what:
                    file.seek(place * 65536)
                    file.write(b"data %d" % place)
        elif kind == "file":
            with open(path, "wb") as file:
                file.write(what)
            made.append(path)
        if os.path.lexists(path):
            if kind in ("file", "folder", "fifo"):
                os.chmod(path, mode)  # noqa: PTH101 - the path is bytes
            os.utime(path, ns=(0, mtime_ns), follow_symlinks=False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(folders, min_size=1, max_size=3))
def test_any_tree_comes_back_from_each_snapshot(trees: list[dict[bytes, Any]]) -> None:
    """Each snapshot gives back the tree as it was when it was made, from each tier, whatever came later."""
    scene = Scene(("a", "b"))
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        taken = []
        for number, tree in enumerate(trees):
            _make(os.fsencode(source), tree, [])
            result = backup(
                scene.repository,
                DirectorySource(source),
                options=BackupOptions(run_token=str(number), label="x", workers=2),
            )
            assert not [error for error in result.file_errors if error.is_loss]
            taken.append((result.snapshot, seen(source)))
        for number, (snapshot, before) in enumerate(taken):
            tier = "ab"[number % 2]
            target = Path(scratch) / f"target {number}"
            restored = restore(
                scene.repository, snapshot, os.fsencode(target), options=RestoreOptions(tiers=(tier,), verify=True)
            )
            assert restored.troubles == []
            assert differences(before, seen(target)) == []
            verify_snapshot(scene.repository, scene.tier(tier), snapshot, percent=100)
