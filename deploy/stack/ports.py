"""Free loopback ports, chosen at the first start and kept as long as nobody else takes them.

Ports are taken below the range from which Linux gives ports to outgoing connections (32768), so
that a stopped part does not lose its port to somebody's client. A platform reserves its ports: between
their choice and their use, and while a part is started anew, no other platform of this machine chooses them.
"""

import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from contracts import errors
from contracts.errors import PlatformError

LOOPBACK = "127.0.0.1"
FIRST = 20_000
LAST = 22_700
GRPC_OFFSET = 10_000
"""SeaweedFS's admin worker dials its admin port plus this, whatever it was told."""

_ATTEMPTS = 2_000


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A connection of the last run that lingers in TIME_WAIT does not hinder a server; a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


class Reserved:
    """Ports that nobody else reserves until the block ends, or the process with it, however it does.

    Each is a name in the kernel's abstract namespace, which is as wide as that of the ports. Servers do not ask for it.
    """

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def take(self, port: int) -> bool:
        """Whether the port is free, and reserved from now on."""
        if not is_free(port):
            return False
        if port not in self._held:
            holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                holder.bind(f"\0wedsync-backup/port/{port}")
            except OSError:
                holder.close()
                return False
            self._held[port] = holder
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for holder in self._held.values():
            holder.close()
        self._held.clear()


def choose_ports(
    names: Sequence[str],
    kept: Mapping[str, int],
    *,
    paired: Sequence[str] = (),
    is_free: Callable[[int], bool] = is_free,
) -> dict[str, int]:
    """A port for every name: the one it had where that is still free, else a new free one.

    `paired`: names whose port plus `GRPC_OFFSET` must be free, too. Raises STACK_FAILED where the range is exhausted.
    """

    def fits(name: str, port: int) -> bool:
        return is_free(port) and (name not in paired or is_free(port + GRPC_OFFSET))

    chosen: dict[str, int] = {}
    taken: set[int] = set()
    for name in names:
        if name in kept and kept[name] not in taken and fits(name, kept[name]):
            chosen[name] = kept[name]
            taken.add(kept[name])
    # A random start keeps two stacks that start at the same moment apart.
    port = FIRST + secrets.randbelow(LAST - FIRST)
    for name in names:
        attempts = 0
        while name not in chosen:
            attempts += 1
            if attempts > _ATTEMPTS:
                raise PlatformError(
                    errors.STACK_FAILED, f"no loopback port between {FIRST} and {LAST} is free", part=name
                )
            port = FIRST + (port + 1 - FIRST) % (LAST - FIRST)
            if port not in taken and fits(name, port):
                chosen[name] = port
                taken.add(port)
    return chosen
