"""Packs that no tier has whole: which of them are lost, so that nobody goes on counting on what they held."""

from __future__ import annotations

from collections.abc import Iterable

from repository.format import ID_LENGTH
from repository.tiers.port import ObjectStore
from repository.upkeep.check_report import Finding, Problem


def pack_id_in(object_key: str) -> bytes:
    """The id of the pack of this key."""
    return bytes.fromhex(object_key[-2 * ID_LENGTH :])


def lost_packs(store: ObjectStore, broken: Iterable[Finding]) -> set[bytes]:
    """The packs (ids) that are damaged or gone, of what could not be made whole. Raises the store's errors.

    What is there and was not given may come. What is gone and comes back later is adopted as an orphan.
    """

    def is_lost(finding: Finding) -> bool:
        if finding.problem is Problem.PACK_MISSING:
            return store.head(finding.object_key) is None
        return finding.problem is Problem.PACK_DAMAGED

    return {pack_id_in(each.object_key) for each in broken if is_lost(each)}
