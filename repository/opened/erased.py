"""What cannot be read any more since its keys were destroyed, as somebody ordered: that is no damage."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from repository.errors import RepositoryError, UnknownKey
from repository.opened.key_change import destroyed_keys
from repository.stored.snapshot import Snapshot

if TYPE_CHECKING:
    from repository.opened.repository import Repository

ERASED_DETAIL = "its keys were destroyed, as a log says: what was encrypted under them cannot be read any more"


class Erased:
    """Tells what was erased from what cannot be read. `load` gives a chunk's plaintext, or raises why not."""

    def __init__(self, repository: Repository, load: Callable[[bytes], bytes]) -> None:
        self._destroyed = destroyed_keys(repository)
        self._domains = {keys.identity_id.hex() for keys in repository.keys.all()}
        self._load = load

    def explains(self, error: RepositoryError) -> bool:
        """Whether this could not be read for want of a key that was destroyed."""
        return isinstance(error, UnknownKey) and error.context.get("key_id") in self._destroyed

    def has(self, snapshot: Snapshot) -> bool:
        """Whether nothing can be read of the snapshot for that."""
        if not self._destroyed or snapshot.manifest.domain in self._domains:
            return False
        try:
            self._load(bytes.fromhex(snapshot.manifest.root[0]))
        except RepositoryError as error:
            return self.explains(error)
        return False
