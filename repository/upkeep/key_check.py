"""Key objects of a tier, compared with what its own log names, and with what other tiers' logs name.

Promise: what lies under the name of a key object that a log names, and is not it, is damage, also where the tier was
away and its own log names no such key: nothing is written to the tier before it has the key. What no log names anybody
may have put there, and that is worth a note.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from repository.errors import AccessDenied, Damaged, PlaceBlocked, RepositoryError
from repository.index.pack_catalog import is_fault_of_object
from repository.keys import crypto
from repository.keys.key_ring import KEY_PREFIX, KeyRecord, decode_wrapped_key, kek_id_of, key_id_of
from repository.opened.key_change import destroyed_keys, gone_objects, named_or_proven
from repository.opened.open_tier import OpenTier
from repository.stored.object_reading import read_object
from repository.upkeep.check_report import Finding, Problem, unknown

if TYPE_CHECKING:
    from repository.opened.repository import Repository


def key_findings(
    repository: Repository, tier: OpenTier, sources: Callable[[str, Collection[str]], list[str]]
) -> Iterator[Finding]:
    """What is wrong with the tier's keys. `sources`: other tiers on which an object has one of these digests (hex).

    Raises the tier's errors.
    """
    destroyed, is_gone = destroyed_keys(repository), gone_objects(repository)
    recorded = {key: digest for key, digest in tier.log.state.key_objects.items() if not is_gone(key)}
    elsewhere: dict[str, set[str]] = {}
    for object_key, digest in named_or_proven(repository):
        if object_key not in recorded and not is_gone(object_key):
            elsewhere.setdefault(object_key, set()).add(digest)
    # What is no file bears its name, too, and no listing shows it.
    blocked = {each for each in tier.store.no_objects(KEY_PREFIX.rstrip("/")) if each in elsewhere}
    listed = [info.key for info in tier.store.list(KEY_PREFIX)]
    for object_key in dict.fromkeys([*recorded, *listed, *sorted(blocked)]):
        named = {recorded[object_key]} if object_key in recorded else elsewhere.get(object_key, set())
        error = _fault(tier, object_key, named)
        if isinstance(error, AccessDenied):
            yield unknown(tier.name, object_key, error)
        elif error is not None and named:
            text = f"{error.code}: {error}"
            yield Finding(tier.name, Problem.KEY, object_key, text, tuple(sources(object_key, named)))
        elif not named:
            detail = "no log names the key object"
            if key_id_of(object_key) in destroyed:
                detail = "its key was destroyed, and it is still here"
            elif is_gone(object_key):
                kek = kek_id_of(object_key)
                detail = f"it was removed, and is still here: `repo key remove {kek}` when it can go"
            yield Finding(tier.name, Problem.STRANGE, object_key, detail)


def _fault(tier: OpenTier, object_key: str, named: Collection[str]) -> RepositoryError | None:
    """What is wrong with an object that is to have one of these digests."""
    try:
        body = read_object(tier.store, object_key)
        if named and crypto.sha256(body).hex() not in named:
            message = "key object is not the one that the log names"
            return Damaged(message, tier=tier.name, object_key=object_key)
        decode_wrapped_key(KeyRecord(object_key, body))
    except (AccessDenied, PlaceBlocked) as error:
        return error
    except RepositoryError as error:
        if not is_fault_of_object(error):
            raise
        return error
    return None
