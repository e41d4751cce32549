"""Lists a bucket, or what is below a prefix of it, several requests at a time.

Promise: either all of it was listed, or an error is raised: nothing is taken for the whole that is not. One request a
thousand keys, and at most `PREFIXES_MAX` more. Keys are wanted in no order: not every server gives them in one.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final

from repository.backup.source import SourceUnreachable
from sources.s3.objects import Listed, ObjectTable

if TYPE_CHECKING:
    from sources.s3.bucket import Bucket

PREFIXES_MAX: Final = 64
"""Prefixes below which is listed at the same time; where there are more, all is listed in one row."""
DEPTH_MAX: Final = 8
_WORKERS: Final = 8


def list_objects(bucket: "Bucket", table: ObjectTable, check: Callable[[], None] = lambda: None) -> None:
    """Put all objects below the bucket's prefix into the table. Raises `SourceUnreachable`."""
    prefix = bucket.prefix
    first = _asked(bucket, Prefix=prefix)
    if not first.get("IsTruncated"):
        table.add(_objects_of(first, bucket))
        return
    prefixes = _parts(bucket, table)
    if prefixes is None:
        table.add(_objects_of(first, bucket))
        for page in _pages(bucket, first, Prefix=prefix):
            check()
            table.add(_objects_of(page, bucket))
        return

    def below(prefix: str) -> None:
        for page in _pages(bucket, None, Prefix=prefix):
            check()
            table.add(_objects_of(page, bucket))

    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="list") as pool:
        futures = [pool.submit(below, each) for each in prefixes]
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            future.cancel()
        for future in futures:
            if not future.cancelled():
                future.result()


def has_objects(bucket: "Bucket") -> bool:
    """Whether there is any object below the bucket's prefix. Raises `SourceUnreachable`."""
    return bool(_asked(bucket, 1, Prefix=bucket.prefix).get("Contents"))


def _parts(bucket: "Bucket", table: ObjectTable) -> list[str] | None:
    """Prefixes that have all there is but what was put into the table; None where there are too many of them."""
    prefix = bucket.prefix
    prefixes: list[str] = []
    for _ in range(DEPTH_MAX):
        prefixes = []
        for page in _pages(bucket, None, Prefix=prefix, Delimiter="/"):
            table.add(_objects_of(page, bucket))
            prefixes += [each["Prefix"] for each in page.get("CommonPrefixes", [])]
            if len(prefixes) > PREFIXES_MAX or page.get("IsTruncated"):
                return None
        if len(prefixes) != 1:
            return prefixes
        prefix = prefixes[0]
    return prefixes


def _pages(bucket: "Bucket", before: Any, **request: Any) -> Iterator[Any]:
    """The pages of a listing, from the one behind `before` on."""
    token = before["NextContinuationToken"] if before else None
    while True:
        page = _asked(bucket, **request, **({"ContinuationToken": token} if token else {}))
        yield page
        if not page.get("IsTruncated"):
            return
        following = page.get("NextContinuationToken")
        if not following or following == token:
            raise SourceUnreachable("the server's listing does not go on", **bucket.about)
        token = following


def _asked(bucket: "Bucket", count: int = 1000, **request: Any) -> Any:
    page = bucket.call(lambda client: client.list_objects_v2(Bucket=bucket.name, MaxKeys=count, **request))
    if "IsTruncated" not in page:  # an answer without any content would be one of no objects
        raise SourceUnreachable("the server answers a listing without a listing", **bucket.about)
    return page


def _objects_of(page: Any, bucket: "Bucket") -> Iterator[tuple[bytes, Listed]]:
    for each in page.get("Contents", []):
        key = each["Key"].removeprefix(bucket.prefix).encode()
        yield key, Listed(int(each["Size"]), int(each["LastModified"].timestamp()), etag_of(each))


def etag_of(answer: Any) -> bytes:
    """The ETag, without its quotes."""
    return str(answer.get("ETag", "")).strip('"').encode()
