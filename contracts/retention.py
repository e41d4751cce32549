"""Retention policies: what requests and facts say of them, and what speaks against one. Pure.

A policy says how long what was saved is kept. Two look at it: the gateway, before anything is recorded, and the config
service, whose word is the record's.
"""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts import errors
from contracts.event import Value
from contracts.reading import Growing
from contracts.refusal import Objection
from contracts.sealed import Sealed

# The name under which a policy's name is sealed (`chassis.sealing`). Pinned: the box is bound to it.
POLICY_NAME_FIELD = "retention-policy.name"

_PART = re.compile(r"([0-9]{1,5})([ywmdh])")
_WEEK, _DAY = 7 * 24, 24
SHORTEST_MONTH, LONGEST_MONTH = 28 * _DAY, 31 * _DAY

Count = Annotated[int, Meta(ge=0, le=100_000)]
Days = Annotated[int, Meta(ge=0, le=36_500)]
# As `repo forget --keep-within` takes it.
SpanText = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=20,
        description="A length of time: `36h`, `90d`, `8w`, `6m` or `1y6m`.",
        extra_json_schema={"pattern": r"^([0-9]{1,5}[ywmdh])+$"},
    ),
]
CategoryName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", max_length=63)]


class LegalBasis(Growing):
    """Why data may be kept: the six of Article 6(1) of the GDPR."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal-obligation"
    VITAL_INTERESTS = "vital-interests"
    PUBLIC_TASK = "public-task"
    LEGITIMATE_INTERESTS = "legitimate-interests"


class RetentionRules(Value, frozen=True, kw_only=True):
    """What is kept, and why.

    `keep_last`: the newest so many; `keep_hourly` and the others: the newest of each of so many hours, days, ISO weeks,
    months, years that have one; `keep_within`: what is at most so much older than the newest. What any of them keeps,
    stays. `minimum_days`: nothing younger goes, whatever they say; `maximum_days`: nothing older stays, None for no
    such bound; `lock_days`: what is saved is locked at least so long. `cleanup_days`: so often what is not kept goes by
    itself; 0: only when somebody asks for a cleanup. `data_categories`, `legal_basis`: for the record
    of processing.
    """

    keep_last: Count = 0
    keep_hourly: Count = 0
    keep_daily: Count = 0
    keep_weekly: Count = 0
    keep_monthly: Count = 0
    keep_yearly: Count = 0
    keep_within: SpanText | None = None
    minimum_days: Days = 0
    maximum_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    lock_days: Days = 0
    cleanup_days: Annotated[int, Meta(ge=0, le=366)] = 0
    tags: tuple[Annotated[str, Meta(max_length=64)], ...] = ()
    data_categories: tuple[CategoryName, ...] = ()
    legal_basis: LegalBasis | None = None


class RetentionPolicyBody(RetentionRules, frozen=True, kw_only=True):
    """What a policy says. Its name may carry personal data, so it is sealed."""

    name: Sealed


class Span(msgspec.Struct, frozen=True):
    """A length of time: months are longer or shorter, hours are not."""

    months: int
    hours: int

    @property
    def at_least(self) -> int:
        """In hours."""
        return self.months * SHORTEST_MONTH + self.hours

    @property
    def at_most(self) -> int:
        """In hours."""
        return self.months * LONGEST_MONTH + self.hours

    def is_shorter_than(self, other: "Span") -> bool:
        """Whether it may be the shorter one: where only the calendar could tell, it is taken to be."""
        if self.months == other.months:
            return self.hours < other.hours
        return self.at_least < other.at_most


_COUNTS = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
_NONE = Span(0, 0)


def objections(rules: RetentionRules) -> Iterator[Objection]:
    """All that speaks against a policy, in the order of the form."""
    span = _NONE
    if rules.keep_within is not None:
        found = span_of(rules.keep_within)
        if found is None:
            yield Objection(errors.INVALID_FIELD, "keepWithin", "Write it as 36h, 90d, 8w, 6m or 1y6m.")
            return
        span = found
    keeps = (*(getattr(rules, name) for name in _COUNTS), span.at_most, rules.minimum_days)
    if not any(keeps):
        yield Objection(errors.RETENTION_KEEPS_NOTHING, "keepLast", errors.RETENTION_KEEPS_NOTHING.hint)
    if rules.maximum_days is None:
        return
    most = f"maximumDays is {rules.maximum_days}"
    if span.at_least > rules.maximum_days * _DAY:
        yield _contradiction("keepWithin", f"{most}, and keepWithin is longer: lower it, or raise maximumDays.")
    for field, days in (("minimumDays", rules.minimum_days), ("lockDays", rules.lock_days)):
        if days > rules.maximum_days:
            yield _contradiction(field, f"{most}, and {field} is {days}: lower it, or raise maximumDays.")


def kept_less(before: RetentionRules | None, after: RetentionRules | None) -> Iterator[str]:
    """The fields by which less is kept, or shorter, than before; None keeps everything, and locks nothing."""
    if before is None:
        if after is not None:
            yield "retentionPolicyId"
        return
    if after is None:
        if before.lock_days:
            yield "lockDays"
        return
    for name in _COUNTS:
        if getattr(after, name) < getattr(before, name):
            yield _camel(name)
    if (span_of(after.keep_within or "") or _NONE).is_shorter_than(span_of(before.keep_within or "") or _NONE):
        yield "keepWithin"
    if after.minimum_days < before.minimum_days:
        yield "minimumDays"
    if after.maximum_days is not None and (before.maximum_days is None or after.maximum_days < before.maximum_days):
        yield "maximumDays"
    if after.lock_days < before.lock_days:
        yield "lockDays"
    if after.cleanup_days and not before.cleanup_days:
        yield "cleanupDays"


def span_of(text: str) -> Span | None:
    """A span as people write it: `90d`, `1y6m`, `36h`. None where it is no length of time."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    months = hours = 0
    for digits, unit in parts:
        number = int(digits)
        match unit:
            case "y":
                months += 12 * number
            case "m":
                months += number
            case "w":
                hours += _WEEK * number
            case "d":
                hours += _DAY * number
            case _:
                hours += number
    return Span(months, hours)


def _contradiction(field: str, hint: str) -> Objection:
    return Objection(errors.RETENTION_CONTRADICTION, field, hint)


def _camel(name: str) -> str:
    head, _, tail = name.partition("_")
    return head + tail.capitalize()
