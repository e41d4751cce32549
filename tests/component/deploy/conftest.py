"""A supervisor for tests, whose parts are small programs."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chassis.clock import SystemClock
from deploy.stack.child import Launch
from deploy.stack.part import Part, Step
from deploy.stack.probes import Trouble
from deploy.stack.process_identity import ProcessIdentity
from deploy.stack.state import Condition, PartState, PlaceState, StackState, write_state
from deploy.stack.supervisor import Supervisor

ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C"}


def touches(path: Path) -> str:
    """A program that says that it runs, and then waits."""
    return f"import pathlib, time; pathlib.Path({str(path)!r}).touch(); time.sleep(600)"


@dataclass
class Workbench:
    """Makes parts of a few lines of Python, and runs them under a real supervisor."""

    folder: Path
    said: list[str] = field(default_factory=list)
    reports: list[Condition] = field(default_factory=list)
    state: StackState | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    supervisor: Supervisor | None = None
    take_report: Callable[[StackState], None] | None = None
    look: Callable[[], Awaitable[list[PlaceState]]] | None = None
    begun: float | None = None

    def part(self, name: str, program: str, *, ready: Path | None = None, **more: Any) -> Part:
        """A part that is ready once the file `ready` is there; at once where none is named."""

        async def probe() -> Trouble | None:
            is_up = ready is None or ready.exists()
            return None if is_up else Trouble("has not said so yet", restart_helps=True)

        def launch() -> Launch:
            return Launch(
                argv=(sys.executable, "-c", program),
                environment=ENVIRONMENT,
                folder=self.folder,
                log=self.folder / f"{name}.log",
            )

        more.setdefault("stop_seconds", 5.0)
        return Part(name=name, launch=launch, probe=more.pop("probe", probe), log=self.folder / f"{name}.log", **more)

    def waiting_part(self, name: str, **more: Any) -> Part:
        """A part that runs until it is stopped, and is ready once it runs."""
        return self.part(name, touches(self.folder / f"{name}.up"), ready=self.folder / f"{name}.up", **more)

    @asynccontextmanager
    async def running(self, units: Sequence[Part | Step]) -> AsyncIterator["asyncio.Task[None]"]:
        """Run the units; stop them at the end, where the test has not."""
        task = asyncio.create_task(self.run(units))
        try:
            yield task
        finally:
            self.stop.set()
            await asyncio.gather(task, return_exceptions=True)

    async def run(self, units: Sequence[Part | Step], started: Callable[[float], None] | None = None) -> None:
        """Run the units until `stop` is set."""
        own = ProcessIdentity.of(os.getpid())
        assert own is not None
        self.state = StackState(
            home=str(self.folder), supervisor=own, condition=Condition.STARTING, started=SystemClock().now()
        )
        self.supervisor = Supervisor(
            units,
            state=self.state,
            report=self.take_report or self._take_report,
            say=self.said.append,
            look=self.look,
            begun=self.begun,
        )
        await self.supervisor.run(self.stop, started=started)

    def _take_report(self, state: StackState) -> None:
        write_state(self.folder / "stack.json", state)
        self.reports.append(state.condition)

    def part_state(self, name: str) -> PartState:
        """What the report says of a part."""
        assert self.state is not None
        return self.state.part(name)

    def pid(self, name: str) -> int:
        """The process of a part that is up."""
        state = self.part_state(name)
        assert state.process is not None
        assert state.condition.is_up
        return state.process.pid


@pytest.fixture
def workbench(tmp_path: Path) -> Workbench:
    """A workbench in a folder of its own."""
    return Workbench(tmp_path)
