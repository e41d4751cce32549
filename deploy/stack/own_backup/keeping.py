"""Saves the platform while it runs, hourly, by a command of its own that ends with the supervisor.

It is the supervisor's, and no run of the executor's: it has to go on where the executor, the bus or an organisation's
keys are what is in trouble, and a rebuild must not need what it brings back.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta

from chassis.clock import Clock, SystemClock
from chassis.life.tasks import end
from contracts.errors import PlatformError
from deploy.stack.child import Child, Launch
from deploy.stack.interpreter import python_path
from deploy.stack.layout import Layout
from deploy.stack.logs import end_of, last_words, rotate
from deploy.stack.own_backup.kit import usual_folder, write_kit
from deploy.stack.own_backup.memory import Trouble, changed, read_memory
from repository.errors import RepositoryError

LOG = "self-backup"
EVERY = timedelta(hours=1)
FIRST_SECONDS = 600.0
"""A platform that was just started has other things to do; who needs it earlier types the command."""
AGAIN_SECONDS = 600.0
STOP_SECONDS = 2.0


class SelfBackup:
    """Of one platform: `first_kit` before it starts, `begin` once it is up, `end` when it stops."""

    def __init__(self, layout: Layout, say: Callable[[str], None], clock: Clock | None = None) -> None:
        self._layout = layout
        self._say = say
        self._clock = clock or SystemClock()
        self._keeping: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Go on saving from now on."""
        self._keeping = asyncio.create_task(self._keep())

    async def end(self) -> None:
        """A save that goes on is cut off; the next one goes on from what it stored."""
        if self._keeping is not None:
            await end(self._keeping)

    def first_kit(self) -> None:
        """Write the kit, only where there never was one: it belongs elsewhere, and is not made again in its old place.

        No start fails by it: what is wrong is said, and is a finding.
        """
        try:
            if read_memory(self._layout.home).kit is not None:
                return
            folder = usual_folder(self._layout)
            try:
                write_kit(self._layout, folder, self._clock.now())
            except (PlatformError, RepositoryError) as error:
                with changed(self._layout) as memory:
                    memory.trouble = Trouble(at=self._clock.now(), words=str(error))
                self._say(f"{'kit':<18} no recovery kit was written: {error}")
            else:
                self._say(f"{'kit':<18} the recovery kit was written: {folder}. Keep it elsewhere, in two places")
        except (OSError, PlatformError) as error:
            # What it is said again by is the look at the folders (`findings`).
            self._say(f"{'kit':<18} no recovery kit was written: {error}")

    async def _keep(self) -> None:
        pause = FIRST_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                pause = self._due_in()
                if pause <= 0:
                    pause = await self._save()
            except (OSError, PlatformError) as error:
                self._say(f"{'own-backup':<18} cannot be made: {error}")
                pause = AGAIN_SECONDS

    def _due_in(self) -> float:
        saved = read_memory(self._layout.home).whole_at
        return 0.0 if saved is None else (saved + EVERY - self._clock.now()).total_seconds()

    async def _save(self) -> float:
        """Save once; after how many seconds it is looked again."""
        log = self._layout.log(LOG)
        with contextlib.suppress(OSError):
            rotate(log)
        since = end_of(log)
        child = Child.start(
            Launch(
                argv=(sys.executable, "-P", "-m", "cli", "self-backup", "run", "--home", str(self._layout.home)),
                environment={**os.environ, "PYTHONPATH": python_path()},
                folder=self._layout.home,
                log=log,
                death_signal=signal.SIGTERM,
            )
        )
        try:
            code = await child.wait()
        finally:
            if child.exit_code is None:
                await child.stop(signal.SIGTERM, grace_seconds=STOP_SECONDS)
        if code:
            self._say(f"{'own-backup':<18} ended with exit code {code}{last_words(log, since=since)}")
        return EVERY.total_seconds() if not code else AGAIN_SECONDS
