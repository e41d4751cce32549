"""What `wedsync-backup` says to a script. A number never changes its meaning (docs/repository-cli.md).

An error carries a `code`; the table below decides for the ones it names. Of all others the error's
`retry` decides: `later` ends with `UNAVAILABLE`, all else with `FAILED`.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1  # an error that has no number of its own; standard error names it
    USAGE = 2  # the command line is not understood
    INCOMPLETE = 3  # done, but for files that could not be read or written: they are listed
    DEGRADED = 4  # done, but not all is well: a tier or a part is behind, not ready, or had to be killed
    DAMAGED = 5  # stored bytes are not what was written; what is damaged is listed
    WRONG_KEY = 6  # the key file opens nothing here, or is none
    NOT_FOUND = 7  # no such repository, snapshot, path or match
    UNAVAILABLE = 8  # nothing answers now; the same command may succeed later
    REFUSED = 9  # something is in the way: it exists, is locked, access is denied, or there is no such bucket
    DIFFERENT = 10  # `repo diff` found a difference
    INTERRUPTED = 130  # Ctrl-C
    TERMINATED = 143  # SIGTERM


_BY_CODE = {
    "damaged": ExitCode.DAMAGED,
    "replayed-older-state": ExitCode.DAMAGED,
    "tiers-exchanged": ExitCode.DAMAGED,
    "chunk-not-in-index": ExitCode.DAMAGED,
    "object-missing": ExitCode.DAMAGED,
    "object-truncated": ExitCode.DAMAGED,
    "unknown-key": ExitCode.DAMAGED,
    "place-blocked": ExitCode.DAMAGED,
    "wrong-key": ExitCode.WRONG_KEY,
    "key-file-invalid": ExitCode.WRONG_KEY,
    "key-not-given": ExitCode.WRONG_KEY,
    "not-a-repository": ExitCode.NOT_FOUND,
    "snapshot-not-found": ExitCode.NOT_FOUND,
    "not-found": ExitCode.NOT_FOUND,
    "stream-not-found": ExitCode.NOT_FOUND,
    "kit-invalid": ExitCode.WRONG_KEY,
    "kit-not-possible": ExitCode.USAGE,
    "kit-not-made": ExitCode.REFUSED,
    "share-not-found": ExitCode.NOT_FOUND,
    "key-file-not-made": ExitCode.REFUSED,
    "passphrase-unfit": ExitCode.USAGE,
    "erasure-not-confirmed": ExitCode.REFUSED,
    "receipt-not-found": ExitCode.NOT_FOUND,
    "receipt-unreadable": ExitCode.REFUSED,
    "keys-not-opened": ExitCode.WRONG_KEY,
    "key-not-found": ExitCode.NOT_FOUND,
    "key-still-needed": ExitCode.REFUSED,
    "hold-not-found": ExitCode.NOT_FOUND,
    "pin-not-found": ExitCode.NOT_FOUND,
    "hold-taken": ExitCode.REFUSED,
    "snapshot-held": ExitCode.REFUSED,
    "rules-invalid": ExitCode.USAGE,
    "pattern-invalid": ExitCode.USAGE,
    "usage-invalid": ExitCode.USAGE,
    "stream-gap": ExitCode.DAMAGED,
    "stream-forked": ExitCode.DAMAGED,
    "stream-contended": ExitCode.REFUSED,
    "parts-missing": ExitCode.DEGRADED,
    "append-not-durable": ExitCode.DEGRADED,
    "source-unreachable": ExitCode.NOT_FOUND,
    "source-excluded": ExitCode.REFUSED,
    "stack-not-running": ExitCode.UNAVAILABLE,
    "tier-vanished": ExitCode.UNAVAILABLE,
    "home-not-found": ExitCode.NOT_FOUND,
    "stack-running": ExitCode.REFUSED,
    "repository-exists": ExitCode.REFUSED,
    "place-in-use": ExitCode.REFUSED,
    "restore-refused": ExitCode.REFUSED,
    "object-exists": ExitCode.REFUSED,
    "object-locked": ExitCode.REFUSED,
    "legal-hold-not-set": ExitCode.REFUSED,
    "lock-not-proven": ExitCode.REFUSED,
    "tier-access-denied": ExitCode.REFUSED,
    "tier-read-only": ExitCode.REFUSED,
    "bucket-missing": ExitCode.REFUSED,
    "location-invalid": ExitCode.USAGE,
    "invalid-field": ExitCode.USAGE,
    "unknown-location": ExitCode.NOT_FOUND,
    "unknown-organisation": ExitCode.NOT_FOUND,
    "location-taken": ExitCode.REFUSED,
    "location-excluded": ExitCode.REFUSED,
    "location-access-denied": ExitCode.REFUSED,
    "location-in-use": ExitCode.REFUSED,
    "credentials-unusable": ExitCode.REFUSED,
    "organisation-taken": ExitCode.REFUSED,
    "secret-unknown": ExitCode.NOT_FOUND,
    "secret-taken": ExitCode.REFUSED,
    "secret-unusable": ExitCode.REFUSED,
    "access-denied": ExitCode.REFUSED,
    "read-only": ExitCode.REFUSED,
    "text-invalid": ExitCode.USAGE,
    "tier-behind": ExitCode.DEGRADED,
    "backup-cancelled": ExitCode.INTERRUPTED,
    "restore-cancelled": ExitCode.INTERRUPTED,
}


def code_of(error: BaseException | None) -> str | None:
    """The stable name of an error, from the repository or from the platform, without importing either."""
    code = getattr(error, "code", None)
    name = getattr(code, "code", code)
    return name if isinstance(name, str) else None


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code of a command that ended with this error."""
    known = _BY_CODE.get(code_of(error) or "")
    if known is not None:
        return known
    if str(getattr(error, "retry", None)) == "later":
        return ExitCode.UNAVAILABLE
    # Where no tier is of use and none is away that may come back, it is what is wrong with all of them.
    codes = {exit_code_of(cause) for cause in getattr(error, "causes", ())}
    return codes.pop() if len(codes) == 1 else ExitCode.FAILED
