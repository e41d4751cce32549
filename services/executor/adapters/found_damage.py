"""What was found damaged on a tier: every later run reads it first, so that no lucky sample makes the tier whole."""

import logging
from collections.abc import Callable
from functools import partial

from contracts.errors import PlatformError
from repository.errors import RepositoryError
from repository.index.pack_catalog import PACK_PREFIX, is_fault_of_object
from services.executor.adapters.begun import BegunRepositories

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

    def _try(self, change: Callable[[], None]) -> None:
        try:
            change()
        except PlatformError as error:
            _log.warning("what was found of a tier could not be noted", extra={"code": error.code.code})


def packs_of(error: RepositoryError | None) -> list[bytes]:
    """The pack (its id) whose fault an error is."""
    key = str(error.context.get("object_key", "")) if error is not None and is_fault_of_object(error) else ""
    return [bytes.fromhex(key.rsplit("/", 1)[-1])] if key.startswith(PACK_PREFIX) else []
