"""What a snapshot of Postgres sees, as `txid_current_snapshot` prints it: `XMIN:XMAX:ID,ID,…`.

By it a transaction is in a dump or behind it, exactly: positions of the log and times do not say that, since a
transaction is seen a moment after its commit was written.
"""

import re
from typing import Final, NamedTuple

_FORM: Final = re.compile(r"(\d+):(\d+):((?:\d+(?:,\d+)*)?)")
_TURN: Final = 1 << 32


class Snapshot(NamedTuple):
    """Transactions below `end` that are not `open` have ended."""

    end: int
    open: frozenset[int]

    def sees(self, number: int) -> bool:
        """Whether a transaction had ended, by the 32 bits that the log has of its id: the nearest one is meant."""
        whole = self.end - self.end % _TURN + number
        if whole - self.end > _TURN // 2:
            whole -= _TURN
        elif self.end - whole > _TURN // 2:
            whole += _TURN
        return whole < self.end and whole not in self.open

    def sees_all_of(self, earlier: "Snapshot") -> bool:
        """Whether all that had ended for the other one had ended for this one."""
        return self.end >= earlier.end and all(each in earlier.open for each in self.open if each < earlier.end)

    def has_outlived(self, earlier: "Snapshot") -> bool:
        """Whether all that was open then has ended."""
        return not earlier.open & self.open


def snapshot_of(text: str) -> Snapshot:
    """Raises `ValueError` for what is none."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("this is no snapshot's number")
    return Snapshot(int(found[2]), frozenset(int(each) for each in found[3].split(",") if each))
