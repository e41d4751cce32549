"""What a directory does not do: lock, hold, and keep what was overwritten. Asked for it, it does or tells nothing."""

from collections.abc import Callable, Iterator
from datetime import datetime

from repository.tiers.port import OBJECT_LENGTH_MAX, Hidden, ObjectStore, PackProof, checked_key


class NothingKept:
    """The part of a store that neither locks nor keeps versions; see the port."""

    def while_reading(self, work: Callable[[], None]) -> None:
        """See the port."""
        work()

    def extend_lock(self, key: str, until: datetime, *, sha256: bytes | None = None) -> None:  # noqa: ARG002
        """Nothing: a directory cannot lock."""
        checked_key(key)

    def set_legal_hold(self, key: str, is_on: bool, *, sha256: bytes | None = None) -> None:  # noqa: ARG002
        """Nothing: a directory cannot hold."""
        checked_key(key)

    def legal_hold(self, key: str) -> bool | None:
        """None: a directory knows no holds."""
        checked_key(key)
        return None

    def versions(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> Iterator[bytes]:  # noqa: ARG002
        """Nothing is kept of what was overwritten."""
        checked_key(key)
        return iter(())

    def hidden(self) -> Iterator[Hidden]:
        """None: a directory knows no delete markers."""
        return iter(())

    def uncover(self, key: str) -> None:
        """Nothing: no object is hidden."""
        checked_key(key)

    def originals(self) -> ObjectStore | None:
        """None: nothing is kept of what was overwritten."""
        return None

    def prove_packs(self, prove: PackProof) -> None:
        """Nothing: a directory states no checksums."""
