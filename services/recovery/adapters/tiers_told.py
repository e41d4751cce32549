"""Why no tier gives a recovery point: of each by its name and its location's, and what to do."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from repository.errors import BucketMissing, NotARepository, NoUsableTier, RepositoryError, SnapshotNotFound
from repository.opened.open_tier import OpenTier, TierState
from services.recovery.errors import TiersUnusable
from vault.places import Place
from vault.translation import code_of

TOLD_MAX = 6
"""So many places are told by name."""
_OF_KEYS = frozenset({errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE})
_ANSWERS: dict[ErrorCode, str] = {
    errors.TIER_VANISHED: "is empty or gone: mount its disk, or bring its bucket back",
    errors.TIER_UNREACHABLE: "does not answer: look at its disk, its mount or its server",
    errors.UNKNOWN_LOCATION: "is not registered any more, or not for this organisation: register it again",
    errors.LOCATION_UNUSABLE: "cannot be used as it is registered: correct its address or its credentials",
    errors.TIER_UNUSABLE: "is damaged, or holds another repository: run repo check on it",
    errors.KEYS_UNUSABLE: "has entries that the repository's key file does not open: put the newest one back",
    errors.RECOVERY_POINT_MISSING: "answers, and does not have the point",
}
_WEIGHTY = (errors.KEYS_UNUSABLE, errors.RECOVERY_POINT_MISSING, errors.TIER_UNREACHABLE)
"""What says most, the most first: a key that is put back may show the point."""


class _Told(NamedTuple):
    tier: str
    location: str
    code: ErrorCode

    def __str__(self) -> str:
        return f"{self.location} (the tier {self.tier}) {_ANSWERS.get(self.code, f'fails: {self.code.title.lower()}')}"


def why_not(
    error: RepositoryError, places: Mapping[str, Place], tiers: Sequence[OpenTier] = ()
) -> PlatformError | None:
    """What is told of a recovery that no tier gives; None where it is about no tier.

    `places`: by the names of the tiers, all of which were asked. `tiers`: of the repository, where it could be opened.
    """
    is_of_all = isinstance(error, (NoUsableTier, NotARepository, SnapshotNotFound))
    if code_of(error) in _OF_KEYS or not (is_of_all or error.context.get("tier") in places):
        return None
    found = _found(error, list(places), {tier.name: tier for tier in tiers})
    if not found:
        return None
    told = [_Told(name, places[name].location, code) for name, code in found.items()]
    weighty = [each for each in _WEIGHTY if each in found.values()]
    shown = "; ".join(map(str, told[:TOLD_MAX])) + (f"; and {len(told) - TOLD_MAX} more" if told[TOLD_MAX:] else "")
    return TiersUnusable(weighty[0] if weighty else told[0].code, error.message, shown)


def _found(error: RepositoryError, names: Sequence[str], tiers: Mapping[str, OpenTier]) -> dict[str, ErrorCode]:
    """What is wrong with each tier, as far as that is known."""
    causes = {str(each.context.get("tier")): each for each in error.causes or [error]}
    # Of those that were asked for the repository, one without a cause has answered, and shows nothing. The record says
    # that it lies there.
    is_gone = isinstance(error, (NoUsableTier, NotARepository)) and "tiers" in error.context
    found: dict[str, ErrorCode] = {}
    for name in names:
        tier = tiers.get(name)
        if name in causes:
            found[name] = _code_of(causes[name])
        elif tier is None:
            found |= {name: errors.TIER_VANISHED} if is_gone else {}
        elif tier.state is TierState.EMPTY:
            found[name] = errors.TIER_VANISHED
        elif not tier.is_readable and tier.error is not None:
            found[name] = _code_of(tier.error)
        elif isinstance(error, SnapshotNotFound):
            # What lies behind an entry that cannot be read is not known to be missing: the key may be an older one.
            found[name] = errors.RECOVERY_POINT_MISSING
            for fault in tier.log.state.faults[:1]:
                found[name] = errors.KEYS_UNUSABLE if code_of(fault.error) in _OF_KEYS else errors.TIER_UNUSABLE
    return found


def _code_of(cause: RepositoryError) -> ErrorCode:
    if isinstance(cause, BucketMissing):
        return errors.TIER_VANISHED
    code = code_of(cause)
    return errors.TIER_UNUSABLE if code is errors.INTERNAL else code
