"""A bucket backed up and restored by the command line, on a real S3 server."""

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cli.exit_codes import ExitCode
from repository.backup.source import FileProblem, Overwritten, Reason, SourceUnreachable
from repository.stored.chunker import SMALL_FILE_MAX
from repository.tiers.location import s3_options
from repository.tiers.s3.options import credentials_from_environment
from sources.s3.source import BucketSource, ObjectFile
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.repo_command import Done, RepoCommand
from tests.support.s3_server import S3Server

LARGE = SMALL_FILE_MAX * 5 + 17
OBJECTS = {
    "photos/2026/a.jpg": b"\xff\xd8" + bytes(range(256)) * 40,
    "photos/2026/empty": b"",
    "photos/b c%20d.txt": b"text\n" * 100,
    "photos/ü/ß": b"umlauts",
    "large.bin": secrets.token_bytes(LARGE),
}


class Place:
    """A prefix of a bucket of its own, with a client."""

    def __init__(self, server: S3Server, *, versions: bool = False) -> None:
        self.server = server
        self.bucket = server.shared_bucket(versions=versions)
        self.prefix = f"source-{secrets.token_hex(6)}"
        self.client = server.client()
        self.url = server.url(self.bucket, self.prefix)

    def put(self, key: str, body: bytes, **more: Any) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=body, **more)

    def all(self) -> dict[str, bytes]:
        """Every object by its key."""
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + "/").get("Contents", [])
        return {
            each["Key"].removeprefix(self.prefix + "/"): self.client.get_object(Bucket=self.bucket, Key=each["Key"])[
                "Body"
            ].read()
            for each in found
        }


@pytest.fixture
def repo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, s3_server: S3Server
) -> RepoCommand:
    """An initialised repository on one tier in a folder, and the credentials of the server in the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    command = RepoCommand(tmp_path, capsys, tiers=("a",))
    command.json("init")
    return command


def _code_of(done: Done) -> str:
    return str(json.loads(done.err)["error"]["code"])


def test_bucket_comes_back_to_a_bucket_and_to_a_folder(repo: RepoCommand, s3_server: S3Server, tmp_path: Path) -> None:
    """Bytes, keys, metadata and tags; once more nothing is read but the listing, and then only what is new."""
    place, back = Place(s3_server), Place(s3_server)
    for key, body in OBJECTS.items():
        place.put(key, body)
    more = {"ContentType": "image/webp", "CacheControl": "max-age=60", "Metadata": {"album": "7"}, "Tagging": "k=v%20w"}
    place.put("described", b"x", **more)
    made = repo.json("backup", place.url)
    assert made["snapshot"]["totals"]["files"] == len(OBJECTS) + 1
    assert made["snapshot"]["label"] == f"s3://{place.bucket}/{place.prefix}"
    again = repo.json("backup", place.url)["snapshot"]["totals"]
    assert (again["unchanged_files"], again["source_bytes"]) == (len(OBJECTS) + 1, sum(map(len, OBJECTS.values())) + 1)
    dry = repo.json("backup", place.url, "--dry-run")
    assert dry["totals"]["files_to_read"] == 0
    place.put("described", b"y", **more)
    assert repo.json("backup", place.url)["snapshot"]["totals"]["unchanged_files"] == len(OBJECTS)

    repo.json("restore", "latest", "--target", back.url, "--verify")
    assert back.all() == {**OBJECTS, "described": b"y"}
    name = f"{back.prefix}/described"
    found = back.client.get_object(Bucket=back.bucket, Key=name)
    assert (found["ContentType"], found["CacheControl"], found["Metadata"]) == (
        "image/webp",
        "max-age=60",
        {"album": "7"},
    )
    assert back.client.get_object_tagging(Bucket=back.bucket, Key=name)["TagSet"] == [{"Key": "k", "Value": "v w"}]
    repo.json("restore", "latest", "--target", tmp_path / "back")
    assert (tmp_path / "back/photos/ü/ß").read_bytes() == b"umlauts"
    assert (tmp_path / "back/photos/b c%2520d.txt").read_bytes() == OBJECTS["photos/b c%20d.txt"]
    assert (tmp_path / "back/large.bin").read_bytes() == OBJECTS["large.bin"]


def test_target_that_is_in_use_is_refused(repo: RepoCommand, s3_server: S3Server, tmp_path: Path) -> None:
    """Nothing is replaced unasked; what is there can be left or replaced; a folder's snapshot is no bucket's."""
    place, back = Place(s3_server), Place(s3_server)
    place.put("a", b"one")
    place.put("b", b"two")
    repo.json("backup", place.url)
    back.put("a", b"mine")
    assert repo.run("restore", "latest", "--target", back.url).code == ExitCode.REFUSED
    assert back.all() == {"a": b"mine"}
    assert repo.json("restore", "latest", "--target", back.url, "--on-conflict", "skip")["trouble_counts"] == {
        "skipped": 1
    }
    assert back.all() == {"a": b"mine", "b": b"two"}
    repo.json("restore", "latest", "--target", back.url, "--on-conflict", "overwrite")
    assert back.all() == {"a": b"one", "b": b"two"}
    assert repo.run("restore", "latest", "--target", back.url, "--on-conflict", "rename").code == ExitCode.REFUSED
    (tmp_path / "folder").mkdir()
    repo.json("backup", tmp_path / "folder")
    assert repo.run("restore", "latest", "--target", Place(s3_server).url).code == ExitCode.REFUSED


def test_bucket_that_cannot_be_read_makes_no_snapshot(repo: RepoCommand, s3_server: S3Server) -> None:
    """Absent, or with a part that is a tier: told by code, and nothing is recorded."""
    absent = repo.run("backup", s3_server.url("no-such-bucket"), "--json")
    assert (absent.code, _code_of(absent)) == (ExitCode.NOT_FOUND, "source-unreachable")
    place = Place(s3_server)
    tier = s3_server.url(place.bucket, f"{place.prefix}/tier")
    nested = repo.run("backup", place.url, "--json", tiers=[*repo.tiers, tier])
    assert (nested.code, _code_of(nested)) == (ExitCode.REFUSED, "source-excluded")
    assert repo.run("backup", place.url, "--exclude", "x").code == ExitCode.USAGE
    assert repo.json("snapshots")["snapshots"] == []


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    """The server behind what fails as networks do."""
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


def _source(place: Place, proxy: FaultProxy) -> BucketSource:
    url = place.server.url(place.bucket, place.prefix, endpoint=proxy.endpoint)
    return BucketSource(s3_options(url, credentials=credentials_from_environment(place.server.environment))[0])


def _read(file: ObjectFile) -> bytes:
    buffer, found = bytearray(1 << 20), b""
    while count := file.read_into(memoryview(buffer)):
        found += buffer[:count]
    return found


@pytest.mark.parametrize("versions", [False, True])
def test_object_is_one_version_of_itself_whatever_breaks(
    s3_server: S3Server, proxy: FaultProxy, versions: bool
) -> None:
    """The rest of a broken answer is of the same version; where that is gone it is read anew, never mixed."""
    place = Place(s3_server, versions=versions)
    first, second = secrets.token_bytes(LARGE), secrets.token_bytes(LARGE)
    place.put("large", first)
    source = _source(place, proxy)
    row, root = source.root()
    assert root.names() == [b"large"]
    proxy.add(Fault("truncate", method="GET", path="/large", after=LARGE // 2))
    file = root.open(b"large", row)
    assert _read(file) == first
    proxy.add(Fault("truncate", method="GET", path="/large", after=LARGE // 2))
    file = root.open(b"large", row)
    place.put("large", second)
    if versions:
        assert _read(file) == first
    else:
        with pytest.raises(Overwritten):
            _read(file)
    assert _read(root.open(b"large", row)) == second
    source.close()


def test_listing_that_fails_half_way_is_no_listing(s3_server: S3Server, proxy: FaultProxy) -> None:
    """Throttled it goes on; with the bucket gone in the middle, there is no source."""
    place = Place(s3_server)
    for number in range(3):
        place.put(f"folder-{number}/a", b"x")
    proxy.add(Fault("status", method="GET", path="list-type=2", status=503, code="SlowDown", times=2))
    source = _source(place, proxy)
    _, root = source.root()
    assert root.names() == [b"folder-0", b"folder-1", b"folder-2"]
    proxy.add(Fault("status", method="GET", path="list-type=2", status=404, code="NoSuchBucket", times=None))
    with pytest.raises(SourceUnreachable, match="no such bucket"):
        source.root()
    proxy.clear()
    proxy.add(Fault("status", path="folder-1/a", status=404, code="NoSuchKey", times=None))
    row, root = source.root()
    with pytest.raises(FileProblem) as told:
        root.enter(b"folder-1").read_small(b"a", row)
    assert told.value.reason is Reason.VANISHED
    source.close()


def test_listing_is_parallel_and_complete(s3_server: S3Server, proxy: FaultProxy) -> None:
    """One request a thousand keys, and few more, below each of the folders at the same time."""
    place = Place(s3_server)
    keys = [f"album/{folder}/{number:04}" for folder in "abc" for number in range(500)] + ["album/z", "album-2/a"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: place.put(key, b""), keys))
    source = _source(place, proxy)
    _, root = source.root()
    assert root.names() == [b"album", b"album-2"]
    album = root.enter(b"album")
    assert album.names() == [b"a", b"b", b"c", b"z"]
    assert [len(album.enter(name).names()) for name in (b"a", b"b", b"c")] == [500, 500, 500]
    assert len(proxy.seen("GET", "list-type=2")) <= 2 + 2 + len(root.names())
    source.close()
