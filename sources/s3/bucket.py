"""One bucket, or what is below a prefix of it, as those that read and restore it call it: errors are a source's."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from repository.backup.source import FileProblem, Reason, SourceUnreachable
from repository.errors import AccessDenied, ObjectArchived, ObjectMissing, RepositoryError, TierError
from repository.tiers.s3.connection import S3Connection
from repository.tiers.s3.options import S3Options

T = TypeVar("T")


class Bucket:
    """A bucket's connection. Thread-safe; connects at the first call. Close it at the end."""

    def __init__(self, options: S3Options) -> None:
        self.options = options
        self.name = options.bucket
        self.prefix = options.prefix
        self.about: dict[str, Any] = {"bucket": options.bucket}
        self._connection = S3Connection(options.bucket, options)

    def call(self, attempt: Callable[[Any], T]) -> T:
        """The result of a request, made again where that helps. Raises `SourceUnreachable` and `PreconditionFailed`."""
        try:
            return self._connection.call(attempt)
        except TierError as error:
            raise self.unreachable(error) from error

    def call_for_object(self, attempt: Callable[[Any], T]) -> T:
        """The same of one object. Raises `FileProblem` too, for what concerns it alone."""
        try:
            return self._connection.call(attempt)
        except ObjectMissing as error:
            # Some servers answer so for each object of a bucket that is gone.
            self.call(lambda client: client.head_bucket(Bucket=self.name))
            raise FileProblem(Reason.VANISHED, "NoSuchKey") from error
        except ObjectArchived as error:
            raise FileProblem(Reason.UNREADABLE, "is in an archive class") from error
        except AccessDenied as error:
            raise FileProblem(Reason.UNREADABLE, str(error.context.get("answer", "AccessDenied"))) from error
        except TierError as error:
            raise self.unreachable(error) from error

    def patience(self, seconds: float | None) -> AbstractContextManager[None]:
        """Requests within it are made again for so long, None: as the options say. See `S3Connection.patience`."""
        return nullcontext() if seconds is None else self._connection.patience(seconds)

    def took(self, count: int) -> None:
        """Wait as the limit of the download wants it."""
        self._connection.throttle.download.take(count)

    def unreachable(self, error: RepositoryError) -> SourceUnreachable:
        """What an error of the server means for the bucket as a whole."""
        reason = str(error.context.get("answer") or error.context.get("failure") or error.code)
        return SourceUnreachable(
            f"the bucket cannot be read: {error.message}",
            hint=error.hint if not isinstance(error, ObjectMissing) else "See that the bucket is there.",
            retry=error.retry,
            reason=reason,
            **self.about,
        )

    def close(self) -> None:
        """Give back the connections."""
        self._connection.close()
