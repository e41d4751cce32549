"""What lies at the place of a folder tier that shows no repository: said by what is there, with a way that leads on."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from repository.errors import NotARepository, NoUsableTier, PlaceInUse, RepositoryError, TierVanished
from repository.opened.repository import Repository
from repository.opened.tier_state import TierState
from repository.tiers.places import in_the_way, strangers_of

_MOUNTED = "Is the path as it was meant, and is its disk mounted?"


def refuse_no_folder(name: str, address: str) -> None:
    """Raise `PlaceInUse` where a tier is to be begun at the place of something that is no folder."""
    if (what := in_the_way(address)) is not None:
        raise _in_use(name, address, what)


def say_what_lies_there(repository: Repository, addresses: Mapping[str, str]) -> None:
    """Let tiers that show no repository tell what lies at their places, where that is not merely an empty folder."""
    for name, address in addresses.items():
        tier = repository.tier(name)
        if tier.state is TierState.EMPTY and (error := why_absent(name, address)) is not None:
            tier.set_state(TierState.EMPTY, error)
        elif tier.state is TierState.VANISHED:
            begins_anew = f"If it is gone for good: `repo catch-up --begin-anew {name}`."
            tier.set_state(TierState.VANISHED, vanished(name, address, begins_anew))


def why_absent(name: str, address: str) -> RepositoryError | None:
    """Why there is no repository, where that says more than that the tier is empty: a disk may not be mounted."""
    folder = _folder_of(address)
    if folder is None:
        return None
    if (what := in_the_way(address)) is not None:
        return _in_use(name, address, what)
    if not os.path.lexists(folder):
        hint = f"{_MOUNTED} A tier that is meant to be new `repo catch-up` fills."
        return NotARepository("its folder is not there", hint=hint, tier=name, path=folder)
    return None


def vanished(name: str, address: str, otherwise: str) -> TierVanished:
    """That a tier was in use, and what lies there now. `otherwise`: what to do where it is gone for good."""
    folder = _folder_of(address)
    if folder is None:
        return TierVanished("tier was in use, and is empty now", hint=f"{TierVanished.hint} {otherwise}", tier=name)
    if (what := in_the_way(address)) is not None:
        hint = f"Take it away by hand, or move it, then mount the tier's disk or bring its folder back. {otherwise}"
        return TierVanished(f"tier was in use, and {what} lies in its place now", hint=hint, tier=name, path=folder)
    if not os.path.lexists(folder):
        hint = f"{TierVanished.hint} {otherwise}"
        return TierVanished("tier was in use, and its folder is not there", hint=hint, tier=name, path=folder)
    others = _strangers(folder)
    if others:
        hint = f"{_MOUNTED} {otherwise}"
        message = f"tier was in use, and other files lie at its place now: {', '.join(others[:3])}"
        return TierVanished(message, hint=hint, tier=name, path=folder)
    return TierVanished("tier was in use, and is empty now", hint=f"{TierVanished.hint} {otherwise}", tier=name)


def none_is_there(gone: Sequence[str], addresses: Mapping[str, str]) -> NoUsableTier:
    """Of several tiers that were in use, and of which none shows a repository any more."""
    otherwise = "If all is gone for good, begin anew with a key file of its own."
    errors = {name: vanished(name, addresses[name], otherwise) for name in gone}
    return NoUsableTier.because("tiers that were in use are empty or gone now", errors.values(), tiers=errors)


def _in_use(name: str, address: str, what: str) -> PlaceInUse:
    hint = "Look at it, then take it away by hand: a tier is begun in a folder, or where nothing is."
    return PlaceInUse(f"{what} lies at the place of the tier", hint=hint, tier=name, path=_folder_of(address))


def _folder_of(address: str) -> str | None:
    url = urlsplit(address)
    return unquote(url.path, errors="surrogateescape") if url.scheme == "file" else None


def _strangers(folder: str) -> list[str]:
    found = list[str]()
    with suppress(OSError):  # it could be listed when it was opened
        found = os.listdir(folder)
    return sorted(each if each.isprintable() else "?" for each in strangers_of(found))
