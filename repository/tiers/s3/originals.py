"""A bucket as it was before somebody overwrote what is in it."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

from repository.errors import AccessDenied
from repository.tiers.port import OBJECT_LENGTH_MAX, Body
from repository.tiers.s3.connection import S3Connection
from repository.tiers.s3.options import S3Options
from repository.tiers.s3.pack_digests import PackDigests, may_be_own
from repository.tiers.s3.reading import S3Reading
from repository.tiers.s3.versions import Version

_HASH_NAME = re.compile(r"(?:.*/)?([0-9a-f]{64})")


class S3Originals(S3Reading):
    """The objects of a tier as they were first written, read-only; see `ObjectStore.originals`.

    What was found for a key is remembered, so that the ranges of one pack cost one search.
    """

    def __init__(
        self,
        options: S3Options,
        name: str = "s3",
        *,
        connection: S3Connection | None = None,
        digests: PackDigests | None = None,
    ) -> None:
        super().__init__(options, name, connection=connection, digests=digests)
        self._chosen: dict[str, Version] = {}

    def put(
        self,
        key: str,
        body: Body,  # noqa: ARG002  # as the port has it
        *,
        sha256: bytes | None = None,  # noqa: ARG002
        if_absent: bool = False,  # noqa: ARG002
        lock_until: datetime | None = None,  # noqa: ARG002
        durable: bool = True,  # noqa: ARG002
    ) -> None:
        """Refuse."""
        raise self._is_read_only(key)

    def delete(self, key: str) -> None:
        """Refuse."""
        raise self._is_read_only(key)

    def uncover(self, key: str) -> None:
        """Refuse."""
        raise self._is_read_only(key)

    def extend_lock(self, key: str, until: datetime, *, sha256: bytes | None = None) -> None:  # noqa: ARG002
        """Refuse."""
        raise self._is_read_only(key)

    def set_legal_hold(self, key: str, is_on: bool, *, sha256: bytes | None = None) -> None:  # noqa: ARG002
        """Refuse."""
        raise self._is_read_only(key)

    def sync(self) -> None:
        """Nothing is owed."""

    def settle(self, keys: Iterable[str]) -> None:
        """Nothing: what is there is durable."""

    def originals(self) -> None:
        """None: this is it."""

    def close(self) -> None:
        """Nothing: the connection is the tier's."""

    def set_aside(self, key: str, aside: str) -> None:  # noqa: ARG002
        """Refuse."""
        raise self._is_read_only(key)

    def _read(self, key: str, start: int | None, length: int | None, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        original = self._original(self._full(key))
        if original is None:
            raise self._missing(key)
        return self._read_version(key, original, start, length, length_max)

    def _head(self, full_key: str) -> Any:
        original = self._original(full_key)
        return None if original is None else self._versions.head(full_key, original.version_id)

    def _newest_of(self, full_prefix: str, full_after: str) -> Iterator[tuple[str, int]]:
        """Key and size of the original of each object; only where there are several is each looked at."""
        versions = (v for page in self._versions.pages(full_prefix, after=full_after) for v in page if not v.is_marker)
        for full_key, group in groupby(versions, key=lambda version: version.full_key):
            found = list(group)
            original = found[0] if len(found) == 1 else self._original(full_key)
            if original is not None:
                yield full_key, original.size

    def _original(self, full_key: str) -> Version | None:
        if full_key not in self._chosen:
            original = self._first_of(full_key)
            if original is None:
                return None
            self._chosen[full_key] = original
        return self._chosen[full_key]

    def _first_of(self, full_key: str) -> Version | None:
        """The version that was written first; of an object named by its digest, the one that has it."""
        versions = [version for version in reversed(self._versions.of(full_key)) if not version.is_marker]
        key = full_key.removeprefix(self._options.prefix)
        named = _HASH_NAME.fullmatch(key)
        if named is not None and len(versions) > 1:
            for version in versions:
                if self._is_version_own(key, version, bytes.fromhex(named[1])):
                    return version
        return versions[0] if versions else None

    def _is_version_own(self, key: str, version: Version, named: bytes) -> bool:
        stated = self.digests.states(key, self._versions.head(self._full(key), version.version_id), named)
        if stated is None and may_be_own(key, version.size):
            return self._is_version(key, version, named)
        return bool(stated)

    def _is_read_only(self, key: str) -> AccessDenied:
        return AccessDenied("this view of the tier is read-only", tier=self.name, key=key)
