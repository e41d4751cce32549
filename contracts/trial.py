"""What a test of a configuration finds: values that the fact and its readers share."""

from contracts.configuration import Tier
from contracts.event import Value
from contracts.reading import Growing


class Verdict(Growing):
    """How a check ended. What could not be found out is neither a pass nor a fail."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    # Not `unknown`: so a reader calls what a newer build has written.
    UNDECIDED = "undecided"


class Check(Growing):
    """What is looked at: of the source, of each tier, of the keys."""

    SOURCE_CREDENTIALS = "source-credentials"
    SOURCE_REACHABLE = "source-reachable"
    SOURCE_READABLE = "source-readable"
    KEYS_USABLE = "keys-usable"
    TIER_CREDENTIALS = "tier-credentials"
    TIER_REACHABLE = "tier-reachable"
    TIER_CLOCK = "tier-clock"
    TIER_SPACE = "tier-space"
    TIER_WRITABLE = "tier-writable"
    TIER_READABLE = "tier-readable"
    TIER_LOCKABLE = "tier-lockable"
    TIER_SEPARATE = "tier-separate"


class Finding(Value, frozen=True, kw_only=True):
    """One check. `code` and `hint`: of what is not as it should be, or could not be found out."""

    check: Check
    verdict: Verdict
    tier: Tier | None = None
    code: str | None = None
    hint: str = ""


class EstimatedFrom(Growing):
    """By what a backup's size is estimated: by a look at all of the source, or by the latest run that completed."""

    LOOK = "look"
    LAST_RUN = "last-run"


class CostEstimate(Value, frozen=True, kw_only=True):
    """What a whole backup would read, in bytes and files, and how many seconds it takes; None: unknown.

    `at_least`: bytes that a look at a part of the source has counted, where it was too large to be looked at whole.
    """

    source_bytes: int | None = None
    files: int | None = None
    seconds: float | None = None
    at_least: int | None = None
    estimated_from: EstimatedFrom | None = None
