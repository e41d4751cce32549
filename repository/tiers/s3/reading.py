"""The reading half of a tier in a bucket.

In a bucket that keeps versions, `get`, `head` and `list` look through delete markers to the newest version beneath.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from repository.errors import ObjectMissing
from repository.format import pack_id_in
from repository.tiers.port import (
    OBJECT_LENGTH_MAX,
    Capabilities,
    Hidden,
    ObjectInfo,
    PackProof,
    checked_key,
    checked_prefix,
    is_key,
)
from repository.tiers.s3.connection import S3Connection
from repository.tiers.s3.locks import Locks
from repository.tiers.s3.options import S3Options
from repository.tiers.s3.pack_digests import PackDigests, is_own
from repository.tiers.s3.versions import Version, Versions, checksum_of, expect_listing, lock_of, next_page

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from repository.tiers.s3.bodies import Download


class S3Reading:
    """What may be read of a bucket, below a prefix. Connects at the first call."""

    def __init__(
        self,
        options: S3Options,
        name: str = "s3",
        *,
        connection: S3Connection | None = None,
        digests: PackDigests | None = None,
    ) -> None:
        self._options = options
        self._connection = connection or S3Connection(name, options)
        self._versions = Versions(self._connection)
        self.digests = digests or PackDigests()
        self.locks = Locks(self._connection, self._versions)

    @property
    def name(self) -> str:
        """What people call the tier."""
        return self._connection.name

    @property
    def capabilities(self) -> Capabilities:
        """What the bucket can do. Versions that these credentials must not know of count as absent."""
        return S3Capabilities(self)

    def keeps_versions(self) -> bool:
        """Whether the bucket keeps versions; asked once. False where these credentials must not know."""
        return self._versions.are_kept

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        """The whole object; see the port."""
        return self._read(key, None, None, length_max)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """A part of the object; see the port. A negative offset fetches all from there to the end."""
        if length == 0:
            if self.head(key) is None:
                raise self._missing(key)
            return b""
        return self._read(key, offset, length)

    def read_into(self, key: str, offset: int, room: memoryview) -> None:
        """A part of the object; see the port."""
        room[:] = self.get_range(key, offset, len(room))

    def while_reading(self, work: Callable[[], None]) -> None:
        """See the port."""
        work()

    def head(self, key: str) -> ObjectInfo | None:
        """What the server knows of the object; see the port."""
        found = self._head(self._full(key))
        if found is None:
            return None
        own = self.digests.states(key, found)
        is_unproven = own is None and self.digests.prove is not None and checksum_of(found) is not None
        is_unproven = is_unproven and pack_id_in(key) is not None
        return ObjectInfo(key, int(found["ContentLength"]), own, lock_of(found), is_unproven)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """The objects of a prefix; see the port. What is stated of packs and locks is not in a listing."""
        full_prefix = self._options.prefix + checked_prefix(prefix)
        full_after = self._options.prefix + after if after else ""
        # Pages that end before `after` would be fetched in vain; and one below the prefix confuses servers.
        if full_after < full_prefix:
            full_after = ""
        listed = (
            self._newest_of(full_prefix, full_after)
            if self.keeps_versions()
            else self._present(full_prefix, full_after)
        )
        for full_key, size in listed:
            key = full_key.removeprefix(self._options.prefix)
            if is_key(key):
                yield ObjectInfo(key, size)

    def names_below(self, folder: str = "") -> Iterator[str]:
        """What lies right below a folder, by name, be it an object of a tier or not. Raises as `list`.

        A folder is listed once, with a slash at its end, however much lies in it. `folder`: as it is listed here.
        """
        prefix = self._options.prefix + folder
        request: dict[str, Any] = {"Bucket": self._options.bucket, "Prefix": prefix, "Delimiter": "/"}
        for page in self._pages(request):
            for each in page.get("CommonPrefixes", []):
                yield each["Prefix"].removeprefix(prefix)
            # What has the folder's own name marks it, as consoles do, and lies in it not.
            yield from (each["Key"].removeprefix(prefix) for each in page.get("Contents", []) if each["Key"] != prefix)

    def holds(self, folder: str) -> bool:
        """Whether there is any object below a folder, of a tier or not: also what marks it. Raises as `list`."""
        return next(self._present(self._options.prefix + folder, ""), None) is not None

    def legal_hold(self, key: str) -> bool | None:
        """Whether a hold is on what is read; see the port."""
        if self.locks.are_there() is False:
            return None
        found = self._head(self._full(key))
        return False if found is None else self.locks.is_held(key, self._full(key), found.get("VersionId"))

    def now(self) -> datetime:
        """The server's time, to the second."""
        return self._connection.now()

    def local_path(self, key: str) -> str | None:
        """None: the objects are elsewhere."""
        checked_key(key)
        return None

    def blocked_by(self, key: str) -> str | None:
        """Nothing: here is nothing but objects."""
        checked_key(key)
        return None

    def no_objects(self, folder: str) -> Iterator[str]:
        """None: here is nothing but objects."""
        checked_key(folder)
        return iter(())

    def sweep(self, folder: str) -> Sequence[str]:
        """None: a put is whole, or nothing of it is there."""
        checked_key(folder)
        return ()

    def prove_packs(self, prove: PackProof) -> None:
        """Believe what the server states of packs with this proof; see the port."""
        self.digests.prove = prove

    def versions(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> Iterator[bytes]:
        """The versions that the bucket keeps, delete markers left out; see the port."""
        if self.keeps_versions():
            for version in reversed(self._versions.of(self._full(key))):
                if not version.is_marker and version.size <= length_max:
                    yield self._read_version(key, version, None, None, length_max)

    def hidden(self) -> Iterator[Hidden]:
        """The objects whose newest version is a delete marker; see the port."""
        prefix = self._options.prefix
        for page in self._versions.pages(prefix) if self.keeps_versions() else ():
            for version in page:
                key = version.full_key.removeprefix(prefix)
                if version.hides_since is not None and is_key(key) and self.head(key) is not None:
                    yield Hidden(key, version.hides_since)

    # How it is read

    def _read(self, key: str, start: int | None, length: int | None, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        full_key = self._full(key)
        download = self._download(key, start, length, length_max)

        def attempt(client: "S3Client") -> bytes:
            return download.attempt(client, self._connection.throttle.download)

        try:
            return self._connection.call(attempt, key)
        except ObjectMissing:
            hidden = self._versions.newest(full_key) if self.keeps_versions() else None
            if hidden is None:
                raise
            download.of_version(hidden.version_id)
            return self._connection.call(attempt, key)

    def _download(self, key: str, start: int | None, length: int | None, length_max: int) -> "Download":
        from repository.tiers.s3.bodies import Download

        return Download(
            bucket=self._options.bucket,
            key=key,
            full_key=self._full(key),
            start=start,
            length=length,
            length_max=length_max,
            tier=self.name,
        )

    def _read_version(
        self, key: str, version: Version, start: int | None, length: int | None, length_max: int
    ) -> bytes:
        download = self._download(key, start, length, length_max)
        download.of_version(version.version_id)
        return self._connection.call(lambda client: download.attempt(client, self._connection.throttle.download), key)

    def _is_version(self, key: str, version: Version, sha256: bytes | None) -> bool:
        """Whether a version has the object's own bytes, by reading it: once."""

        def look() -> bool:
            return is_own(key, self._read_version(key, version, None, None, version.size), sha256)

        return self.digests.judged(key, version.version_id, sha256, look)

    def _head(self, full_key: str) -> Any:
        """The answer to HEAD of the newest version that is no marker, or None."""
        try:
            return self._versions.head(full_key)
        except ObjectMissing:
            hidden = self._versions.newest(full_key) if self.keeps_versions() else None
            return None if hidden is None else self._versions.head(full_key, hidden.version_id)

    def _present(self, full_prefix: str, full_after: str) -> Iterator[tuple[str, int]]:
        """Key and size of what the server lists."""
        request: dict[str, Any] = {"Bucket": self._options.bucket, "Prefix": full_prefix}
        if full_after:
            request["StartAfter"] = full_after
        for page in self._pages(request):
            for entry in page.get("Contents", []):
                yield entry["Key"], int(entry["Size"])

    def _pages(self, request: dict[str, Any]) -> Iterator[Any]:
        while True:
            page = self._connection.call(lambda client: client.list_objects_v2(**request))
            expect_listing(page, self.name)
            yield page
            if not page.get("IsTruncated"):
                return
            request.update(next_page(page, request, {"ContinuationToken": "NextContinuationToken"}, self.name))

    def _newest_of(self, full_prefix: str, full_after: str) -> Iterator[tuple[str, int]]:
        """Key and size of the newest version of each object, delete markers left out."""
        last = ""
        for page in self._versions.pages(full_prefix, after=full_after):
            for version in page:
                if not version.is_marker and version.full_key != last:
                    last = version.full_key
                    yield version.full_key, version.size

    def _full(self, key: str) -> str:
        return self._options.prefix + checked_key(key)

    def _missing(self, key: str) -> ObjectMissing:
        return ObjectMissing("no object of this key", tier=self.name, key=key)


class S3Capabilities:
    """What a bucket can do; asked for when somebody wants to know."""

    local = False

    def __init__(self, store: S3Reading) -> None:
        self._store = store

    @property
    def locks(self) -> bool | None:
        """Whether the bucket has object lock; None where these credentials must not know."""
        return self._store.locks.are_there()

    @property
    def versions(self) -> bool:
        """Whether the bucket keeps versions."""
        return self._store.keeps_versions()
