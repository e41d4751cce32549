"""Sealed fields of one thing, opened for people of its organisation."""

from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError
from contracts.sealed import Sealed


class OpenedFields:
    """One entry whose key is lost costs that field, never the list that shows it: `unreadable` names such fields."""

    def __init__(self, sealer: Sealer, organisation: str) -> None:
        self._sealer = sealer
        self._organisation = organisation
        self.unreadable: list[str] = []

    def text(self, field: str, sealed: Sealed | None, name: str) -> str | None:
        """What is sealed; None where nothing is, its key was destroyed (erased), or is missing: then `name` is told."""
        if sealed is None:
            return None
        try:
            return self._sealer.open(self._organisation, field, sealed)
        except PlatformError as error:
            if error.code is errors.KEYS_UNUSABLE:
                self.unreadable.append(name)
            elif error.code is not errors.SEALING_KEY_MISSING:
                raise
            return None
