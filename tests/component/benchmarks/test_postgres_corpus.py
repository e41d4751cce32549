"""The table-like corpus comes out of a real Postgres, and its daily versions change what they claim to."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import corpora
from benchmarks.postgres import REACHABLE_UMASK, Postgres
from benchmarks.rows_postgres import _change, _difference, _page_digests

pytestmark = pytest.mark.stack


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that the unprivileged user of Postgres can reach: pytest's own are closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="wedsync-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    before = os.umask(REACHABLE_UMASK)
    yield folder
    os.umask(before)
    shutil.rmtree(folder)


def test_tables_are_a_dump_and_a_data_folder_without_its_log(scratch: Path) -> None:
    """The dump is the same on every machine; the data folder is one that Postgres would recognise."""
    corpora.tables(scratch / "one", 2_000_000, scratch / "scratch")
    corpora.tables(scratch / "two", 2_000_000, scratch / "scratch")
    names = {path.name for path in (scratch / "one" / "cluster").iterdir()}
    assert {"PG_VERSION", "base", "global"} <= names
    assert "pg_wal" not in names
    first, second = (
        sorted(path.read_bytes() for path in (scratch / name / "dump").glob("[0-9]*.dat")) for name in ("one", "two")
    )
    assert len(first) == 4
    assert first == second
    assert b"@mail.example" in b"".join(first)


@pytest.mark.parametrize("pattern", ["clustered", "scattered"])
def test_daily_version_changes_two_per_cent_of_the_pages(scratch: Path, pattern: str) -> None:
    """About one page in fifty differs after a day; clustered ones are neighbours, scattered ones are not."""
    corpora.database(scratch / "template", 4_000_000, scratch / "scratch")
    with Postgres(scratch / "run", scratch / "tools", template=scratch / "template") as server:
        # The first day also writes what a new server writes once.
        _change(server, pattern, 1, len(_page_digests(server.relation_files())))
        before = _page_digests(server.relation_files())
        _change(server, pattern, 2, len(before))
        after = _page_digests(server.relation_files())
    share = _difference(before, after) / len(after)
    assert 0.015 < share < 0.06
    changed = [page for page, digest in after.items() if before.get(page) != digest]
    neighbours = sum((name, number + 1) in changed for name, number in changed)
    if pattern == "clustered":
        assert neighbours > len(changed) / 2
    else:
        assert neighbours < len(changed) / 2
