"""Services that share a process: each reads its own settings and speaks for itself; they end together."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chassis.life.health import Health
from chassis.life.runtime import ENVIRONMENT, STOPS, run_service
from chassis.life.together import together
from chassis.telemetry.logging import JsonLines, speak_as
from contracts import errors
from contracts.errors import PlatformError

Main = Callable[[], Coroutine[Any, Any, int]]


class Part:
    """Works until it is stopped; `dies` when that is set."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.started, self.dies = asyncio.Event(), asyncio.Event()
        self._told = told

    async def start(self) -> None:
        self._told.append(f"{self.name} reads {(ENVIRONMENT.get() or {}).get('NAME')}")
        self.started.set()

    async def stop(self) -> None:
        self._told.append(f"{self.name} stops")

    async def check(self) -> None:
        return None

    async def ended(self) -> BaseException:
        await self.dies.wait()
        return PlatformError(errors.INTERNAL, "it died")


def _main(part: Part) -> Main:
    return lambda: run_service([part], health=Health(part.name))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_stops_all_of_them(number: signal.Signals) -> None:
    told: list[str] = []
    one, two = Part("one", told), Part("two", told)
    running = asyncio.create_task(together(_main(one), [(_main(two), {"NAME": "of two"})]))
    await asyncio.gather(one.started.wait(), two.started.wait())
    os.kill(os.getpid(), number)
    assert await asyncio.wait_for(running, 10) == 0
    assert sorted(told) == ["one reads None", "one stops", "two reads of two", "two stops"]
    assert STOPS == []


@pytest.mark.parametrize("which", [0, 1])
async def test_one_that_dies_has_the_other_stopped_and_its_code_told(which: int) -> None:
    told: list[str] = []
    parts = Part("one", told), Part("two", told)
    running = asyncio.create_task(together(_main(parts[0]), [(_main(parts[1]), {})]))
    await asyncio.gather(*(part.started.wait() for part in parts))
    parts[which].dies.set()
    assert await asyncio.wait_for(running, 10) == 70
    assert {"one stops", "two stops"} <= set(told)


async def test_one_that_cannot_read_its_settings_ends_the_others_also_those_that_begin_later() -> None:
    told: list[str] = []
    slow, begun = Part("slow", told), asyncio.Event()

    async def late() -> int:
        await begun.wait()
        return await run_service([slow], health=Health("slow"))

    async def refused() -> int:
        asyncio.get_running_loop().call_later(0.05, begun.set)
        raise PlatformError(errors.INVALID_SETTING, "it is missing")

    with pytest.raises(PlatformError) as raised:
        await asyncio.wait_for(together(late, [(refused, {})]), 10)
    assert raised.value.code is errors.INVALID_SETTING
    assert STOPS == []


async def test_lines_have_the_name_of_the_service_that_says_them() -> None:
    """Of what runs for no service, the process's."""
    lines = JsonLines("host")
    record = logging.makeLogRecord({"name": "chassis", "msg": "said"})

    async def said(name: str | None) -> str:
        if name is not None:
            speak_as(name)
        await asyncio.sleep(0)
        service: str = json.loads(lines.format(record))["service"]
        return service

    assert await asyncio.gather(said(None), said("guest"), said(None)) == ["host", "guest", "host"]
