"""`python -m gateway`: the gateway. `python -m gateway rebuild`: make its read models anew.

`python -m gateway openapi` writes its OpenAPI document, `python -m gateway openapi --check` compares it.
`python -m gateway build` is started by the gateway itself, to make anew what is due (`gateway.projections.build`).
"""

import asyncio
import os
import sys
import time

from chassis.life import runtime
from chassis.life.tasks import end
from chassis.telemetry import logging
from gateway.bootstrap import run
from gateway.settings import SERVICE, GatewaySettings

BUILD_NICE = 5
"""What people wait for goes before what is made beside it."""


async def main() -> int:
    """Read the settings and run."""
    return await run(runtime.begin(GatewaySettings, SERVICE))


async def main_rebuild() -> int:
    """Read the settings and rebuild."""
    from gateway.projections.rebuild import rebuild

    settings = runtime.begin(GatewaySettings, SERVICE)
    runtime.set_aside_what_stays()
    done = await rebuild(settings)
    worker = "here" if done.here else "by the running gateway"
    took = f"{done.events} events in {done.seconds:.1f} s, {time.process_time():.1f} s of processor"
    sys.stdout.write(f"read models rebuilt {worker}: {took}\n")
    return runtime.EXIT_OK


async def main_build() -> int:
    """Read the settings from the input and build what is due, until that is done or the input is closed."""
    from gateway.projections.build import settings_from_input
    from gateway.projections.rebuild import build_due

    os.nice(BUILD_NICE)
    settings, parent = await settings_from_input()
    logging.configure(SERVICE, level=settings.log_level)
    runtime.set_aside_what_stays()
    building, left_alone = asyncio.create_task(build_due(settings)), asyncio.create_task(parent.read())
    await asyncio.wait({building, left_alone}, return_when=asyncio.FIRST_COMPLETED)
    await end(left_alone)
    if not building.done():
        await end(building)
        return runtime.EXIT_CRASHED
    await building
    return runtime.EXIT_OK


def main_openapi(*, check: bool) -> int:
    """Write the OpenAPI document, or compare it with the file."""
    from gateway.app import build
    from gateway.openapi import document

    return document.write(build(None), check=check)


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            runtime.leave(runtime.run(main))
        case ["rebuild"]:
            runtime.leave(runtime.run(main_rebuild))
        case ["build"]:
            runtime.leave(runtime.run(main_build))
        case ["openapi", *options] if options in ([], ["--check"]):
            sys.exit(main_openapi(check=bool(options)))
        case _:
            sys.stderr.write("usage: python -m gateway [rebuild | openapi [--check]]\n")
            sys.exit(2)
