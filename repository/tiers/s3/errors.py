"""What an S3 server's answers and the client's failures mean for the repository."""

import http.client
import os
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3.exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    InvalidRegionError,
    ParamValidationError,
    SSLError,
)

from repository.errors import (
    AccessDenied,
    BucketMissing,
    ChecksumMismatch,
    ClockSkewed,
    LocationInvalid,
    ObjectArchived,
    ObjectMissing,
    RepositoryError,
    Retry,
    TierError,
    TierFull,
    TierUnreachable,
    TooFewDescriptors,
    Truncated,
)
from repository.ports import SYSTEM_CLOCK
from repository.tiers.folder.disk import OUT_OF_DESCRIPTORS
from repository.tiers.retry import TryAgain

FAILURES = (BotoCoreError, ClientError, OSError, http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError)
"""What a call of the client, or reading a body, may raise. (The client leaks what urllib3 raises while it
reads the body of an error.)"""

_OUR_VARIABLES = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
_MISSING = {"NoSuchKey", "NoSuchVersion", "404", "NotFound"}
_NO_BUCKET = {"InvalidBucketName", "PermanentRedirect", "AuthorizationHeaderMalformed"}
_DENIED = {
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationQueryParametersError",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "NotSignedUp",
    "SignatureDoesNotMatch",
    "UnauthorizedAccess",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_FULL = {
    "InsufficientCapacity",
    "InsufficientStorage",
    "QuotaExceeded",
    "ServiceQuotaExceededException",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
}
_FULL_WORDS = (
    "cap exceeded",
    "disk full",
    "insufficient storage",
    "minimum free drive threshold",
    "no free volume",
    "no space left",
    "no writable volume",
    "not enough space",
    "quota exceeded",
)
"""What servers write beside a code that says nothing of it, such as InternalError or AccessDenied."""
_WRITES = {"PutObject", "UploadPart", "CreateMultipartUpload", "CompleteMultipartUpload", "CopyObject"}
_CORRUPTED = {
    "BadDigest",
    "InvalidDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "IncompleteBody",
}
_SKEW_SECONDS = 15 * 60.0
"""Signature version 4: "requests must reach the server within 15 minutes of the timestamp"."""
_SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
_BUSY = {
    "ConditionalRequestConflict",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestThrottled",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}


class CredentialsExpired(Exception):
    """The server says that the session's credentials have expired: ask the provider for new ones."""


class PreconditionFailed(Exception):
    """A conditional request found another state than it demands."""


def code_of(error: ClientError) -> str:
    """The server's error code, or the HTTP status where the answer has no body (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def not_made(error: Exception, *, tier: str) -> RepositoryError:
    """What to raise where there is no client yet: no server was asked, so that trying again changes nothing."""
    if isinstance(error, OSError) and error.errno in OUT_OF_DESCRIPTORS:
        return TooFewDescriptors("the system gives no more open files", tier=tier)
    names = ", ".join(sorted(name for name in os.environ if name.startswith("AWS_") and name not in _OUR_VARIABLES))
    return LocationInvalid(
        "the client of S3 cannot be made",
        hint=f"Check the tier's address{f', and the environment: {names}' if names else ''}.",
        failure=type(error).__name__,
        tier=tier,
    )


def translated(error: Exception, *, tier: str, key: str | None) -> Exception:
    """What to raise instead: a `RepositoryError`, or `TryAgain` with one, or one of this module's own."""
    context: dict[str, Any] = {"tier": tier} | ({"key": key} if key is not None else {})
    if isinstance(error, ClientError):
        return _of_answer(error, context)
    if isinstance(error, ParamValidationError | InvalidRegionError):
        return LocationInvalid("the client refuses the bucket, region or key", **context)
    if isinstance(error, ValueError) and not isinstance(error, BotoCoreError | OSError | urllib3.exceptions.HTTPError):
        return LocationInvalid("the client refuses the endpoint", **context)
    if isinstance(error, SSLError) and "CERTIFICATE" in str(error).upper():
        hint = "Check the endpoint's certificate; for one of your own give its authority's file as `ca`."
        return TierUnreachable(
            "the server's certificate is not trusted", hint=hint, retry=Retry.AFTER_OPERATOR, **context
        )
    if isinstance(error, SSLError) and "WRONG_VERSION_NUMBER" in str(error).upper():
        hint = "Its endpoint begins with https://. If the server is one without TLS, write http://."
        return TierUnreachable("the server does not speak TLS", hint=hint, retry=Retry.AFTER_OPERATOR, **context)
    if _is_out_of_descriptors(error):
        return TooFewDescriptors("the system gives no more open files", **context)
    server = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url", ""))).netloc
    if server:
        context["server"] = server
    reason = (
        "the server cannot be connected to" if isinstance(error, EndpointConnectionError) else "the connection failed"
    )
    return TryAgain(TierUnreachable(reason, failure=type(error).__name__, **context))


def _is_out_of_descriptors(error: BaseException | None) -> bool:
    """Whether a failure of the client goes back to that, through what it was wrapped in."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, OSError) and error.errno in OUT_OF_DESCRIPTORS:
            return True
        inner = getattr(error, "kwargs", {}).get("error") if not isinstance(error, OSError) else None
        error = error.__cause__ or error.__context__ or (inner if isinstance(inner, BaseException) else None)
        seen += 1
    return False


def _of_answer(error: ClientError, context: dict[str, Any]) -> Exception:
    code = code_of(error)
    metadata = error.response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    if code == "403" and _is_skewed(metadata.get("HTTPHeaders", {})):
        code = "RequestTimeTooSkewed"
    context = context | {"answer": code, "status": status}
    if code == "PreconditionFailed" or status == 412:
        return PreconditionFailed()
    if code in _EXPIRED:
        return CredentialsExpired()
    if code in _BUSY or code in _CORRUPTED or status in {408, 429}:
        again: RepositoryError = TierUnreachable("the server asks to try again", **context)
        if code in _CORRUPTED:
            again = ChecksumMismatch("the server received other bytes than were sent", **context)
        return TryAgain(again, at_least_seconds=_retry_after(metadata.get("HTTPHeaders", {})))
    # The text may hold keys and names, so it is looked at and not kept.
    text = str(error.response.get("Error", {}).get("Message", "")).lower()
    final = _final("InsufficientStorage" if any(words in text for words in _FULL_WORDS) else code, status, context)
    if final is not None:
        return final
    if _stores_nothing(error, code, metadata.get("HTTPHeaders", {})):
        return TryAgain(TierFull("the server stores nothing, as it does when no volume is free", **context))
    if status >= 500 or status == 0:
        failed = TierUnreachable("the server fails", **context)
        return TryAgain(failed, at_least_seconds=_retry_after(metadata.get("HTTPHeaders", {})))
    return LocationInvalid("the server refuses the request", **context)


def _is_skewed(headers: Mapping[str, str]) -> bool:
    """Whether the server's clock differs by more than signatures may: an answer to HEAD has no body, and no reason."""
    try:
        server = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return False
    return abs(server - SYSTEM_CLOCK.now_ns() / 1e9) > _SKEW_SECONDS


def _stores_nothing(error: ClientError, code: str, headers: Mapping[str, str]) -> bool:
    """Whether it is SeaweedFS's answer to a write without room: its S3 side hears of "no free volumes" and tells of
    an internal error alone. While it makes a volume the answer is the same, so it is asked again first.
    """
    is_write = error.operation_name in _WRITES
    return is_write and code == "InternalError" and headers.get("server", "").startswith("SeaweedFS")


def _final(code: str, status: int, context: dict[str, Any]) -> TierError | None:
    """The error of an answer that stays the same when the request is repeated."""
    if code == "NoSuchBucket":
        return BucketMissing("there is no such bucket at this endpoint", **context)
    if code in _NO_BUCKET or status == 301:
        return LocationInvalid("there is no such bucket at this endpoint and region", **context)
    if code in _MISSING or status == 404:
        return ObjectMissing("no object of this key", **context)
    if code in _SKEWED:
        return ClockSkewed("the clocks of this machine and of the server differ too much", **context)
    if code == "InvalidObjectState":
        return ObjectArchived("the object is in an archive class", **context)
    if code == "InvalidRange" or status == 416:
        return Truncated("the object ends before the range", **context)
    if code in _FULL or status == 507:
        return TierFull("the server has no space left for this bucket", **context)
    if code in _DENIED or status in {401, 403}:
        return AccessDenied("the server refuses access", **context)
    return None


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("retry-after", 0)))
    except ValueError:
        return 0.0  # a date: the random wait is as good
