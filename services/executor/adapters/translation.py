"""What the repository's errors are called in the platform's catalogue."""

from collections.abc import Iterator
from contextlib import contextmanager

from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from repository.errors import BackupCancelled, RepositoryError
from services.executor.blocking import RunInterrupted

_BY_CODE: dict[str, ErrorCode] = {
    "tier-full": errors.TIER_FULL,
    "tier-behind": errors.TIER_BEHIND,
    "log-contended": errors.TIER_BEHIND,
    "pack-marked": errors.TIER_BEHIND,
    "wrong-key": errors.KEYS_UNUSABLE,
    "key-file-invalid": errors.KEYS_UNUSABLE,
    "key-unavailable": errors.KEYS_UNUSABLE,
    "unknown-key": errors.KEYS_UNUSABLE,
    "damaged": errors.VERIFICATION_FAILED,
    "checksum-mismatch": errors.VERIFICATION_FAILED,
    "object-missing": errors.VERIFICATION_FAILED,
    "object-truncated": errors.VERIFICATION_FAILED,
    "chunk-not-in-index": errors.VERIFICATION_FAILED,
    "replayed-older-state": errors.TIER_UNUSABLE,
    "repository-exists": errors.TIER_UNUSABLE,
    "not-a-repository": errors.TIER_UNUSABLE,
    "unsupported-format": errors.TIER_UNUSABLE,
    "tier-access-denied": errors.TIER_UNREACHABLE,
    "tier-unreachable": errors.TIER_UNREACHABLE,
    "no-usable-tier": errors.TIER_UNREACHABLE,
    "tier-error": errors.TIER_UNREACHABLE,
    "clock-skewed": errors.TIER_UNREACHABLE,
    "source-unreachable": errors.SOURCE_UNREACHABLE,
}


def code_of(error: BaseException | None) -> ErrorCode:
    """The catalogue's entry for whatever a tier or a source answered."""
    if isinstance(error, PlatformError):
        return error.code
    if isinstance(error, RepositoryError):
        return _BY_CODE.get(error.code, errors.INTERNAL)
    return errors.INTERNAL


@contextmanager
def translated() -> Iterator[None]:
    """Turn the repository's errors into the platform's; a cancelled backup into `RunInterrupted`."""
    try:
        yield
    except BackupCancelled as error:
        raise RunInterrupted from error
    except RepositoryError as error:
        raise PlatformError(code_of(error), error.message, hint=error.hint, repository_code=error.code) from error
