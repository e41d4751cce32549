"""Restores a bucket's snapshot, or part of it, to a bucket: every key as it was, with what was kept beside its bytes.

Promise: every byte that is sent was authenticated and hashed to its id, and the server was told the SHA-256 of what it
was sent; an object is there whole or not at all. Nothing is replaced but where the caller said so.
Memory: `AT_ONCE` parts.
"""

import hashlib
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from email.utils import parsedate_to_datetime
from typing import Any, Final

from repository.backup.source import FileProblem, Reason, SourceUnreachable
from repository.errors import RepositoryError, RestoreCancelled, RestoreRefused, TargetFailed
from repository.opened.repository import Repository
from repository.progress import Ticker
from repository.restore.options import Conflict, RestoreOptions, RestoreResult, Trouble, trouble_of
from repository.restore.path_filter import PathFilter
from repository.restore.snapshot_walk import Step, root_entry
from repository.retention.pins import pinned
from repository.stored.snapshot import Snapshot
from repository.stored.tree import Entry, Flag
from repository.tiers.s3.options import S3Options
from sources.restoring import Restoring
from sources.s3.bucket import Bucket
from sources.s3.keys import key_of
from sources.s3.source import KIND, TAGGING, USER_METADATA

AT_ONCE: Final = 8
PART: Final = 16 << 20
"""Bytes of an object that are sent with one request; those of the largest objects grow with them."""
PARTS_MAX: Final = 9_000
_PARAMETERS: Final = {
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "content-language": "ContentLanguage",
    "content-type": "ContentType",
    "x-amz-website-redirect-location": "WebsiteRedirectLocation",
    TAGGING: "Tagging",
}


def restore_to_bucket(
    repository: Repository, snapshot: Snapshot, target: S3Options, *, options: RestoreOptions
) -> RestoreResult:
    """Restore `snapshot`, which is of a bucket, below the target's prefix.

    What concerns single objects is in the result's `troubles`. Raises `RestoreRefused` (nothing was written),
    `TargetFailed`, `RestoreCancelled`, and what keeps the snapshot from being read.
    """
    bucket = Bucket(target)
    try:
        with pinned(repository, "restore", [snapshot.id], only=options.tiers) as pinning:
            result = _Restore(repository, snapshot, bucket, options).run()
            result.unpinned = pinning.words()
        return result
    except FileProblem as problem:
        raise TargetFailed("the bucket takes no objects", reason=problem.detail, **bucket.about) from problem
    finally:
        bucket.close()


class _Restore(Restoring):
    """One restore."""

    def __init__(self, repository: Repository, snapshot: Snapshot, bucket: Bucket, options: RestoreOptions) -> None:
        super().__init__(repository, snapshot, options)
        self._bucket = bucket

    def run(self) -> RestoreResult:
        """All of it."""
        started = time.monotonic()
        root = root_entry(self._snapshot, self._reader.chunk)
        self._refuse(root)
        walk = self._walk(PathFilter(self._options.globs))
        ticker = Ticker(self._options.on_progress, self._progress)
        ticker.start()
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="put")
        under_way: set[Future[None]] = set()
        try:
            for step in walk.steps(root):
                self._check()
                if step.entry.is_file:
                    self._found_files += 1
                    self._found_bytes += step.entry.stat.size
                    under_way.add(pool.submit(self._put, step))
                if len(under_way) >= 4 * AT_ONCE:
                    under_way = self._settled(under_way, return_when=FIRST_COMPLETED)
            self._is_walked = True
            self._settled(under_way)
        finally:
            pool.shutdown(cancel_futures=True)
            ticker.stop()
        self._result.seconds = time.monotonic() - started
        return self._result

    def _settled(self, under_way: set[Future[None]], **how: Any) -> set[Future[None]]:
        done, left = wait(under_way, **how)
        for each in done:
            each.result()
        return left

    def _refuse(self, root: Entry) -> None:
        if root.extra.attributes.get("source") != KIND["source"]:
            raise RestoreRefused(
                "the snapshot is of no bucket",
                hint="Restore it to a folder: what a folder has beside its files, a bucket does not keep.",
                snapshot=self._snapshot.id[:12],
            )
        conflict = self._options.conflict
        if conflict is Conflict.RENAME:
            raise RestoreRefused(
                "in a bucket nothing is restored beside what is there",
                hint="Give another prefix, or `--on-conflict skip` or `overwrite`.",
            )
        found = self._bucket.call(
            lambda client: client.list_objects_v2(Bucket=self._bucket.name, Prefix=self._bucket.prefix, MaxKeys=1)
        )
        if found.get("Contents") and conflict is Conflict.REFUSE:
            raise RestoreRefused(
                "target is not empty",
                hint="Give another prefix, or `--on-conflict`: with `skip` an interrupted restore is gone on with.",
                **self._bucket.about,
            )

    def _put(self, step: Step) -> None:
        entry = step.entry
        if entry.extra.flags & Flag.UNREADABLE or entry.content is None:
            self._trouble(step.path, Trouble.NOT_SAVED, "")
            return
        upload = _Upload(self._bucket, step.path, entry, skips=self._options.conflict is Conflict.SKIP)
        try:
            self._check()
            is_put = upload.send(self._pieces_of(entry))
            if is_put and self._options.verify and not upload.is_as_sent():
                self._trouble(step.path, Trouble.DAMAGED, "read back other bytes than were written")
        except FileProblem as problem:
            self._trouble(step.path, Trouble.NOT_CREATED, problem.detail)
            return
        except RestoreCancelled:
            raise
        except SourceUnreachable as error:
            raise TargetFailed("the target's bucket fails", hint=error.hint, **self._bucket.about) from error
        except RepositoryError as error:
            self._trouble(step.path, trouble_of(error), str(error))
            return
        if not is_put:
            self._trouble(step.path, Trouble.SKIPPED, "")
            return
        for lost in upload.lost:
            self._trouble(step.path, Trouble.XATTR, lost)
        self._restored(entry)


class _Upload:
    """One object on its way. `lost`: what of it the bucket cannot be given."""

    def __init__(self, bucket: Bucket, path: bytes, entry: Entry, *, skips: bool) -> None:
        self._bucket = bucket
        self._size = entry.stat.size
        self._where = {"Bucket": bucket.name, "Key": bucket.prefix + key_of(path).decode()}
        self._unless_there = {"IfNoneMatch": "*"} if skips else {}
        self._hash = hashlib.sha256()
        self.lost: list[str] = []
        self._kept = self._parameters(entry.extra.attributes)

    def send(self, pieces: Iterator[bytes]) -> bool:
        """Send all; False where there is an object of the key, which is to stay. Raises `FileProblem`."""
        from repository.tiers.s3.errors import PreconditionFailed

        part = max(PART, -(-self._size // PARTS_MAX))
        try:
            if self._size <= part:
                body = b"".join(pieces)
                self._whole(body)
                self._call(
                    lambda client: client.put_object(
                        **self._where, **self._kept, **self._unless_there, Body=body, ChecksumSHA256=_digest(body)
                    )
                )
            else:
                self._send_parts(pieces, part)
        except PreconditionFailed:
            return False
        return True

    def _send_parts(self, pieces: Iterator[bytes], length: int) -> None:
        begun = self._call(
            lambda client: client.create_multipart_upload(**self._where, **self._kept, ChecksumAlgorithm="SHA256")
        )
        upload = {**self._where, "UploadId": begun["UploadId"]}
        try:
            parts: list[dict[str, Any]] = []
            for body in _parts_of(pieces, length):
                self._hash.update(body)
                self._size -= len(body)
                number, digest = len(parts) + 1, _digest(body)
                sent = self._call(_part(upload, number, body, digest))
                parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": digest})
            if self._size:
                raise FileProblem(Reason.UNREADABLE, "content does not add up to its size")
            self._call(
                lambda client: client.complete_multipart_upload(
                    **upload, **self._unless_there, MultipartUpload={"Parts": parts}
                )
            )
        except BaseException:
            self._call(lambda client: client.abort_multipart_upload(**upload))
            raise

    def is_as_sent(self) -> bool:
        """Whether the server gives back the bytes that it was sent."""

        def attempt(client: Any) -> bytes:
            found = hashlib.sha256()
            with client.get_object(**self._where)["Body"] as body:
                while piece := body.read(1 << 20):
                    found.update(piece)
            return found.digest()

        return bool(self._call(attempt) == self._hash.digest())

    def _whole(self, body: bytes) -> None:
        if len(body) != self._size:
            raise FileProblem(Reason.UNREADABLE, "content does not add up to its size")
        self._hash.update(body)

    def _call(self, attempt: Callable[[Any], Any]) -> Any:
        return self._bucket.call_for_object(attempt)

    def _parameters(self, attributes: dict[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = {_PARAMETERS[name]: value for name, value in attributes.items() if name in _PARAMETERS}
        metadata = {
            name.removeprefix(USER_METADATA): value
            for name, value in attributes.items()
            if name.startswith(USER_METADATA)
        }
        if metadata:
            found["Metadata"] = metadata
        if "expires" in attributes:
            try:
                found["Expires"] = parsedate_to_datetime(attributes["expires"])
            except ValueError:
                self.lost.append("expires is no date")
        return found


def _part(upload: dict[str, str], number: int, body: bytes, digest: str) -> Callable[[Any], Any]:
    return lambda client: client.upload_part(**upload, PartNumber=number, Body=body, ChecksumSHA256=digest)


def _parts_of(pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        while len(gathered) >= length:
            yield bytes(gathered[:length])
            del gathered[:length]
    if gathered:
        yield bytes(gathered)


def _digest(body: bytes) -> str:
    return b64encode(hashlib.sha256(body).digest()).decode()
