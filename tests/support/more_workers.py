"""Workers of a platform beside its own one, as an operator starts them: processes that a test may kill and stop."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from chassis.ids import new_id
from deploy.stack.child import Launch, spawn
from deploy.stack.secrets import read_secrets
from deploy.stack.services import SERVICES, environment_of
from tests.support.eventually import eventually
from tests.support.stack import ROOT, Platform

STOP_SECONDS = 30.0


@dataclass
class MoreWorker:
    """One worker. After its end `start` begins another process of another name."""

    platform: Platform
    settings: Mapping[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    port: int = 0

    def start(self) -> None:
        """Begin a process; `ready` waits until it looks for work."""
        layout = self.platform.layout
        (service,) = [each for each in SERVICES if each.identity == "executor-worker"]
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            self.port = int(bound.getsockname()[1])
        own = {"WEDSYNC_HEALTH_PORT": str(self.port), "WEDSYNC_WORKER_NAME": f"another:{new_id()}"}
        self.process = spawn(
            Launch(
                argv=(sys.executable, "-m", service.module),
                environment={
                    **environment_of(layout, read_secrets(layout), service),
                    "PYTHONPATH": str(ROOT),
                    **self.platform.environment,
                    **self.settings,
                    **own,
                },
                folder=layout.run,
                log=self.platform.home.parent / "more-workers.log",
                death_signal=signal.SIGKILL,
            )
        )

    async def ready(self) -> None:
        """Wait until it says that it is."""

        async def look() -> bool:
            async with httpx.AsyncClient() as http:
                return (await http.get(f"http://127.0.0.1:{self.port}/health/ready")).is_success

        await eventually(look, every=0.1)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def wait(self) -> int:
        """Its exit code. Fails where it does not end."""
        assert self.process is not None
        return self.process.wait(STOP_SECONDS)

    def end(self) -> None:
        """End it at once, however it stands."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
