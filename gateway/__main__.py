"""`python -m gateway`: the gateway. `python -m gateway rebuild`: make its read models anew."""

import os
import sys

from chassis import logging, runtime
from chassis.settings import load
from gateway.bootstrap import SERVICE, run
from gateway.settings import GatewaySettings


async def main() -> int:
    """Read the settings and run."""
    settings = load(GatewaySettings, os.environ)
    logging.configure(SERVICE, level=settings.log_level)
    return await run(settings)


async def main_rebuild() -> int:
    """Read the settings and rebuild."""
    from gateway.rebuild import rebuild

    settings = load(GatewaySettings, os.environ)
    logging.configure(SERVICE, level=settings.log_level)
    done = await rebuild(settings)
    worker = "here" if done.here else "by the running gateway"
    sys.stdout.write(f"read models rebuilt {worker}: {done.events} events in {done.seconds:.1f} s\n")
    return runtime.EXIT_OK


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            sys.exit(runtime.run(main))
        case ["rebuild"]:
            sys.exit(runtime.run(main_rebuild))
        case _:
            sys.stderr.write("usage: python -m gateway [rebuild]\n")
            sys.exit(2)
