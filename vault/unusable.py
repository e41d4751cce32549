"""A tier that cannot be used as it is set up, among others that can: it fails by itself, by name, when it is asked.

What is wrong with one location is no reason to withhold a run from the other tiers. Its messages may name settings
and are for operators; its hints are for whoever may see the run.
"""

from collections.abc import Callable
from copy import copy
from typing import NoReturn

from contracts import errors
from repository.errors import RepositoryError, Retry, TierError
from repository.tiers.port import Capabilities, KnownCapabilities, PackProof


class LocationUnusable(TierError):
    """The location's address is not valid, or its credentials cannot be read."""

    code = errors.LOCATION_UNUSABLE.code
    retry = Retry.AFTER_OPERATOR
    hint = errors.LOCATION_UNUSABLE.hint


class LocationUnknown(TierError):
    """No location of this name is registered, or none that is open to the organisation."""

    code = errors.UNKNOWN_LOCATION.code
    retry = Retry.AFTER_OPERATOR
    hint = errors.UNKNOWN_LOCATION.hint


class UnusableStore:
    """An `ObjectStore` whose every call raises what is wrong with it."""

    def __init__(self, name: str, error: RepositoryError) -> None:
        self.name = name
        self.error = error

    @property
    def capabilities(self) -> Capabilities:
        """None."""
        return KnownCapabilities()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        # Anew each time: calls of several threads would share one traceback.
        raise copy(self.error)

    put = sync = settle = get = get_range = read_into = head = list = delete = extend_lock = now = _refuse
    set_legal_hold = legal_hold = _refuse
    local_path = blocked_by = no_objects = sweep = versions = hidden = uncover = set_aside = originals = _refuse

    def while_reading(self, work: Callable[[], None]) -> None:
        """Each of its reads is refused."""
        work()

    def prove_packs(self, prove: PackProof) -> None:
        """Nothing is put."""

    def close(self) -> None:
        """Nothing is open."""
