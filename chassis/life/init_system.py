"""Tells the init system that a process works, that its event loop runs, and that it stops: systemd's `sd_notify`.

Promise: `READY=1` once all parts have started; from then on `WATCHDOG=1` twice in the time that the unit sets
(`WatchdogSec=`), from the event loop itself, so that one that hangs is ended and started anew; `STOPPING=1` when the
stop begins. Without `NOTIFY_SOCKET` in the environment nothing is told. That nobody listens ends nothing.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InitSystem:
    """Where it listens, and how often it wants to hear of the loop, in seconds; None: not at all."""

    address: str | None
    every: float | None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "InitSystem":
        """As the environment says. A watchdog that is another process's is left alone."""
        address = environ.get("NOTIFY_SOCKET") or None
        micros, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        is_ours = micros.isdecimal() and int(micros) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(micros) / 2_000_000 if address is not None and is_ours else None)

    @contextmanager
    def told(self) -> Iterator[None]:
        """While this block lasts the process works."""
        self._tell("READY=1")
        beat = asyncio.create_task(self._beat(), name="watchdog") if self.every is not None else None
        try:
            yield
        finally:
            if beat is not None:
                beat.cancel()
            self._tell("STOPPING=1")

    async def _beat(self) -> None:
        while self.every is not None:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self.every)

    def _tell(self, state: str) -> None:
        if self.address is None:
            return
        # An address that begins with `@` is in the kernel's own list of names, which begin with NUL.
        where = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as to:
                to.sendto(state.encode(), where)
        except OSError as error:
            _log.warning("the init system was not told", exc_info=error, extra={"state": state})
