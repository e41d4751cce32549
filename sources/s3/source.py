"""A bucket as a source, behind the port of the repository.

Promise: an object is one version of itself, whole: a connection that breaks off is followed by a request for the rest
of the same version, and where it was overwritten meanwhile it is read anew. Unchanged is what has the same size, time
and ETag in the listing; nothing of it is read. Kept are the bytes, the time (in seconds), content type and the like,
user metadata and tags. Who owns an object, its ACL and its class are the bucket's affair, and are not.
"""

import os
import stat as stat_bits
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlencode

from repository.backup.source import (
    FileProblem,
    GrownLarge,
    Listing,
    Overwritten,
    ProblemSink,
    ReadAhead,
    Reason,
    SmallFile,
    SourceUnreachable,
)
from repository.format import ContentClass
from repository.stored.chunker import SMALL_FILE_MAX
from repository.stored.tree import Extra, Row
from repository.tiers.s3.options import S3Options
from sources.s3.bucket import Bucket
from sources.s3.keys import key_of
from sources.s3.listing import etag_of, has_objects, list_objects
from sources.s3.objects import ObjectTable

AT_ONCE: Final = 16
"""Small objects that are fetched at the same time."""
BREAKS_MAX: Final = 10
"""How often in a row an object's bytes may break off before the first of them."""
KIND: Final = {"source": "s3"}
"""What the root of a bucket's snapshot says of itself."""
KEPT_HEADERS: Final = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-website-redirect-location",
)
USER_METADATA: Final = "x-amz-meta-"
TAGGING: Final = "x-amz-tagging"
_SECOND_NS: Final = 1_000_000_000
_FOLDER: Final = stat_bits.S_IFDIR | 0o700
_FILE: Final = stat_bits.S_IFREG | 0o600


class BucketSource:
    """What is in a bucket below its prefix. Listed once, when `root` is called. Close it at the end."""

    def __init__(self, options: S3Options, *, check: Callable[[], None] = lambda: None) -> None:
        self.bucket = Bucket(options)
        self.objects = ObjectTable()
        self.owner = os.geteuid(), os.getegid()
        self.pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")
        self._check = check

    def require(self, patience_seconds: float | None = None) -> None:
        """See `Source.require`. One request, made again for so long at most.

        A prefix without any object is as a folder that is not there.
        """
        with self.bucket.patience(patience_seconds):
            if not has_objects(self.bucket):
                self._refuse_missing_prefix()

    def root(self) -> tuple[Row, "Folder"]:
        """See `Source.root`. Raises `SourceUnreachable`."""
        self.objects = ObjectTable()
        list_objects(self.bucket, self.objects, self._check)
        if not self.objects.names(b""):
            self._refuse_missing_prefix()
        return self.row(_FOLDER, 0, 0), Folder(self, b"")

    def _refuse_missing_prefix(self) -> None:
        """A bucket may be empty; a prefix of nothing is none, as a folder that is not there."""
        if self.bucket.prefix:
            raise SourceUnreachable(
                "no object's key begins with the prefix",
                hint="Look at the prefix: capitals count, and it ends at a slash.",
                reason="NoSuchKey",
                **self.bucket.about,
            )

    def row(self, mode: int, size: int, time: int) -> Row:
        """Of what there is in a bucket: it has no owner, and belongs to whoever reads it."""
        return mode, *self.owner, size, time * _SECOND_NS, 0, 0, 1, 0

    def close(self) -> None:
        """Give back the connections."""
        self.pool.shutdown(cancel_futures=True)
        self.bucket.close()


class Folder:
    """The keys that begin alike up to a slash. See `SourceDirectory`."""

    block_length = 0

    def __init__(self, source: BucketSource, path: bytes) -> None:
        self._source = source
        self._path = path
        self._coming: dict[bytes, Future[SmallFile]] = {}
        self.ahead: ReadAhead | None = self._ahead

    def names(self) -> list[bytes]:
        """See `SourceDirectory.names`."""
        return self._source.objects.names(self._path)

    def rows(self, names: Sequence[bytes], _on_problem: ProblemSink) -> Listing:
        """See `SourceDirectory.rows`. As they were listed."""
        source = self._source
        folder = source.row(_FOLDER, 0, 0)
        found = source.objects.rows(self._path, names)
        rows: list[Row | None] = [folder if each is None else source.row(_FILE, each.size, each.time) for each in found]
        return Listing(rows, [b"" if each is None else each.etag for each in found])

    def enter(self, name: bytes) -> "Folder":
        """See `SourceDirectory.enter`."""
        return Folder(self._source, self._below(name))

    def extra(self) -> Extra | None:
        """See `SourceDirectory.extra`. The root says what it is a snapshot of."""
        return None if self._path else Extra(attributes=dict(KIND))

    def describe(self, _name: bytes, _row: Row) -> Extra | None:
        """See `SourceDirectory.describe`. There is nothing but objects."""
        return None

    def _ahead(self, names: Sequence[bytes]) -> Callable[[], None]:
        """See `SourceDirectory.ahead`."""
        coming = [self._source.pool.submit(self._fetch, name) for name in names]
        self._coming.update(zip(names, coming, strict=True))

        def wait() -> None:
            for each in coming:
                each.exception()

        return wait

    def read_small(self, name: bytes, _row: Row) -> SmallFile:
        """See `SourceDirectory.read_small`."""
        coming = self._coming.pop(name, None)
        return self._fetch(name) if coming is None else coming.result()

    def _fetch(self, name: bytes) -> SmallFile:
        key = self._key(name)
        bucket = self._source.bucket

        def attempt(client: Any) -> tuple[Any, bytes]:
            answer = client.get_object(Bucket=bucket.name, Key=key)
            with answer["Body"] as body:
                if int(answer["ContentLength"]) > SMALL_FILE_MAX:
                    raise GrownLarge
                read = body.read()
            if len(read) != int(answer["ContentLength"]):
                raise EOFError
            return answer, read

        answer, body = bucket.call_for_object(attempt)
        bucket.took(len(body))
        return SmallFile(body, *_described(self._source, key, answer))

    def open(self, name: bytes, _row: Row) -> "ObjectFile":
        """See `SourceDirectory.open`."""
        return ObjectFile(self._source, self._key(name))

    def close(self) -> None:
        """See `SourceDirectory.close`."""

    def _below(self, name: bytes) -> bytes:
        return self._path + b"/" + name if self._path else name

    def _key(self, name: bytes) -> str:
        return self._source.bucket.prefix + key_of(self._below(name)).decode()


class ObjectFile:
    """One version of an object, read from its beginning to its end. See `SourceFile`."""

    head_class: ContentClass | None = None

    def __init__(self, source: BucketSource, key: str) -> None:
        self._source = source
        self._bucket = source.bucket
        self._key = key
        self._at = 0
        self._breaks = 0
        self._answer = self._asked({})
        self._body = self._answer["Body"]
        self._size = int(self._answer["ContentLength"])

    def read_into(self, view: memoryview) -> int:
        """See `SourceFile.read_into`."""
        from repository.tiers.s3.errors import FAILURES

        wanted = view[: min(len(view), self._size - self._at, 1 << 20)]
        while wanted:
            try:
                count = self._body.readinto(wanted)
            except FAILURES:
                count = 0
            if count:
                self._breaks = 0
                self._at += count
                self._bucket.took(count)
                return int(count)
            self._go_on()
        return 0

    def _go_on(self) -> None:
        """Ask for the rest of the same version."""
        self.close()
        self._breaks += 1
        if self._breaks > BREAKS_MAX:
            raise SourceUnreachable("an object's bytes break off again and again", **self._bucket.about)
        version = self._answer.get("VersionId")
        same = {"VersionId": version} if version and version != "null" else {"IfMatch": self._answer["ETag"]}
        answer = self._asked({"Range": f"bytes={self._at}-{self._size - 1}", **same})
        if etag_of(answer) != etag_of(self._answer) or int(answer["ContentLength"]) != self._size - self._at:
            answer["Body"].close()
            raise Overwritten
        self._body = answer["Body"]

    def _asked(self, conditions: Mapping[str, str]) -> Any:
        from repository.tiers.s3.errors import PreconditionFailed

        try:
            return self._bucket.call_for_object(
                lambda client: client.get_object(Bucket=self._bucket.name, Key=self._key, **conditions)
            )
        except PreconditionFailed:
            raise Overwritten from None

    def finish(self) -> tuple[Row, Extra | None]:
        """See `SourceFile.finish`."""
        self.close()
        return _described(self._source, self._key, self._answer)

    def close(self) -> None:
        """See `SourceFile.close`."""
        self._body.close()


def _described(source: BucketSource, key: str, answer: Any) -> tuple[Row, Extra]:
    """Row and extra of the version that was read."""
    headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    kept = {name: value for name, value in headers.items() if name in KEPT_HEADERS or name.startswith(USER_METADATA)}
    if int(headers.get("x-amz-tagging-count", 0)):
        kept[TAGGING] = _tags_of(source.bucket, key, answer)
    row = source.row(_FILE, int(answer["ContentLength"]), int(answer["LastModified"].timestamp()))
    return row, Extra(attributes=kept, identity=etag_of(answer))


def _tags_of(bucket: Bucket, key: str, answer: Any) -> str:
    version = answer.get("VersionId")
    of_version = {"VersionId": version} if version and version != "null" else {}
    try:
        found = bucket.call_for_object(
            lambda client: client.get_object_tagging(Bucket=bucket.name, Key=key, **of_version)
        )
    except FileProblem as problem:
        if problem.reason is not Reason.UNREADABLE:
            raise
        raise SourceUnreachable(
            "objects have tags, and these credentials may not read them",
            hint="Allow s3:GetObjectTagging (and s3:GetObjectVersionTagging, where the bucket keeps versions).",
            reason=problem.detail,
            **bucket.about,
        ) from problem
    return urlencode([(each["Key"], each["Value"]) for each in found["TagSet"]])
