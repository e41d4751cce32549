"""docs/repository-format.md says enough: a reader that was written from it alone reads the golden repository."""

import json
import stat
import urllib.parse
from pathlib import Path

import pytest

from tests.compat.independent_reader import IndependentReader
from tests.compat.make_golden import FAR, GOLDEN, NEAR, STREAM, STREAM_BEGINS, appended

EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reader() -> IndependentReader:
    """The golden tier, read by the specification."""
    return IndependentReader(GOLDEN / NEAR, GOLDEN / "new-key")


def test_independent_reader_knows_nothing_of_the_implementation() -> None:
    """It would prove nothing otherwise."""
    text = (Path(__file__).parent / "independent_reader.py").read_text()
    assert "import repository" not in text
    assert "from repository" not in text


def test_specification_names_every_label_and_magic() -> None:
    """What the code derives and writes is in the document."""
    document = (ROOT / "docs" / "repository-format.md").read_text()
    for word in (
        "`key-id`", "`identity-id`", "`chunk-id`",
        "`chunker-seed`", "`pack-root`", "`pack`", "`object-root`", "`object`", "`config`",
        "`signature`", "`kek-id`", "`wedsync-backup/v1/master`", "`wedsync-backup/v1/sealed`",
        "`wedsync-backup/v1/log-entry`", "`wedsync-backup/v1/checkpoint`",
        "`wedsync-backup/v1/snapshot`", "`wedsync-backup/v1/kek`", "`WSBPACK1`",
        "`WSBPEND1`", "`WSBSEAL1`", "`WSBENTRY`", "`wsbkek1-", "`WSBPIECE`",
        "`salt`", "`stream-id`", "`wedsync-backup/v1/stream`", "`wedsync-backup/v1/stream-piece`",
    ):  # fmt: skip
        assert word in document, word


def test_independent_reader_finds_the_same_snapshots(reader: IndependentReader) -> None:
    """Keys, config, signatures and chain verify; the ids are derived from the manifests."""
    assert [identity for identity, _ in reader.manifests] == [each["id"] for each in EXPECTED["snapshots"]]
    assert set(reader.domains) == {("default", 1), ("default", 2), ("tenant", 1)}


def test_independent_reader_finds_second_copies_and_a_checkpoint(reader: IndependentReader) -> None:
    """Of each manifest there are two; the checkpoint holds what the entries up to its own add up to."""
    for identity, manifest in reader.manifests:
        assert reader.manifest_object(identity) == manifest
    checkpoint = reader.named_checkpoint()
    assert [kept[0].hex() for kept in checkpoint["snapshots"]] == [identity for identity, _ in reader.manifests]
    assert [json.loads(kept[4]) for kept in checkpoint["snapshots"]] == [manifest for _, manifest in reader.manifests]
    assert checkpoint["segments"].keys() == reader.segments.keys()
    assert checkpoint["snapshot_count"] == len(reader.manifests)
    assert checkpoint["streams"][STREAM][0] == 5


@pytest.mark.parametrize(("tier", "count"), [(NEAR, 5), (FAR, 3)])
def test_independent_reader_reads_the_stream(reader: IndependentReader, tier: str, count: int) -> None:
    """Each piece verifies, continues the one before it, and has the salt that follows from what it seals."""
    if tier == FAR:
        reader = IndependentReader(GOLDEN / FAR, GOLDEN / "key")
    found = reader.stream(STREAM)
    assert [data for _, data in found] == [appended(number) for number in range(count)]
    assert found[0][0] == STREAM_BEGINS
    assert reader.streams[STREAM]["number"] == count
    leaning = {identity: manifest["extra"] for identity, manifest in reader.manifests if manifest["extra"]}
    assert [each["streams"][STREAM][0] for each in leaning.values()] == ([5] if tier == NEAR else [])


def test_independent_reader_finds_in_footers_what_the_index_says(reader: IndependentReader) -> None:
    """The index follows from the packs alone; what it does not list are the dead writer's packs."""
    rows = {}
    for path in sorted((GOLDEN / NEAR / "packs").rglob("*")):
        if path.is_file():
            rows.update(reader.footer_rows(path))
    assert reader.rows.items() <= rows.items()
    assert len({place[0] for place in rows.values()} - {place[0] for place in reader.rows.values()}) == 2


@pytest.mark.parametrize("number", range(3))
def test_independent_reader_gives_back_every_byte(reader: IndependentReader, number: int) -> None:
    """Names, modes, times, bytes and targets of each snapshot are those that were saved."""
    _, manifest = reader.manifests[number]
    found = reader.tree(manifest["root"])
    expected = {
        urllib.parse.unquote_to_bytes(path): entry for path, entry in EXPECTED["snapshots"][number]["tree"].items()
    }
    assert found.keys() == expected.keys()
    for path, (mode, modified, content) in found.items():
        entry = expected[path]
        assert (stat.S_IFMT(mode), stat.S_IMODE(mode)) == (entry["kind"], entry["mode"]), path
        assert modified == entry["mtime_ns"], path
        assert content.hex() == entry["content"], path
