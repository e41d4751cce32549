"""A tier in a bucket of an S3 server.

Each object is one PUT with the SHA-256 that the server checks, on condition that it is absent where that
is asked for. In a bucket that keeps versions, `get`, `head` and `list` look through delete markers to the
newest version beneath, and `delete` removes every version, markers included: only this tier's own
deletion hides anything from it.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from repository.errors import (
    AccessDenied,
    AlreadyExists,
    ChecksumMismatch,
    Damaged,
    Locked,
    RepositoryError,
    TierUnreachable,
)
from repository.format import pack_id_in
from repository.tiers.port import (
    Body,
    ObjectStore,
    buffers_of,
    checked_key,
)
from repository.tiers.s3.locks import whole_second
from repository.tiers.s3.originals import S3Originals
from repository.tiers.s3.pack_digests import is_own, may_be_own
from repository.tiers.s3.reading import S3Reading
from repository.tiers.s3.versions import Version, checksum_of

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


_RACES = 3
_COPY_LENGTH_MAX = 5 << 30
"""Bytes that S3 copies in one request, at most."""


class S3ObjectStore(S3Reading):
    """Objects in a bucket, below a prefix. Connects at the first call."""

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
        if pack_id_in(key) is not None and not is_own(key, buffers[0] if len(buffers) == 1 else b"".join(buffers)):
            # What is proven beside it is proven for ever: not of bytes that have changed in memory since it was sealed.
            raise ChecksumMismatch("the bytes are not those of the pack's name", tier=self.name, key=key)
        digest = sha256 or _digest(buffers)
        request: dict[str, Any] = {
            "Bucket": self._options.bucket,
            "Key": full_key,
            "ChecksumSHA256": base64.b64encode(digest).decode(),
            "ContentType": "application/octet-stream",
        }
        if metadata := self.digests.metadata(key, digest):
            request["Metadata"] = metadata
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

    def delete(self, key: str) -> None:
        """Remove the object, with every version of it; see the port."""
        full_key = self._full(key)
        versions: list[Version | None] = [*self._versions.of(full_key)] if self.keeps_versions() else [None]
        refused: RepositoryError | None = None
        for version in versions:
            try:
                self._delete_version(key, full_key, version)
            except AccessDenied as error:
                try:
                    self.locks.refuse_if_locked(key, full_key, version)
                    refused = refused or error
                except Locked as locked:
                    refused = locked  # another version may go all the same
        if refused is not None:
            raise refused

    def uncover(self, key: str) -> None:
        """Delete the delete markers, which no lock keeps; see the port."""
        full_key = self._full(key)
        for version in self._versions.of(full_key) if self.keeps_versions() else ():
            if version.is_marker:
                self._delete_version(key, full_key, version)

    def extend_lock(self, key: str, until: datetime, *, sha256: bytes | None = None) -> None:
        """Lock the object for longer; see the port."""
        self._on_own(key, sha256, lambda full_key, found: self.locks.extend(key, full_key, found, until))

    def set_legal_hold(self, key: str, is_on: bool, *, sha256: bytes | None = None) -> None:
        """Hold the object, or do so no more; see the port."""
        self._on_own(
            key, sha256, lambda full_key, found: self.locks.set_hold(key, full_key, found, is_on), any_own=not is_on
        )

    def _on_own(
        self, key: str, sha256: bytes | None, act: Callable[[str, Any], None], *, any_own: bool = False
    ) -> None:
        """Act on the version of these bytes, or on the one that is read: on its full key and the answer to HEAD.

        `any_own`: without a digest on the one that is read also of a pack.
        """
        full_key = self._full(key)
        if self.locks.are_there() is False:
            return
        found = self._head(full_key)
        if found is None:
            raise self._missing(key)
        if (sha256 is None and (any_own or pack_id_in(key) is None)) or self._is_own(key, found, sha256):
            act(full_key, found)
            return
        # Somebody put other bytes on top. They gain no lock by it, and those beneath lose none.
        own = self._version_of(key, sha256)
        if own is not None:
            act(full_key, own)
        raise Damaged("other bytes lie over the object's own", tier=self.name, key=key, is_beneath=own is not None)

    def _is_own(self, key: str, found: Any, sha256: bytes | None) -> bool:
        """Whether what is read has the object's own bytes. A server may state nothing: then it is read, if need be."""
        stated = self.digests.states(key, found, sha256)
        if stated is not None:
            return stated
        # Whatever it is, nothing else can be locked in its place; and all packs would have to be read at each backup.
        if (
            checksum_of(found) is None
            and self.keeps_versions()
            and sum(not each.is_marker for each in self._versions.of(self._full(key))) == 1
        ):
            return True
        length = int(found["ContentLength"])
        if not may_be_own(key, length):
            return False
        if version_id := found.get("VersionId"):
            return self._is_version(key, Version(self._full(key), version_id, length, False), sha256)
        return is_own(key, self.get(key), sha256)

    def _version_of(self, key: str, sha256: bytes | None) -> Any:
        """The answer to HEAD of the newest version that has the object's own bytes, or None."""
        full_key = self._full(key)
        for version in self._versions.of(full_key) if self.keeps_versions() else ():
            if version.is_marker:
                continue
            found = self._versions.head(full_key, version.version_id)
            stated = self.digests.states(key, found, sha256)
            if stated is None and may_be_own(key, version.size):
                stated = self._is_version(key, version, sha256)
            if stated:
                return found
        return None

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
        if not self.keeps_versions():
            return None
        return S3Originals(self._options, connection=self._connection, digests=self.digests)

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


def _digest(buffers: Sequence[memoryview]) -> bytes:
    digest = hashlib.sha256()
    for buffer in buffers:
        digest.update(buffer)
    return digest.digest()
