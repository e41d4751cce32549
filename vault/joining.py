"""Which repository a new tier becomes one of: an organisation has one, wherever its configurations put their tiers.

Two configurations may name no tier in common. Where a repository of the organisation is remembered at a location that
a run does not name, the run's new tiers get its config and its keys from there, and are members of it (ADR 0060).
What was stored elsewhere stays there until a configuration names both.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from contracts import errors
from repository.errors import NotARepository, RepositoryError, Retry, TierError, TierVanished
from repository.keys.key_ring import KEY_PREFIX
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.stored.config import CONFIG_KEY, decode_config
from repository.stored.object_reading import read_object
from vault.places import Place


class _Remembered(Protocol):
    @property
    def repository_id(self) -> str: ...


class RepositoryAway(TierError):
    """A new tier joins by what another location holds, and no such location answers."""

    code = errors.REPOSITORY_AWAY.code
    retry = Retry.LATER
    hint = errors.REPOSITORY_AWAY.hint


class OfAnotherRepository(TierError):
    """The tier is one of another repository of the same organisation."""

    code = errors.OTHER_REPOSITORY.code
    retry = Retry.AFTER_OPERATOR
    hint = errors.OTHER_REPOSITORY.hint


class OfAnotherOwner(NotARepository):
    """The location shows another repository than the organisation's, perhaps another owner's."""


def other_locations(known: Mapping[str, _Remembered], intended: Iterable[str], here: Sequence[str]) -> list[str]:
    """Where the organisation's repository lies, or may: what the run does not name of it.

    `known`: in the order in which they were begun; of two repositories the older one is joined. `intended`: where one
    was about to be begun, of which nobody knows how far that came.
    """
    identities = [each.repository_id for each in known.values() if each.repository_id]
    members = [location for location, each in known.items() if each.repository_id in ("", *identities[:1])]
    return [location for location in dict.fromkeys((*members, *intended)) if location not in here]


def join(repository: Repository, names: Iterable[str]) -> None:
    """Make the empty tiers of these names members. Raises the repository's errors."""
    for name in names:
        tier = repository.tier(name)
        if tier.state is TierState.EMPTY:
            repository.add_tier(tier)


def away(tier: str, locations: Sequence[str], reason: str) -> RepositoryAway:
    """Why a tier cannot join now."""
    names = ", ".join(locations)
    anew = [f"wedsync-backup tiers begin-anew {location}" for location in locations]
    return RepositoryAway(
        f"the tier is new, and the organisation's repository, at {names}, cannot be asked: {reason}",
        hint=f"The organisation's repository lies at {names}: bring one of these locations back, and the next run goes "
        f"on. If all of them are gone for good: {', '.join(anew)}.",
        tier=tier,
    )


def forgotten(organisation: str, places: Sequence[Place]) -> list[TierVanished]:
    """Why none of these places, all empty, is begun: the key tells of backups, and nothing else does."""
    names = ", ".join(place.location for place in places)
    return [
        TierVanished(
            "the organisation has a key, so that it had backups, and neither the record nor this tier knows of any",
            hint=f"The organisation has had backups, of which the record knows nothing any more, and {names} is empty: "
            "mount the disks, bring the buckets back, or run first what uses the tiers that have them. Is nothing left "
            f"of them: wedsync-backup tiers begin-anew {place.location} --organisation {organisation}, and run again.",
            tier=place.store.name,
            location=place.location,
        )
        for place in places
    ]


def of_another(tier: str, location: str, organisation: str, own: str, other: str) -> OfAnotherRepository:
    """Why two tiers of one organisation cannot be used together. `own`, `other`: the repositories' ids."""
    return OfAnotherRepository(
        f"the location {location} has the repository {own} of the organisation, and the other tiers have {other}",
        hint=f"The organisation has two repositories, and {location} has the other one: no run can use both. Name "
        "tiers of one of them in each configuration; or let it go on as one: move what "
        f"{location} has of the organisation to another place, where `wedsync-backup repo` reads it as before, then "
        f"wedsync-backup tiers begin-anew {location} --organisation {organisation}; the next run fills it from the "
        "others.",
        tier=tier,
        location=location,
    )


def others_at(
    places: Iterable[Place], begun: Mapping[str, str], own: Collection[str], strange: Collection[str]
) -> list[OfAnotherOwner]:
    """What is told of tiers that show another repository than was begun there (`begun`: ids, by location).

    Where that is not known, as when the record was lost, one that `strange` keys open, ids of other organisations', and
    none of the `own`.
    """
    found = [_other_at(place, begun.get(place.location, ""), own, strange) for place in places]
    return [each for each in found if each is not None]


def _other_at(place: Place, begun: str, own: Collection[str], strange: Collection[str]) -> OfAnotherOwner | None:
    try:
        shown = decode_config(read_object(place.store, CONFIG_KEY)).config.repository_id
        opens = set() if begun else {each.key.rpartition(".")[2] for each in place.store.list(KEY_PREFIX)}
    except RepositoryError:
        return None
    if begun == shown or (not begun and (opens.isdisjoint(strange) or not opens.isdisjoint(own))):
        return None
    return of_another_owner(place, before=begun, shown=shown)


def of_another_owner(place: Place, *, before: str, shown: str) -> OfAnotherOwner:
    """Why a tier is not used that shows another repository than it had, or than its organisation has."""
    return OfAnotherOwner(
        "the location holds another repository than was begun there, perhaps another owner's",
        hint=f"What lies at the location {place.location} is another repository than the organisation's, perhaps since "
        "the folders of two organisations were exchanged, or an empty one was begun in its place. Ask the operator to "
        "put each where it was. No key is missing, and nothing is written there; the next run, or a retry, goes on.",
        tier=place.store.name,
        location=place.location,
        before=before,
        shown=shown,
    )
