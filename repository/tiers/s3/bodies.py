"""Bodies on their way: several buffers sent as one, and a download that goes on where it broke off."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from repository.errors import LocationInvalid, TierUnreachable, Truncated
from repository.tiers.limits import Pace
from repository.tiers.port import check_length
from repository.tiers.retry import TryAgain
from repository.tiers.s3.errors import FAILURES, PreconditionFailed, translated

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_SMALL = 64 << 10
_JOINED = 256 << 10
_PIECE = 1 << 20


class UploadBody:
    """Buffers as the file that the client wants, read without copying the big ones.

    `read` returns as much as is convenient and ignores how much was asked for: the client sends whatever
    it gets. Small buffers are joined, so that a frame's header does not cost a system call of its own.
    """

    def __init__(self, buffers: Sequence[memoryview], pace: Pace) -> None:
        self._buffers = buffers
        self._size = sum(buffer.nbytes for buffer in buffers)
        self._pace = pace
        self._index = 0
        self._offset = 0

    def __len__(self) -> int:
        return self._size

    def read(self, amount: int = -1) -> bytes | memoryview:  # noqa: ARG002  # see the class's docstring
        """The next bytes; empty at the end."""
        limit = self._pace.step_bytes
        part = self._take(limit or self._size)
        if len(part) < _SMALL:
            parts, count = [part], len(part)
            while count < min(_JOINED, limit or _JOINED) and (following := self._peek()) and following < _SMALL:
                parts.append(self._take((limit or _JOINED + _SMALL) - count))
                count += len(parts[-1])
            part = memoryview(b"".join(parts)) if len(parts) > 1 else part
        self._pace.take(len(part))
        return part

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; the client does so to measure, and to begin again."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._size}[whence]
        left = position = max(0, min(self._size, base + position))
        self._index = 0
        while self._index < len(self._buffers) and left >= self._buffers[self._index].nbytes:
            left -= self._buffers[self._index].nbytes
            self._index += 1
        self._offset = left
        return position

    def tell(self) -> int:
        """How many bytes were read."""
        return sum(buffer.nbytes for buffer in self._buffers[: self._index]) + self._offset

    def _peek(self) -> int:
        """How many bytes the next buffer has left; 0 at the end."""
        return self._buffers[self._index].nbytes - self._offset if self._index < len(self._buffers) else 0

    def _take(self, limit: int) -> memoryview:
        if self._index == len(self._buffers):
            return memoryview(b"")
        part = self._buffers[self._index][self._offset : self._offset + limit]
        self._offset += part.nbytes
        if self._offset == self._buffers[self._index].nbytes:
            self._index, self._offset = self._index + 1, 0
        return part


class Download:
    """One object, or one range of it, that is fetched in as many requests as it takes.

    `start` None and `length` None: the whole object, unless it has more than `length_max` bytes. `start` negative:
    from the end. A request that breaks off is followed by one for the rest, on condition that the object is still
    the same one. (Of the first one nothing is kept when the connection is reset; of later ones what arrived, to
    the MiB.)
    """

    def __init__(
        self,
        *,
        bucket: str,
        key: str,
        full_key: str,
        start: int | None,
        length: int | None,
        length_max: int,
        tier: str,
    ) -> None:
        self._request: dict[str, Any] = {"Bucket": bucket, "Key": full_key}
        self._key = key
        self._tier = tier
        self._start = start
        self._length = length
        self._length_max = length_max
        self._has_broken = False
        self._restart()

    def of_version(self, version_id: str) -> None:
        """Fetch this version instead of the present one, from its beginning."""
        self._request["VersionId"] = version_id
        self._restart()

    def attempt(self, client: "S3Client", pace: Pace) -> bytes:
        """Fetch what is missing and return all; raises `TryAgain` with what arrived kept for the next attempt."""
        before = self._got
        try:
            answer = client.get_object(**self._request, **self._conditions())
        except FAILURES as failure:
            error = translated(failure, tier=self._tier, key=self._key)
            if isinstance(error, PreconditionFailed):
                self._restart()
                changed = TierUnreachable("the object changed while it was read", tier=self._tier, key=self._key)
                raise TryAgain(changed) from failure
            raise
        body = answer["Body"]
        try:
            self._check(answer)
            while self._got < self._total:
                left = self._total - self._got
                # At one go takes the least processor time; in pieces keeps what arrived before a break.
                step = pace.step_bytes or (_PIECE if self._has_broken else left)
                piece = body.read(min(step, left))
                if not piece:
                    raise EOFError
                pace.take(len(piece))
                self._parts.append(piece)
                self._got += len(piece)
        except (EOFError, *FAILURES) as failure:
            self._has_broken = True
            raise TryAgain(self._broken(), progress=self._got > before) from failure
        finally:
            body.close()
        whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        return whole if self._length is None else whole[: self._length]

    def _restart(self) -> None:
        self._parts: list[bytes] = []
        self._got = 0
        self._total = -1  # until the first answer says it
        self._first = 0
        self._etag = ""

    def _conditions(self) -> dict[str, Any]:
        if self._got:
            return {
                "Range": f"bytes={self._first + self._got}-{self._first + self._total - 1}",
                "IfMatch": self._etag,
            }
        if self._start is None:
            return {}
        if self._start < 0:
            return {"Range": f"bytes={self._start}"}
        return {"Range": f"bytes={self._start}-{self._start + (self._length or 1) - 1}"}

    def _check(self, answer: Any) -> None:
        """Learn from the first answer what there is, and refuse a range that is not the one asked for."""
        resumes = self._got > 0
        if not resumes:
            self._total = int(answer["ContentLength"])
            self._etag = answer.get("ETag", "")
            if self._start is None:
                check_length(self._total, self._length_max, tier=self._tier, key=self._key)
                return
        # "bytes 5-9/100"; a server that knows no ranges answers with the whole object and says nothing.
        stated, _, size = str(answer.get("ContentRange", "")).removeprefix("bytes ").partition("/")
        first = int(stated.partition("-")[0]) if size else -1
        if not resumes:
            self._first = first
            wanted = -self._start if self._start is not None and self._start < 0 else self._length
            if size and self._total != wanted:
                raise Truncated("the object ends before the range", tier=self._tier, key=self._key, size=int(size))
        if first < 0 or first != self._first + self._got:
            raise LocationInvalid("the server ignores ranges", tier=self._tier, key=self._key)

    def _broken(self) -> TierUnreachable:
        return TierUnreachable("the answer broke off", tier=self._tier, key=self._key, got=self._got)
