"""What backups leave behind in a process that makes many of them."""

import gc
import os
from pathlib import Path

from repository.backup.backup import BackupOptions, backup
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.tiers.location import open_tier
from sources.directory import DirectorySource

GROWTH_MAX = 64 << 20


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_backup_gives_its_buffers_back_without_a_garbage_collection(tmp_path: Path) -> None:
    """A worker that makes backup after backup does not keep the buffers of the last ones."""
    source = tmp_path / "source"
    source.mkdir()
    key = KeyFile.create(tmp_path / "key")
    Repository.init([open_tier(f"file://{tmp_path}/tier")], key).close()
    sizes = []
    gc.collect()
    gc.disable()
    try:
        for number in range(4):
            (source / f"{number}.jpg").write_bytes(os.urandom(80 << 20))
            with Repository.open([open_tier(f"file://{tmp_path}/tier")], key) as repository:
                options = BackupOptions(run_token=str(number), label="photos")
                backup(repository, DirectorySource(bytes(source)), options=options)
            sizes.append(_resident())
    finally:
        gc.enable()
    # The first ones are left out: the allocator keeps some of what it got to know.
    assert sizes[-1] - sizes[1] < GROWTH_MAX
