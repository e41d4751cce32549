"""A tier in a bucket of an S3 server.

Each object is one PUT with the SHA-256 that the server checks, on condition that it is absent where that
is asked for. In a bucket that keeps versions, `get`, `head` and `list` look through delete markers to the
newest version beneath, and `delete` removes every version, markers included: only this tier's own
deletion hides anything from it.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from repository.errors import (
    AccessDenied,
    AlreadyExists,
    Damaged,
    ObjectMissing,
    TierUnreachable,
)
from repository.tiers.port import (
    OBJECT_LENGTH_MAX,
    Body,
    Capabilities,
    ObjectInfo,
    ObjectStore,
    buffers_of,
    checked_key,
    checked_prefix,
    is_key,
)
from repository.tiers.s3.connection import S3Connection
from repository.tiers.s3.locks import Locks, whole_second
from repository.tiers.s3.options import S3Options
from repository.tiers.s3.versions import Version, Versions, checksum_of, lock_of

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from repository.tiers.s3.bodies import Download

_RACES = 3
_COPY_LENGTH_MAX = 5 << 30
"""Bytes that S3 copies in one request, at most."""


class S3ObjectStore:
    """Objects in a bucket, below a prefix. Connects at the first call."""

    def __init__(self, options: S3Options, name: str = "s3", *, connection: S3Connection | None = None) -> None:
        self._options = options
        self._connection = connection or S3Connection(name, options)
        self._versions = Versions(self._connection)
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

    def put(
        self,
        key: str,
        body: Body,
        *,
        sha256: bytes | None = None,
        if_absent: bool = False,
        lock_until: datetime | None = None,
        durable: bool = True,  # noqa: ARG002  # an acknowledged PUT is durable
    ) -> None:
        """Store the object; see the port."""
        full_key = self._full(key)
        buffers = buffers_of(body)
        digest = sha256 or _digest(buffers)
        request: dict[str, Any] = {
            "Bucket": self._options.bucket,
            "Key": full_key,
            "ChecksumSHA256": base64.b64encode(digest).decode(),
            "ContentType": "application/octet-stream",
        }
        if if_absent:
            request["IfNoneMatch"] = "*"
        if self._options.storage_class:
            request["StorageClass"] = self._options.storage_class
        if lock_until is not None and self.locks.are_there() is not False:
            request["ObjectLockMode"] = self._options.lock_mode
            request["ObjectLockRetainUntilDate"] = whole_second(lock_until)

        for _ in range(_RACES):
            if self._is_sent(key, request, buffers):
                return
            found = self._head(full_key)
            if found is None:
                continue  # it was deleted between the refusal and the look
            if not self._has_digest(key, found, digest, sum(buffer.nbytes for buffer in buffers)):
                raise AlreadyExists("there is another object of this key", tier=self.name, key=key)
            # An earlier attempt of ours was done and its acknowledgement lost, or a twin was faster.
            if lock_until is not None:
                self.extend_lock(key, lock_until, sha256=digest)
            return
        raise TierUnreachable("the object comes and goes", tier=self.name, key=key)

    def sync(self) -> None:
        """Nothing is owed: an acknowledged PUT is durable."""

    def settle(self, keys: Iterable[str]) -> None:
        """Nothing: what is there is durable."""
        for key in keys:
            checked_key(key)

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

    def head(self, key: str) -> ObjectInfo | None:
        """What the server knows of the object; see the port."""
        found = self._head(self._full(key))
        if found is None:
            return None
        return ObjectInfo(key, int(found["ContentLength"]), checksum_of(found), lock_of(found))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """The objects of a prefix; see the port. SHA-256 and locks are not in a listing."""
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

    def delete(self, key: str) -> None:
        """Remove the object, with every version of it; see the port."""
        full_key = self._full(key)
        versions: list[Version | None] = [*self._versions.of(full_key)] if self.keeps_versions() else [None]
        for version in versions:
            try:
                self._delete_version(key, full_key, version)
            except AccessDenied:
                self.locks.refuse_if_locked(key, full_key, version)
                raise

    def extend_lock(self, key: str, until: datetime, *, sha256: bytes | None = None) -> None:
        """Lock the object for longer; see the port."""
        full_key = self._full(key)
        if self.locks.are_there() is False:
            return
        found = self._head(full_key)
        if found is None:
            raise self._missing(key)
        if sha256 is None or self._is_own(key, found, sha256):
            self.locks.extend(key, full_key, found, until)
            return
        # Somebody put other bytes on top. They gain no lock by it, and those beneath lose none.
        own = self._version_of(key, sha256)
        if own is not None:
            self.locks.extend(key, full_key, own, until)
        raise Damaged("other bytes lie over the object's own", tier=self.name, key=key, is_beneath=own is not None)

    def _is_own(self, key: str, found: Any, digest: bytes) -> bool:
        """Whether what is read has the bytes of the digest. A server may state none: then it is read, if need be."""
        stated = checksum_of(found)
        if stated is not None:
            return stated == digest
        # Whatever it is, nothing else can be locked in its place; and all packs would have to be read at each backup.
        if self.keeps_versions() and sum(not each.is_marker for each in self._versions.of(self._full(key))) == 1:
            return True
        return hashlib.sha256(self.get(key)).digest() == digest

    def _version_of(self, key: str, digest: bytes) -> Any:
        """The answer to HEAD of the newest version that has the bytes of the digest, or None."""
        full_key = self._full(key)
        for version in self._versions.of(full_key) if self.keeps_versions() else ():
            if version.is_marker:
                continue
            found = self._versions.head(full_key, version.version_id)
            stated = checksum_of(found)
            if stated is None:
                stated = hashlib.sha256(self._read_version(key, version, None, None, version.size)).digest()
            if stated == digest:
                return found
        return None

    def now(self) -> datetime:
        """The server's time, to the second."""
        return self._connection.now()

    def local_path(self, key: str) -> str | None:
        """None: the objects are elsewhere."""
        checked_key(key)
        return None

    def versions(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> Iterator[bytes]:
        """The versions that the bucket keeps, delete markers left out; see the port."""
        if self.keeps_versions():
            for version in reversed(self._versions.of(self._full(key))):
                if not version.is_marker and version.size <= length_max:
                    yield self._read_version(key, version, None, None, length_max)

    def set_aside(self, key: str, aside: str) -> None:
        """A copy that the server makes; see the port.

        One that is too long for that stays as an older version, where the bucket keeps them.
        """
        found = self.head(key)
        if found is None:
            raise self._missing(key)
        if found.size > _COPY_LENGTH_MAX and self.keeps_versions():
            return
        source: Any = {"Bucket": self._options.bucket, "Key": self._full(key)}
        self._connection.call(
            lambda client: client.copy_object(Bucket=self._options.bucket, Key=self._full(aside), CopySource=source),
            key,
        )

    def originals(self) -> ObjectStore | None:
        """A view of the objects as they were first written, where the bucket keeps versions."""
        from repository.tiers.s3.originals import S3Originals

        return S3Originals(self._options, connection=self._connection) if self.keeps_versions() else None

    def close(self) -> None:
        """Give back the connections."""
        self._connection.close()

    # Writing

    def _is_sent(self, key: str, request: dict[str, Any], buffers: Sequence[memoryview]) -> bool:
        """Send one PUT; False when its condition does not hold."""
        from repository.tiers.s3.bodies import UploadBody
        from repository.tiers.s3.errors import PreconditionFailed

        def attempt(client: "S3Client") -> None:
            body: Any = UploadBody(buffers, self._connection.throttle.upload) if buffers else b""
            client.put_object(**request, Body=body)

        try:
            self._connection.call(attempt, key)
        except PreconditionFailed:
            return False
        return True

    def _delete_version(self, key: str, full_key: str, version: Version | None) -> None:
        request: dict[str, Any] = {"Bucket": self._options.bucket, "Key": full_key}
        if version is not None:
            request["VersionId"] = version.version_id
        self._connection.call(lambda client: client.delete_object(**request), key)

    def _has_digest(self, key: str, found: Any, digest: bytes, length: int) -> bool:
        """Whether the object that was found has the bytes of the digest."""
        stated = checksum_of(found)
        if stated is not None or int(found["ContentLength"]) != length:
            return stated == digest
        return hashlib.sha256(self.get(key, length_max=length)).digest() == digest

    # Reading

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
        while True:
            page = self._connection.call(lambda client: client.list_objects_v2(**request))
            for entry in page.get("Contents", []):
                yield entry["Key"], int(entry["Size"])
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

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

    def __init__(self, store: S3ObjectStore) -> None:
        self._store = store

    @property
    def locks(self) -> bool | None:
        """Whether the bucket has object lock; None where these credentials must not know."""
        return self._store.locks.are_there()

    @property
    def versions(self) -> bool:
        """Whether the bucket keeps versions."""
        return self._store.keeps_versions()


def _digest(buffers: Sequence[memoryview]) -> bytes:
    digest = hashlib.sha256()
    for buffer in buffers:
        digest.update(buffer)
    return digest.digest()
