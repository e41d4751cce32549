"""What was found damaged on a tier: every later run reads it first, so that no lucky sample makes the tier whole."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from contracts import errors
from contracts.configuration import Tier
from contracts.errors import PlatformError
from repository.errors import RepositoryError
from repository.index.pack_catalog import PACK_PREFIX, is_fault_of_object
from services.executor.adapters.begun import BegunRepositories
from services.executor.failures import failures_of

STAYS = frozenset(
    each.code
    for each in (
        errors.TIER_VANISHED,
        errors.TIER_ROLLED_BACK,
        errors.TIER_UNUSABLE,
        errors.OTHER_REPOSITORY,
        errors.LOCK_NOT_PROVEN,
        errors.VERIFICATION_FAILED,
        errors.LOCATION_UNUSABLE,
        errors.UNKNOWN_LOCATION,
    )
)
"""What no watch over locations sees between the runs, or does not say of which organisation."""

_log = logging.getLogger(__name__)


class FoundDamage:
    """The memory of one tier of an organisation, as a run found it. Raises UNAVAILABLE when made, and not later."""

    def __init__(self, begun: BegunRepositories, organisation: str, location: str) -> None:
        self._begun = begun
        self._organisation = organisation
        self._location = location
        self.packs = begun.damaged(organisation, location)
        """The packs to be read again."""

    def note(self, error: RepositoryError) -> None:
        """Remember the pack that this error is about, if it is about one."""
        for pack_id in packs_of(error):
            self._try(partial(self._begun.note_damaged, self._organisation, self._location, pack_id))

    def forget(self) -> None:
        """All of `packs` were read whole."""
        if self.packs:
            self._try(partial(self._begun.forget_damaged, self._organisation, self._location, self.packs))

    def tell(self, code: str | None) -> None:
        """What a run has met there, where it stays until somebody mends it; None: all went well."""
        if code is None or code in STAYS:
            self._try(partial(self._begun.note_trouble, self._organisation, self._location, code))

    def _try(self, change: Callable[[], None]) -> None:
        try:
            change()
        except PlatformError as error:
            _log.warning("what was found of a tier could not be noted", extra={"code": error.code.code})


@contextmanager
def telling(tiers: Mapping[Tier, FoundDamage]) -> Iterator[None]:
    """Remember what is wrong with the tiers that a run fails by."""
    try:
        yield
    except PlatformError as error:
        for failure in failures_of(error):
            tiers[failure.tier].tell(failure.code)
        raise


def packs_of(error: RepositoryError | None) -> list[bytes]:
    """The pack (its id) whose fault an error is."""
    key = str(error.context.get("object_key", "")) if error is not None and is_fault_of_object(error) else ""
    return [bytes.fromhex(key.rsplit("/", 1)[-1])] if key.startswith(PACK_PREFIX) else []
