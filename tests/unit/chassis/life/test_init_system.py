"""What the init system hears of a process."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from chassis.life.health import Health
from chassis.life.init_system import InitSystem
from chassis.life.runtime import EXIT_OK, run_service
from tests.unit.chassis.life.test_runtime import Recorded


class Listener:
    """The init system's end."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)

    async def hears(self) -> str:
        """The next that it is told."""
        async with asyncio.timeout(10):
            return (await asyncio.get_running_loop().sock_recv(self.socket, 100)).decode()


@pytest.mark.parametrize("is_abstract", [False, True])
async def test_process_tells_that_it_is_ready_alive_and_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool
) -> None:
    """Ready once all parts have started, alive as long as its loop runs, stopping before the first part stops."""
    address = f"@wedsync-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    listener = Listener(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    diary: list[str] = []
    stop = asyncio.Event()
    running = asyncio.create_task(run_service([Recorded("one", diary)], health=Health("config"), stop=stop))
    assert await listener.hears() == "READY=1"
    assert diary == ["start one"]
    assert [await listener.hears() for _ in range(3)] == ["WATCHDOG=1"] * 3
    stop.set()
    told = await listener.hears()
    while told == "WATCHDOG=1":
        told = await listener.hears()
    assert told == "STOPPING=1"
    assert await running == EXIT_OK
    listener.socket.close()


def test_watchdog_of_another_process_is_left_alone() -> None:
    """A child inherits the variables, and is not whom they mean; nobody is told where nobody asked."""
    ours = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "60000000"}
    assert InitSystem.of(ours).every == 30
    assert InitSystem.of(ours | {"WATCHDOG_PID": str(os.getpid())}).every == 30
    assert InitSystem.of(ours | {"WATCHDOG_PID": "1"}).every is None
    assert InitSystem.of({"WATCHDOG_USEC": "60000000"}) == InitSystem(None, None)


async def test_init_system_that_does_not_listen_ends_nothing(tmp_path: Path) -> None:
    """The process works all the same."""
    with InitSystem(str(tmp_path / "nobody"), None).told():
        await asyncio.sleep(0)
