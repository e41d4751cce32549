"""Which process is meant: a number alone is reused by the system, a number with its start is not."""

import os
import signal
from pathlib import Path

import msgspec

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ProcessIdentity(msgspec.Struct, frozen=True):
    """One process of this boot. `started` is its start in clock ticks since the boot."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """The process that has this number now; None where there is none, or where it is a zombie."""
        fields = _stat(pid)
        if fields is None:
            return None
        state, started = fields[0], fields[19]
        return None if state in "ZX" else cls(pid, int(started), boot_id())

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessIdentity.of(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to this process and to no other that has got its number meanwhile; False where it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # The descriptor holds the process fast: what is compared after it was opened is what gets the signal.
            if not self.is_alive():
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


def is_zombie(pid: int) -> bool:
    """Whether a process of this number has ended, and was not awaited by whoever has to."""
    fields = _stat(pid)
    return fields is not None and fields[0] == "Z"


def descendants(pid: int) -> list[ProcessIdentity]:
    """All processes that a process has started, and those that they have, as they are now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdecimal() else None
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[ProcessIdentity] = []
    open_ = list(children.get(pid, ()))
    while open_:
        child = open_.pop()
        open_.extend(children.get(child, ()))
        identity = ProcessIdentity.of(child)
        if identity is not None:
            found.append(identity)
    return found


def boot_id() -> str:
    """The identity of this boot of the machine."""
    return _BOOT_ID.read_text().strip()


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the command's name, which may contain anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
