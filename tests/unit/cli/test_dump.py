"""`repo dump`: an archive that unpacks to what the snapshot has."""

import io
import tarfile

import pytest

from cli.exit_codes import ExitCode
from cli.repo_dump import _Content
from repository.backup.backup import BackupOptions, backup
from repository.stored.tree import Row
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import Scene


class _WrittenTo(MemoryFile):
    """What a file has by the time that its next name is listed; somebody gave it the time back that it had."""

    @property
    def row(self) -> Row:
        """What a listing says."""
        row = super().row
        return (*row[:5], 2_000, *row[6:])


def test_names_of_a_file_that_was_written_to_between_their_readings_keep_each_its_bytes(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    """They have one size, time and number in common, and are no links to each other, as in a restore."""
    bodies = {"a": b"A" * 99, "b": b"A" * 99, "c": b"B" * 99}
    kinds = {"a": MemoryFile, "b": MemoryFile, "c": _WrittenTo}
    files = {name.encode(): kinds[name](body, inode=7, links=3) for name, body in bodies.items()}
    scene = Scene()
    options = BackupOptions(run_token="run", label="names")
    snapshot = backup(scene.repository, MemorySource(MemoryFolder({**files})), options=options).snapshot
    content = _Content(scene.reopen(), snapshot, ExitCode.OK)
    content.write_archive(*content.at(""))
    with tarfile.open(fileobj=io.BytesIO(capsysbinary.readouterr().out)) as archive:
        kept = [(each.name, each.islnk(), archive.extractfile(each)) for each in archive]
        assert [(name, is_link) for name, is_link, _ in kept] == [("a", False), ("b", True), ("c", False)]
        assert {name: body.read() for name, _, body in kept if body is not None} == bodies
