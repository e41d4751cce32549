"""The versions that a versioned bucket keeps of its objects.

Whoever may write to a bucket can put a delete marker or other bytes on top of an object. Under object
lock that hides what is there and destroys nothing: the versions beneath stay until their locks have run
out. So a tier reads the newest version that is no delete marker, and `originals` finds what was written.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from repository.errors import AccessDenied, LocationInvalid, TierUnreachable
from repository.tiers.s3.connection import S3Connection

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one object, or a delete marker. `hides_since`: of a marker that nothing lies above."""

    full_key: str
    version_id: str
    size: int
    is_marker: bool
    hides_since: datetime | None = None


def expect_listing(answer: Mapping[str, Any], tier: str) -> None:
    """Raise `TierUnreachable` where a server calls something a listing that is none: it says nothing of the objects.

    Each listing says whether there is more; an answer without any content would be one of no objects.
    """
    if "IsTruncated" not in answer:
        raise TierUnreachable("the server answered a listing without a listing", tier=tier)


def next_page(
    answer: Mapping[str, Any], request: Mapping[str, Any], names: Mapping[str, str], tier: str
) -> dict[str, Any]:
    """What to ask for the page behind this one: `names`, by the request's field, the answer's.

    Raises `TierUnreachable` where the server names no other place than the one that it was asked for: it would be
    asked for ever.
    """
    place = {field: answer.get(name) or "" for field, name in names.items()}
    if not any(place.values()) or all(request.get(field, "") == value for field, value in place.items()):
        raise TierUnreachable("the server's listing goes on, and does not say from where", tier=tier)
    return place


class Versions:
    """Lists versions, where the bucket has them and the credentials may see them."""

    def __init__(self, connection: S3Connection) -> None:
        self._connection = connection
        self._is_kept: bool | None = None

    @property
    def are_kept(self) -> bool:
        """Whether the bucket keeps versions; asked once. False where that must not be known."""
        if self._is_kept is None:
            bucket = self._connection.options.bucket
            try:
                answer = self._connection.call(lambda client: client.get_bucket_versioning(Bucket=bucket))
                self._is_kept = answer.get("Status") in {"Enabled", "Suspended"}
            except (AccessDenied, LocationInvalid):
                self._is_kept = False
        return self._is_kept

    def pages(self, prefix: str, *, after: str = "") -> Iterator[list[Version]]:
        """All versions and markers of a prefix, by key and then newest first, a page at a time."""
        request: dict[str, Any] = {"Bucket": self._connection.options.bucket, "Prefix": prefix}
        if after:
            request["KeyMarker"] = after

        def page(client: "S3Client") -> Any:
            return client.list_object_versions(**request)

        while True:
            answer = self._connection.call(page)
            expect_listing(answer, self._connection.options.bucket)
            # The client sorts versions and markers apart; only the markers' place among the versions is lost.
            yield [
                Version(
                    entry["Key"],
                    entry["VersionId"],
                    int(entry.get("Size", 0)),
                    is_marker,
                    entry.get("LastModified") if is_marker and entry.get("IsLatest") else None,
                )
                for field, is_marker in (("Versions", False), ("DeleteMarkers", True))
                for entry in answer.get(field, [])
            ]
            if not answer.get("IsTruncated"):
                return
            names = {"KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"}
            request.update(next_page(answer, request, names, self._connection.options.bucket))

    def of(self, full_key: str) -> list[Version]:
        """All versions of one object, newest first, then its markers."""
        found: list[Version] = []
        for page in self.pages(full_key):
            found += [version for version in page if version.full_key == full_key]
            if any(version.full_key > full_key for version in page):
                break
        return sorted(found, key=lambda version: version.is_marker)

    def newest(self, full_key: str) -> Version | None:
        """The newest version that is no marker."""
        return next((version for version in self.of(full_key) if not version.is_marker), None)

    def head(self, full_key: str, version_id: str | None = None) -> Any:
        """The answer to HEAD of a version, or of the object; raises `ObjectMissing`."""
        request: dict[str, Any] = {
            "Bucket": self._connection.options.bucket,
            "Key": full_key,
            "ChecksumMode": "ENABLED",
        }
        if version_id is not None:
            request["VersionId"] = version_id
        return self._connection.call(lambda client: client.head_object(**request))


def checksum_of(answer: Any) -> bytes | None:
    """The SHA-256 of the whole object in an answer, or None where the server does not know it."""
    stated = answer.get("ChecksumSHA256", "")
    # "<digest>-3" is the digest of the parts' digests of a multipart upload: not the object's own.
    return base64.b64decode(stated) if stated and "-" not in stated else None


def lock_of(answer: Any) -> datetime | None:
    """Until when the version of an answer is locked."""
    until: datetime | None = answer.get("ObjectLockRetainUntilDate")
    return until
